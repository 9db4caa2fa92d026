# SPDX-License-Identifier: Apache-2.0
"""Configuration of the governor. The parameters of its node are generated from it."""

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
    """Targets, gains, limits and timeouts; see `admn_ros.governor.governor` for the control law.

    Gains are in watts per degree, as in the power allocator of Linux (k_po above the target, k_pu below it).
    """

    default_layers: int = _layers(24, "Layers requested while no request of a power manager is valid.")
    safe_layers: int = _layers(12, "Largest grant while a monitored measurement is stale, for a request that cannot be "
                                   "converted to layers, and at the start.")
    min_layers: int = _layers(1, "Lower bound of the limits by temperature, battery and power, and the limit at "
                                 "critical temperature or charge. A request may be lower.")
    max_layers: int = _layers(48, "Layers of the model; used if no model is set.")
    rise_layers_per_s: float = _number(4.0, 0.01, 1e4, "Largest rise of the grant, in layers per second.")
    fall_layers_per_s: float = _number(16.0, 0.01, 1e4, "Largest fall of the grant by temperature, battery and power, "
                                                        "in layers per second. Requests, stale measurements and a "
                                                        "critical temperature take effect at once.")
    hysteresis_layers: float = _number(1.0, 0.0, 64.0, "Margin by which the limits must exceed a grant, in layers.")

    target_c: float = _number(75.0, -20.0, 125.0, "Target of the hottest sensor, in degrees Celsius.")
    limit_c: float = _number(85.0, -20.0, 125.0, "Critical temperature, in degrees Celsius: from here on min_layers is "
                                                    "granted at once.")
    release_c: float = _number(3.0, 0.0, 50.0, "Margin below limit_c at which the critical state ends, in degrees.")
    sustainable_w: float = _number(5.0, 0.0, 1e4, "Heat that the cooling removes at target_c, in watts.")
    k_po: float = _number(1.0, 0.0, 1e4, "Gain above the target, in watts per degree.")
    k_pu: float = _number(0.5, 0.0, 1e4, "Gain below the target, in watts per degree.")
    k_i: float = _number(0.0025, 0.0, 1e3, "Gain of the integral, in watts per degree and second.")
    integral_cutoff_c: float = _number(10.0, 0.0, 100.0, "Error below the target beyond which the integral "
                                                               "rests, in degrees.")
    deadband_c: float = _number(0.5, 0.0, 10.0, "Backlash between sensor and control law, in degrees. The "
                                                      "integral rests for smaller errors.")

    joules_per_layer: float = _number(0.02, 1e-9, 1e3, "Energy of one layer of one frame, in joules; used if the "
                                                       "model has no measured energy.")
    joules_per_frame: float = _number(0.0, 0.0, 1e4, "Energy of a frame without its layers, in joules; used "
                                                     "likewise.")
    frame_rate_hz: float = _number(15.0, 0.1, 1000.0, "Frame rate, in Hz.")

    power_limit_w: float = _number(0.0, 0.0, 1e5, "Largest power of the whole board, in watts; 0 for no limit.")
    power_filter_s: float = _number(5.0, 0.0, 600.0, "Time constant of the estimated power of other loads, in "
                                                     "seconds; a few times the delay of the measurements.")

    battery_high: float = _number(0.5, 0.0, 1.0, "Charge from which on the battery sets no limit, in [0, 1].")
    battery_low: float = _number(0.15, 0.0, 1.0, "Charge at which the limit is battery_low_layers, in [0, 1].")
    battery_critical: float = _number(0.05, 0.0, 1.0, "Charge up to which the limit is min_layers, in [0, 1].")
    battery_low_layers: int = _layers(12, "Limit at battery_low, in layers.")

    temperature_timeout_s: float = _number(5.0, 0.1, 3600.0, "Age at which a temperature is stale, in seconds.")
    battery_timeout_s: float = _number(60.0, 0.1, 3600.0, "Age at which a battery state is stale, in seconds.")
    power_timeout_s: float = _number(5.0, 0.1, 3600.0, "Age at which a power measurement is stale, in seconds.")
    require_temperature: bool = Field(default=False, description="Treat the temperature as stale before its "
                                                                     "first message. Otherwise a measurement is "
                                                                     "monitored from its first message on.")
    require_battery: bool = Field(default=False, description="The same for the battery state.")
    require_power: bool = Field(default=False, description="The same for the power.")
    ignored_sensors: str = Field(default="", description="Sensors that are left out: shell patterns, separated by "
                                                         "commas, of names as in the status of the governor, such as "
                                                         "'/diagnostics/*/gpu*, /temperature/spare'.")

    @model_validator(mode="after")
    def _in_order(self) -> GovernorConfig:
        if not self.target_c < self.limit_c:
            raise ValueError(f"target_c below limit_c, which {self.target_c:g} and {self.limit_c:g} are not")
        if not self.battery_critical <= self.battery_low < self.battery_high:
            raise ValueError("battery_critical <= battery_low < battery_high, which "
                             f"{self.battery_critical:g}, {self.battery_low:g} and {self.battery_high:g} are not")
        return self
