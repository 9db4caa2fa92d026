# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admn_ros.inference.frame_rate import FrameRate, RateLimit


@given(st.floats(0.5, 200.0), st.integers(2, 40))
def test_steady_stamps_give_their_rate(rate_hz: float, frames: int):
    rate = FrameRate(window=8)
    for k in range(frames):
        rate.add(round(k * 1e9 / rate_hz))
    assert rate.hz == pytest.approx(rate_hz, rel=1e-6)


def test_only_the_window_counts():
    rate = FrameRate(window=3)
    for stamp_s in (0.0, 10.0, 20.0, 20.1, 20.2):
        rate.add(round(stamp_s * 1e9))
    assert rate.hz == pytest.approx(10.0)


def test_too_little_to_measure_is_zero_and_time_that_jumps_back_starts_anew():
    rate = FrameRate()
    assert rate.hz == 0.0
    for stamp_ns in (5_000_000_000, 5_000_000_000):
        rate.add(stamp_ns)
        assert rate.hz == 0.0
    rate.add(1_000_000_000)
    assert rate.hz == 0.0
    rate.add(1_250_000_000)
    assert rate.hz == pytest.approx(4.0)


def taken(times_s: list[float], rate_hz: float) -> list[float]:
    limit = RateLimit()
    return [t for t in times_s if limit.take(t, rate_hz)]


@pytest.mark.parametrize(("rate_hz", "expected"), [(0.0, 600), (100.0, 600), (30.0, 600), (15.0, 300), (20.0, 400),
                                                   (7.0, 140), (0.5, 10)])
def test_jitter_does_not_lower_the_limited_rate(rate_hz: float, expected: int):
    rng = np.random.default_rng(0)
    times_s = [5.0 + k / 30 + rng.uniform(-0.01, 0.01) for k in range(600)]  # a camera of 30 Hz for 20 s
    assert len(taken(times_s, rate_hz)) == pytest.approx(expected, abs=2)


@given(st.lists(st.floats(0.0, 0.5), min_size=1, max_size=80), st.floats(0.1, 50.0))
def test_no_span_of_time_has_more_frames_than_the_limit_allows(gaps_s: list[float], rate_hz: float):
    times_s = taken([float(t) for t in np.cumsum(gaps_s)], rate_hz)
    for first, start_s in enumerate(times_s):
        for last in range(first, len(times_s)):
            assert last - first + 1 <= rate_hz * (times_s[last] - start_s) + 2 + 1e-6
