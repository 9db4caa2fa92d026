# SPDX-License-Identifier: Apache-2.0
"""Closed-loop simulation: the governor and a computer that heats up with the granted layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from admn_ros.budget.budget import Budget
from admn_ros.governor.config import GovernorConfig
from admn_ros.governor.governor import Governor, GrantReason
from admn_ros.governor.thermal_plant import Plant, WarmBody

STEP_S = 0.2
"""Period of the governor, in seconds."""
READING_EVERY_S = 1.0
"""Period of measurements and requests, in seconds."""


@dataclass(frozen=True)
class Scenario:
    """Inputs of a simulation, as functions of time in seconds.

    Attributes:
        request: layers requested by a power manager; None while it sends nothing, so that its last request expires.
        others_w: power drawn by other programs, in watts.
        sensed: whether the temperature sensor publishes.
        metered: whether the power of the board is measured.
    """

    request: Callable[[float], int | None] = lambda t: None
    others_w: Callable[[float], float] = lambda t: 0.0
    sensed: Callable[[float], bool] = lambda t: True
    metered: bool = False


@dataclass
class Trace:
    """Simulated signals, one value for each step.

    Attributes:
        t_s: time, in seconds.
        temperature_c: true temperature, in degrees Celsius.
        reading_c: latest reading of the sensor, in degrees Celsius.
        requested: requested layers.
        granted: granted layers.
        reason: limit that determines the grant.
        own_w: power drawn by the perception, in watts.
        others_w: power drawn by other programs, in watts.
    """

    t_s: list[float] = field(default_factory=list)
    temperature_c: list[float] = field(default_factory=list)
    reading_c: list[float] = field(default_factory=list)
    requested: list[int] = field(default_factory=list)
    granted: list[int] = field(default_factory=list)
    reason: list[GrantReason] = field(default_factory=list)
    own_w: list[float] = field(default_factory=list)
    others_w: list[float] = field(default_factory=list)


def simulate(config: GovernorConfig, plant: Plant, scenario: Scenario, seconds: float) -> Trace:
    """Simulate the loop. The perception spends its whole grant. Deterministic.

    Args:
        config: configuration of the governor; its joules_per_layer may differ from the plant's.
        plant: thermal model of the computer.
        scenario: requests, loads and faults.
        seconds: duration, in seconds.
    """
    governor, body, trace = Governor(config), WarmBody(plant, STEP_S), Trace()
    layer_w = plant.joules_per_layer * config.frame_rate_hz
    per_reading = round(READING_EVERY_S / STEP_S)
    own_w, reading_c = 0.0, body.reading_c()
    for index in range(round(seconds / STEP_S)):
        t_s = index * STEP_S
        others_w = scenario.others_w(t_s)
        if index % per_reading == 0:
            if scenario.sensed(t_s):
                reading_c = body.reading_c()
                governor.temperature("soc", reading_c, t_s)
            if scenario.metered and index:
                governor.watts("board", own_w + others_w, t_s)
            asked = scenario.request(t_s)
            if asked is not None:
                governor.request(Budget(asked, "layers", "power manager"), 0, 2 * READING_EVERY_S, t_s)
        grant = governor.step(t_s)
        own_w = layer_w * grant.granted
        body.heat(own_w + others_w)
        trace.t_s.append(t_s)
        trace.temperature_c.append(body.temperature_c)
        trace.reading_c.append(reading_c)
        trace.requested.append(grant.requested)
        trace.granted.append(grant.granted)
        trace.reason.append(grant.reason)
        trace.own_w.append(own_w)
        trace.others_w.append(others_w)
    return trace
