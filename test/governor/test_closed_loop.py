# SPDX-License-Identifier: Apache-2.0
"""The governor and a computer that gets warm: no overshoot beyond the limit, no lasting oscillation."""

from __future__ import annotations

import random
from itertools import pairwise, product

import pytest

from admn_ros.governor.closed_loop import STEP_S, Scenario, simulate
from admn_ros.governor.config import GovernorConfig
from admn_ros.governor.governor import GrantReason
from admn_ros.governor.thermal_plant import Plant, WarmBody

CONFIG = GovernorConfig(default_layers=48)
# Resistance C/W, capacity J/C, ambient C, joules per layer (the governor believes 0.02), delay s, resolution C.
GRID = list(product((2.0, 4.0, 8.0), (10.0, 40.0, 200.0), (25.0, 45.0), (0.01, 0.02, 0.04), (0.4, 2.0, 4.0),
                    (0.1, 1.0)))
PLANTS = [Plant(*values) for values in random.Random(5).sample(GRID, 24)]


def swings(values: list[float], size: float) -> int:
    """How often a signal turns round by more than `size`."""
    turns, low, high, rising = 0, values[0], values[0], None
    for value in values:
        low, high = min(low, value), max(high, value)
        if rising is not True and value - low > size:
            turns, rising, high = turns + (rising is not None), True, value
        elif rising is not False and high - value > size:
            turns, rising, low = turns + (rising is not None), False, value
        if rising is True and value == high:
            low = value
        elif rising is False and value == low:
            high = value
    return turns


@pytest.mark.parametrize("metered", [False, True])
@pytest.mark.parametrize("plant", PLANTS, ids=str)
def test_no_plant_overshoots_or_oscillates(plant: Plant, metered: bool) -> None:
    """From cold with everything asked for; at 200 s another program starts to draw 2 W."""
    scenario = Scenario(others_w=lambda t: 2.0 if t > 200 else 0.0, metered=metered)
    trace = simulate(CONFIG, plant, scenario, 500.0)
    assert max(trace.temperature_c) < CONFIG.limit_c
    assert GrantReason.CRITICAL not in trace.reason
    late = round(250.0 / STEP_S)
    assert swings(trace.temperature_c[late:], 2.5) <= 1
    changes = sum(a != b for a, b in pairwise(trace.granted[late:]))
    assert changes <= 30  # in 250 s


def test_swings_are_counted() -> None:
    assert swings([0, 5, 0, 5, 0], 2) == 3
    assert swings([0, 1, 0, 1], 2) == swings([0, 3, 6, 9], 2) == 0


def test_heat_is_used_up_to_the_target_and_a_load_step_is_answered() -> None:
    plant = Plant()
    trace = simulate(CONFIG, plant, Scenario(others_w=lambda t: 3.0 if t > 400 else 0.0, metered=True), 800.0)
    before, after = trace.granted[round(390 / STEP_S)], trace.granted[-1]
    for granted, others_w in ((before, 0.0), (after, 3.0)):
        assert abs(plant.settled_c(0.3 * granted + others_w) - CONFIG.target_c) < 2.5
    assert before - after == pytest.approx(3.0 / 0.3, abs=2)


def test_a_sensor_that_falls_silent_is_answered_by_the_safe_budget_until_it_speaks() -> None:
    trace = simulate(CONFIG, Plant(), Scenario(sensed=lambda t: not 100 <= t < 150), 300.0)
    silent = [g for t, g in zip(trace.t_s, trace.granted, strict=True) if 105 <= t < 150]
    assert max(silent) <= CONFIG.safe_layers
    assert trace.granted[-1] > CONFIG.safe_layers
    assert max(trace.temperature_c) < CONFIG.limit_c


def test_two_runs_are_the_same() -> None:
    scenario = Scenario(request=lambda t: 30 if t < 20 else None, metered=True)
    assert simulate(CONFIG, Plant(), scenario, 60.0) == simulate(CONFIG, Plant(), scenario, 60.0)


def test_the_plant_settles_where_it_should_and_its_sensor_is_late_and_coarse() -> None:
    plant = Plant(resistance_c_per_w=4.0, capacity_j_per_c=10.0, ambient_c=20.0, sensor_delay_s=2.0, sensor_step_c=1.0)
    body = WarmBody(plant, 0.5)
    for _ in range(4):
        body.heat(5.0)
    assert body.reading_c() == 20.0 < body.temperature_c
    for _ in range(1000):
        body.heat(5.0)
    assert body.temperature_c == pytest.approx(40.0, abs=0.01)
    assert body.reading_c() == 40.0
