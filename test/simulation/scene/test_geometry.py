# SPDX-License-Identifier: Apache-2.0
"""Rays meet boxes on their surface; the track closes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admn_ros.simulation.scene.geometry import Box
from admn_ros.simulation.scene.track import DRIVEN, INNER_LINE, OUTER_LINE


@given(st.floats(-50, 50))
def test_lines_are_closed_and_their_heading_is_the_tangent(distance: float) -> None:
    for line in (DRIVEN, OUTER_LINE, INNER_LINE):
        here, heading = line.at(distance)
        assert np.abs(here).max() <= line.half_m + 1e-9
        assert np.allclose(line.at(distance + line.length_m)[0], here)
        step = (line.at(distance + 1e-5)[0] - line.at(distance - 1e-5)[0]) / 2e-5
        assert np.allclose(step, [np.cos(heading), np.sin(heading)], atol=2e-3)
    assert DRIVEN.at(0.0)[0] == pytest.approx((DRIVEN.half_m, DRIVEN.radius_m - DRIVEN.half_m))


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.floats(-3, 3))
def test_box_is_entered_on_its_surface(start: list[float], yaw: float) -> None:
    """Random rays enter on the surface of the box, with the normal towards their origin."""
    box = Box((0.1, -0.2, 0.3), (0.5, 0.3, 0.2), (1, 1, 1), yaw)
    origin = np.array(start) + np.array([5.0, 0, 0])
    rays = np.array(box.centre_m) - origin + np.random.default_rng(1).normal(0, 0.4, (200, 3))
    depth, normal = box.hit(origin, rays)
    hit = np.isfinite(depth)
    assert hit.any()
    c, s = np.cos(yaw), np.sin(yaw)
    local = (origin + rays[hit] * depth[hit, None] - box.centre_m) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    assert np.allclose((np.abs(local) / box.half_m).max(axis=1), 1)
    assert ((normal[hit] * rays[hit]).sum(axis=1) < 0).all()
