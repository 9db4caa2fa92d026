# SPDX-License-Identifier: Apache-2.0
"""The tracker: invariants for any input, and accuracy on known motions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.errors import InputError
from admn_ros.inference.ellipse import ellipse_limit
from admn_ros.inference.tracking import Outcome, Tracker, TrackerConfig, TrackState

STEP_NS = 66_666_667  # 15 Hz
SMALL = np.eye(2) * 0.05**2

anything = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def frames(draw: st.DrawFn) -> tuple[int, np.ndarray | None, np.ndarray | None]:
    """A step of time, forwards or not, and an estimate that may be anything."""
    step_ns = draw(st.sampled_from([STEP_NS, STEP_NS, STEP_NS, 3 * STEP_NS, 0, -STEP_NS, 10**10, -10**10]))
    match draw(st.sampled_from(["good", "good", "good", "none", "wild"])):
        case "none":
            return step_ns, None, None
        case "wild":
            return step_ns, np.array(draw(st.lists(anything, min_size=2, max_size=2))), np.array(
                draw(st.lists(anything, min_size=4, max_size=4))).reshape(2, 2)
    mean = np.array(draw(st.lists(st.floats(-3, 3), min_size=2, max_size=2)))
    factor = np.tril(np.array(draw(st.lists(st.floats(-2, 2), min_size=4, max_size=4))).reshape(2, 2))
    np.fill_diagonal(factor, draw(st.floats(1e-4, 5)))
    return step_ns, mean, factor @ factor.T


@given(st.lists(frames(), min_size=1, max_size=40))
@settings(max_examples=150, deadline=None)
def test_the_track_is_a_gaussian_with_increasing_stamps_for_any_input(sequence):
    tracker, stamp_ns, last = Tracker(TrackerConfig(), 2), 10**12, None
    for step_ns, mean, covariance in sequence:
        stamp_ns += step_ns
        with np.errstate(all="ignore"):
            outcome, state = tracker.step(stamp_ns, mean, covariance)
        if state is None:
            assert outcome in (Outcome.REFUSED, Outcome.NOTHING)
            continue
        assert outcome is state.outcome and state.stamp_ns == stamp_ns
        assert np.isfinite(state.position_m).all() and np.isfinite(state.velocity_mps).all()
        assert np.isfinite(state.covariance).all()
        assert np.array_equal(state.covariance, state.covariance.T)
        scale = max(1.0, float(np.abs(state.covariance).max()))
        assert np.linalg.eigvalsh(state.covariance)[0] >= -1e-12 * scale
        if last is not None and stamp_ns <= last:
            assert outcome is Outcome.STARTED, "time jumped back"
        last = stamp_ns
    assert sum(tracker.counts.values()) == len(sequence)


def drive(tracker: Tracker, seed: int, *, frames_: int = 90, std_m: float = 0.1, axes: int = 2,
          velocity=(0.7, -0.4, 0.2)) -> tuple[list[TrackState], np.ndarray]:
    """States of a straight drive that is seen with noise, and the true positions."""
    rng = np.random.default_rng(seed)
    factor = np.linalg.cholesky(np.eye(axes) + 0.5) * std_m
    states, truths = [], []
    for k in range(frames_):
        truth = np.array([1.0, 2.0, 0.5])[:axes] + k * STEP_NS * 1e-9 * np.array(velocity)[:axes]
        seen = truth + factor @ rng.standard_normal(axes)
        _, state = tracker.step(10**12 + k * STEP_NS, seen, factor @ factor.T)
        states.append(state)
        truths.append(truth)
    return states, np.array(truths)


@pytest.mark.parametrize("axes", [2, 3])
def test_a_straight_drive_is_tracked_without_bias_and_with_a_smaller_error(axes):
    config = TrackerConfig(acceleration=0.01, gate=0.999999, spread=1.0)
    errors, speeds, inside = [], [], []
    for seed in range(40):
        states, truths = drive(Tracker(config, axes), seed, axes=axes)
        late = states[-1]
        errors.append(late.position_m - truths[-1])
        speeds.append(late.velocity_mps - np.array([0.7, -0.4, 0.2])[:axes])
        inside.append(errors[-1] @ np.linalg.solve(late.position_covariance_m2, errors[-1]) <= ellipse_limit(0.9, axes))
    expected_m = math.sqrt(late.position_covariance_m2[0, 0])
    assert expected_m < 0.06, "one estimate alone has 0.12"
    assert np.abs(np.mean(errors, axis=0)).max() < 4 * expected_m / math.sqrt(len(errors))
    assert np.abs(np.mean(speeds, axis=0)).max() < 4 * math.sqrt(late.velocity_covariance[0, 0] / len(errors))
    assert np.std(errors) == pytest.approx(expected_m, rel=0.3)
    assert 0.75 <= np.mean(inside) <= 1.0


def test_an_outlier_is_gated_and_does_not_move_the_track():
    tracker = Tracker(TrackerConfig(), 2)
    states, truths = drive(tracker, 0)
    outcome, state = tracker.step(10**12 + 90 * STEP_NS, truths[-1] + 3.0, SMALL)
    assert outcome is Outcome.GATED
    assert np.linalg.norm(state.position_m - states[-1].position_m) < 0.2
    assert np.trace(state.covariance) > np.trace(states[-1].covariance), "it knows less than before"


def test_a_lost_track_restarts_at_the_estimates():
    tracker = Tracker(TrackerConfig(restart_after=4, timeout_s=10.0), 2)
    drive(tracker, 0)
    outcomes = [tracker.step(10**12 + (90 + k) * STEP_NS, np.array([-9.0, -9.0]), SMALL)[0] for k in range(5)]
    assert outcomes == [Outcome.GATED] * 3 + [Outcome.STARTED, Outcome.UPDATED]


def test_a_track_without_estimates_is_predicted_and_then_ends():
    tracker = Tracker(TrackerConfig(timeout_s=0.5), 2)
    states, _ = drive(tracker, 1)
    spreads = [np.trace(states[-1].position_covariance_m2)]
    for k in range(7):
        outcome, state = tracker.step(10**12 + (90 + k) * STEP_NS)
        assert outcome is Outcome.PREDICTED
        spreads.append(np.trace(state.position_covariance_m2))
    assert spreads == sorted(spreads)
    assert state.position_m == pytest.approx(
        states[-1].position_m + 7 * STEP_NS * 1e-9 * states[-1].velocity_mps, abs=1e-9)
    assert tracker.step(10**12 + 97 * STEP_NS) == (Outcome.NOTHING, None)
    assert tracker.step(10**12 + 98 * STEP_NS, np.zeros(2), SMALL)[0] is Outcome.STARTED


def test_stamps_that_are_not_newer_are_refused_and_change_nothing():
    tracker, other = Tracker(TrackerConfig(), 2), Tracker(TrackerConfig(), 2)
    drive(tracker, 2)
    states, _ = drive(other, 2)
    last_ns = states[-1].stamp_ns
    for stamp_ns in (last_ns, last_ns - 1, last_ns - 10**9):
        assert tracker.step(stamp_ns, np.array([5.0, 5.0]), SMALL) == (Outcome.REFUSED, None)
    seen = states[-1].position_m + 0.02
    _, one = tracker.step(last_ns + STEP_NS, seen, SMALL)
    _, two = other.step(last_ns + STEP_NS, seen, SMALL)
    assert np.array_equal(one.position_m, two.position_m) and np.array_equal(one.covariance, two.covariance)


def test_a_jump_back_in_time_starts_a_new_track():
    tracker = Tracker(TrackerConfig(), 2)
    drive(tracker, 3)
    outcome, state = tracker.step(10**11, np.array([5.0, 5.0]), SMALL)
    assert outcome is Outcome.STARTED and state.position_m.tolist() == [5.0, 5.0]


def test_an_invalid_covariance_is_refused_and_the_track_continues():
    tracker = Tracker(TrackerConfig(), 2)
    states, _ = drive(tracker, 4)
    for mean, covariance in ((np.array([math.nan, 0.0]), SMALL), (np.zeros(2), np.full((2, 2), math.inf)),
                             (np.zeros(2), np.zeros((2, 2))), (np.zeros(2), np.diag([1.0, -1.0]))):
        assert tracker.step(states[-1].stamp_ns + STEP_NS, mean, covariance) == (Outcome.REFUSED, None)
    assert tracker.step(states[-1].stamp_ns + STEP_NS, states[-1].position_m, SMALL)[0] is Outcome.UPDATED


def test_spread_lowers_the_weight_of_the_estimates():
    narrow, wide = (drive(Tracker(TrackerConfig(spread=s), 2), 5)[0][-1] for s in (1.0, 3.0))
    assert np.trace(wide.covariance) > np.trace(narrow.covariance)


def test_axes_are_two_or_three():
    with pytest.raises(InputError, match="2 or 3"):
        Tracker(TrackerConfig(), 4)
