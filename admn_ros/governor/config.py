# SPDX-License-Identifier: Apache-2.0
"""Every number of the governor, with its meaning and range: the node's parameters are made of this."""

from __future__ import annotations

from typing import Final

from pydantic import Field, model_validator

from admn_ros.config import Strict

MAX_LAYERS: Final = 4096


def _layers(default: int, text: str) -> int:
    return Field(default, ge=0, le=MAX_LAYERS, description=text)


def _number(default: float, low: float, high: float, text: str) -> float:
    return Field(default, ge=low, le=high, allow_inf_nan=False, description=text)


class GovernorConfig(Strict):
    """Targets, gains, limits and timeouts. See `admn_ros.governor.governor.Governor` for the law.

    Gains are in watts per degree, as in Linux's power allocator (k_po: above the target, k_pu: below it).
    """

    default_layers: int = _layers(24, "Layers asked for while no power manager asks.")
    safe_layers: int = _layers(12, "Most that is granted while a watched measurement is stale, while a request cannot "
                                   "be converted to layers, and at the start.")
    min_layers: int = _layers(1, "Least that temperature, battery and power leave, and all that the critical "
                                 "temperature and the critical battery leave. A request may be lower.")
    max_layers: int = _layers(48, "Layers of the model, where no model is given.")
    rise_layers_per_s: float = _number(4.0, 0.01, 1e4, "How fast the grant may rise.")
    fall_layers_per_s: float = _number(16.0, 0.01, 1e4, "How fast temperature, battery and power may lower the grant. "
                                                        "Requests, stale inputs, a critical temperature: at once.")
    hysteresis_layers: float = _number(1.0, 0.0, 64.0, "How far above a grant the law must go before it is granted.")

    target_c: float = _number(75.0, -20.0, 125.0, "Temperature that the hottest sensor is held at.")
    limit_c: float = _number(85.0, -20.0, 125.0, "Critical temperature: from here on, min_layers at once.")
    release_c: float = _number(3.0, 0.0, 50.0, "How far below limit_c the critical state ends.")
    sustainable_w: float = _number(5.0, 0.0, 1e4, "Power that the cooling carries off at target_c.")
    k_po: float = _number(1.0, 0.0, 1e4, "Watts taken for each degree above the target.")
    k_pu: float = _number(0.5, 0.0, 1e4, "Watts given for each degree below the target.")
    k_i: float = _number(0.0025, 0.0, 1e3, "Watts for each degree and second of error.")
    integral_cutoff_c: float = _number(10.0, 0.0, 100.0, "Errors larger than this below the target do not add up.")
    deadband_c: float = _number(0.5, 0.0, 10.0, "Play between sensor and law; errors up to this do not add up.")

    joules_per_layer: float = _number(0.02, 1e-9, 1e3, "Energy of one layer of one frame, where the model has none "
                                                       "measured.")
    joules_per_frame: float = _number(0.0, 0.0, 1e4, "Energy of a frame besides its layers, likewise.")
    frame_rate_hz: float = _number(15.0, 0.1, 1000.0, "Frames per second.")

    power_limit_w: float = _number(0.0, 0.0, 1e5, "Most that the board may draw, by readings in watts; 0: no limit.")
    power_filter_s: float = _number(5.0, 0.0, 600.0, "Time constant of the estimate of what other loads draw; a few "
                                                     "times the delay of the readings.")

    battery_high: float = _number(0.5, 0.0, 1.0, "Charge from which on the battery does not limit.")
    battery_low: float = _number(0.15, 0.0, 1.0, "Charge at which it grants battery_low_layers.")
    battery_critical: float = _number(0.05, 0.0, 1.0, "Charge at and below which it grants min_layers.")
    battery_low_layers: int = _layers(12, "Layers at battery_low.")

    temperature_timeout_s: float = _number(5.0, 0.1, 3600.0, "Age at which a temperature is stale.")
    battery_timeout_s: float = _number(60.0, 0.1, 3600.0, "Age at which a battery state is stale.")
    power_timeout_s: float = _number(5.0, 0.1, 3600.0, "Age at which a reading in watts is stale.")
    require_temperature: bool = Field(default=False, description="Count it as stale before the first one. Otherwise a "
                                                                     "kind of measurement is watched from its first "
                                                                     "reading on.")
    require_battery: bool = Field(default=False, description="The same for the battery.")
    require_power: bool = Field(default=False, description="The same for watts.")

    @model_validator(mode="after")
    def _in_order(self) -> GovernorConfig:
        if not self.target_c < self.limit_c:
            raise ValueError(f"target_c {self.target_c} is not below limit_c {self.limit_c}")
        if not self.battery_critical <= self.battery_low < self.battery_high:
            raise ValueError("battery_critical <= battery_low < battery_high does not hold: "
                             f"{self.battery_critical}, {self.battery_low}, {self.battery_high}")
        return self
