# SPDX-License-Identifier: Apache-2.0
"""Drives stay on the mat and within the limits of a model car."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from admn_ros.errors import InputError
from admn_ros.simulation.scene.driving import KINDS, LIMIT_HALF_M, Drive
from admn_ros.simulation.scene.track import DRIVEN

pytestmark = pytest.mark.slow

STEP_S = 0.005
SPAN_S = 150.0
seeds = st.integers(0, 2**40)
kinds = st.sampled_from(KINDS)


@settings(max_examples=12, deadline=None)
@given(seeds, kinds)
def test_limits_hold_everywhere(seed: int, kind: str) -> None:
    t = np.arange(0, SPAN_S, STEP_S)
    car = Drive.seeded(seed, kind).at(t)
    assert (np.abs(car.position_m) < LIMIT_HALF_M).all()
    assert car.speed_mps.min() >= 0
    assert car.speed_mps.max() <= 2.0
    along = np.diff(car.speed_mps) / STEP_S
    across = np.diff(np.unwrap(car.heading_rad)) / STEP_S * car.speed_mps[1:]
    assert np.abs(along).max() < 2.5
    assert np.abs(across).max() < 4.0


@settings(max_examples=12, deadline=None)
@given(seeds, kinds)
def test_velocity_heading_and_distance_are_the_motion(seed: int, kind: str) -> None:
    """The path has no jumps, its derivative is the velocity, and the heading points that way."""
    drive, t = Drive.seeded(seed, kind), np.arange(0, SPAN_S, STEP_S)
    car, velocity = drive.at(t), drive.velocity_mps(t)
    differences = (car.position_m[2:] - car.position_m[:-2]) / (2 * STEP_S)
    assert np.abs(differences - velocity[1:-1]).max() < 0.02
    heading = np.stack([np.cos(car.heading_rad), np.sin(car.heading_rad)], axis=-1)
    assert np.allclose(velocity, heading * car.speed_mps[:, None])
    assert np.allclose(np.gradient(drive.distance_m(t), STEP_S)[1:-1], car.speed_mps[1:-1], atol=0.02)


@settings(max_examples=15, deadline=None)
@given(seeds, kinds, st.lists(st.floats(0, 300), min_size=1, max_size=8))
def test_states_do_not_depend_on_the_order_of_calls(seed: int, kind: str, times: list[float]) -> None:
    asked = Drive.seeded(seed, kind)
    one_by_one = np.array([asked.at(t).position_m for t in times])
    assert np.array_equal(one_by_one, Drive.seeded(seed, kind).at(times).position_m)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_laps_follow_the_dashed_line(seed: int) -> None:
    position = Drive.seeded(seed, "laps").at(np.arange(0, 60, 0.05)).position_m
    line, _ = DRIVEN.at(np.arange(0, DRIVEN.length_m, 0.005))
    off, _ = cKDTree(line).query(position)
    assert off.max() < 0.25
    assert off.std() > 0.003  # and sway about it
    x, y = position.T
    turns = np.diff(np.unwrap(np.arctan2(y, x))).sum() / (2 * np.pi)
    assert abs(turns) > 3


def test_kinds_and_seeds_differ() -> None:
    t = np.arange(0, 120, 0.02)
    drives = [Drive.seeded(seed, kind).at(t) for kind in KINDS for seed in (1, 2, 3, 4)]
    for i, a in enumerate(drives):
        for b in drives[:i]:
            assert not np.allclose(a.position_m, b.position_m, atol=0.1)
    ways = {float(np.sign(np.diff(np.unwrap(np.arctan2(*d.position_m.T))).sum())) for d in drives[:4]}
    assert ways == {-1.0, 1.0}  # in either direction
    for car in drives[4:]:
        assert (car.speed_mps < 0.01).mean() > 0.01  # stops now and then
        assert np.ptp(car.position_m, axis=0).min() > 1.5  # and is all over the mat


def test_shapes_and_bad_arguments() -> None:
    drive = Drive.seeded(3)
    assert drive.at(1.0).position_m.shape == (2,)
    assert drive.at(np.zeros((2, 3))).position_m.shape == (2, 3, 2)
    assert drive.velocity_mps(np.zeros((4, 1))).shape == (4, 1, 2)
    assert drive.distance_m([0.0, 1.0]).shape == (2,)
    for t in (-0.1, np.nan, np.inf):
        with pytest.raises(InputError, match="t_s"):
            drive.at(t)
    with pytest.raises(InputError, match="laps or random"):
        Drive.seeded(1, "drift")
    with pytest.raises(InputError, match="seed"):
        Drive.seeded(-1)
