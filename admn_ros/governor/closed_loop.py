# SPDX-License-Identifier: Apache-2.0
"""The governor in a loop with a computer that gets warm from the layers it grants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from admn_ros.budget.budget import Budget
from admn_ros.governor.config import GovernorConfig
from admn_ros.governor.governor import Governor, Reason
from admn_ros.governor.thermal_plant import Plant, WarmBody

STEP_S = 0.2  # the governor's period
READING_EVERY_S = 1.0


@dataclass(frozen=True)
class Scenario:
    """What happens to the robot, by time in seconds.

    request: layers that a power manager asks for; None: it is silent, and its last request ends.
    others_w: what other programs draw.
    sensed: whether the temperature sensor speaks.
    metered: whether there are readings in watts.
    """

    request: Callable[[float], int | None] = lambda t: None
    others_w: Callable[[float], float] = lambda t: 0.0
    sensed: Callable[[float], bool] = lambda t: True
    metered: bool = False


@dataclass
class Trace:
    """One value for each step. temperature_c: true; reading_c: the latest; others_w: true; own_w: the perception's."""

    t_s: list[float] = field(default_factory=list)
    temperature_c: list[float] = field(default_factory=list)
    reading_c: list[float] = field(default_factory=list)
    requested: list[int] = field(default_factory=list)
    granted: list[int] = field(default_factory=list)
    reason: list[Reason] = field(default_factory=list)
    own_w: list[float] = field(default_factory=list)
    others_w: list[float] = field(default_factory=list)


def simulate(config: GovernorConfig, plant: Plant, scenario: Scenario, seconds: float) -> Trace:
    """Run the loop; the perception spends all it is granted. Deterministic.

    Args:
        config: of the governor, whose joules_per_layer may differ from the plant's.
        plant: what gets warm.
        scenario: what happens.
        seconds: how long.
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
