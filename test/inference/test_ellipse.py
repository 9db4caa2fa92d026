# SPDX-License-Identifier: Apache-2.0
"""Confidence ellipses against tables and known covariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.inference.ellipse import ellipse_limit, plane_ellipse


@pytest.mark.parametrize(("share", "axes", "expected"), [
    (0.50, 2, 1.386294), (0.90, 2, 4.605170), (0.95, 2, 5.991465),
    (0.50, 3, 2.365974), (0.90, 3, 6.251389), (0.95, 3, 7.814728)])
def test_limits_are_chi_square_quantiles(share, axes, expected):
    assert ellipse_limit(share, axes) == pytest.approx(expected, abs=1e-5)


@given(st.floats(0.01, 3), st.floats(0.01, 1), st.floats(-1.5, 1.5))
@settings(max_examples=50, deadline=None)
def test_axes_and_angle_are_those_of_the_covariance(major, ratio, yaw):
    minor = major * ratio
    turn = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    covariance = turn @ np.diag([major**2, minor**2]) @ turn.T
    found = plane_ellipse(np.pad(covariance, (0, 1)), 0.9)
    reach = math.sqrt(ellipse_limit(0.9, 2))
    assert (found.major_m, found.minor_m) == pytest.approx((major * reach, minor * reach), rel=1e-6, abs=1e-6)
    assert -math.pi / 2 < found.yaw_rad <= math.pi / 2
    if ratio < 0.99:
        assert found.yaw_rad == pytest.approx(yaw, abs=1e-4)


def test_a_covariance_of_rank_one_is_a_line():
    found = plane_ellipse(np.array([[1.0, 1.0], [1.0, 1.0]]), 0.5)
    assert found.minor_m == pytest.approx(0.0, abs=1e-6) and found.yaw_rad == pytest.approx(math.pi / 4)
