# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admn_ros.inference.frame_rate import FrameRate


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
