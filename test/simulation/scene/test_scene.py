# SPDX-License-Identifier: Apache-2.0
"""Rooms drawn from a seed: clutter, sensor nodes and viewpoints."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.errors import InputError
from admn_ros.simulation.camera.offscreen import PinholeCamera
from admn_ros.simulation.camera.render import RGB_FOV_DEG
from admn_ros.simulation.scene.driving import LIMIT_HALF_M
from admn_ros.simulation.scene.furnishing import MATERIALS, WALL_ITEMS
from admn_ros.simulation.scene.geometry import Box, rotation_z
from admn_ros.simulation.scene.scene import TARGETS, VIEWPOINTS, Scene
from admn_ros.simulation.scene.sensor_node import SensorNode
from admn_ros.simulation.scene.track import DRIVEN, MAT_HALF_M

seeds = st.integers(0, 2**40)
views = st.sampled_from(["default", *VIEWPOINTS])


def azimuth_deg(node: SensorNode) -> float:
    return float(np.degrees(np.arctan2(node.base.translation_m[1], node.base.translation_m[0])))


def corners(box: Box) -> np.ndarray:
    signs = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    return signs * box.half_m @ rotation_z(box.yaw_rad).T + box.centre_m


@settings(max_examples=15, deadline=None)
@given(seeds, views, st.integers(1, 3))
def test_clutter_and_nodes_are_inside_the_room_and_off_the_mat(seed: int, viewpoints: str, count: int) -> None:
    scene = Scene.seeded(seed, viewpoints=viewpoints, nodes=count)
    assert [n.name for n in scene.nodes] == [f"node{k + 1}" for k in range(count)]
    assert len(scene.look.clutter_materials) == len(scene.clutter) >= 5
    assert set(scene.look.clutter_materials) <= set(MATERIALS)
    assert {item for wall in scene.look.walls for item in wall} <= set(WALL_ITEMS)
    x, y = scene.room_half_m
    for box in scene.clutter:
        points = corners(box)
        assert (np.abs(points[:, :2]) < (x + 0.05, y + 0.05)).all()
        assert -0.01 < points[:, 2].min() < points[:, 2].max() < scene.ceiling_m
        assert (np.abs(points[:, :2]) > MAT_HALF_M).any(axis=1).all()  # and off the mat
    heights = VIEWPOINTS[viewpoints].height_m if viewpoints in VIEWPOINTS else ((0.6, 1.2),)
    for node in scene.nodes:
        at = node.base.translation_m
        assert any(low <= at[2] <= high for low, high in heights)
        assert (np.abs(at[:2]) < scene.room_half_m).all()
        assert (np.abs(at[:2]) > np.array(LIMIT_HALF_M) + 0.35).any()  # the tripod's legs are out of the car's way


@settings(max_examples=15, deadline=None)
@given(seeds, views)
def test_nodes_see_the_track(seed: int, viewpoints: str) -> None:
    """Each node sees most of the dashed line, all together see all of it, and no clutter hides it."""
    scene = Scene.seeded(seed, viewpoints=viewpoints)
    line, _ = DRIVEN.at(np.linspace(0, DRIVEN.length_m, 200, endpoint=False))
    points = np.concatenate([line, np.full((200, 1), 0.06)], axis=1)
    seen = []
    for node in scene.nodes:
        pose = node.sensor("rgb_optical")
        pixels, depth = PinholeCamera(pose, 480, 270, RGB_FOV_DEG).project(points)
        seen.append((depth > 0) & (pixels >= 0).all(axis=1) & (pixels <= (479, 269)).all(axis=1))
        assert seen[-1].mean() > 0.6
        for box in scene.clutter:
            assert not (box.hit(pose.translation_m, points - pose.translation_m)[0] < 1).any()
    assert np.any(seen, axis=0).mean() > 0.97


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.lists(seeds, min_size=2, max_size=6, unique=True))
def test_train_and_held_out_are_disjoint(many: list[int]) -> None:
    train, held_out, moved = ([n for seed in many for n in Scene.seeded(seed, viewpoints=v).nodes] for v in VIEWPOINTS)
    heights = [[n.base.translation_m[2] for n in nodes] for nodes in (train, held_out)]
    assert max(heights[0]) < min(heights[1])
    gaps = np.array([[azimuth_deg(a) - azimuth_deg(b) for b in held_out] for a in train])
    assert np.abs((gaps + 180) % 360 - 180).min() >= 9.9
    assert not any(0.90 < node.base.translation_m[2] < 1.25 for node in moved)
    gaps = np.array([[azimuth_deg(a) - azimuth_deg(b) for b in held_out] for a in moved])
    assert np.abs((gaps + 180) % 360 - 180).min() >= 9.9
    assert len({azimuth_deg(n) for n in train}) == len(train)  # every seed has viewpoints of its own


def test_the_same_seed_gives_the_same_room_and_another_seed_another_room() -> None:
    def key(scene: Scene) -> str:
        return repr(dataclasses.astuple(scene))

    assert key(Scene.seeded(5, viewpoints="train")) == key(Scene.seeded(5, viewpoints="train"))
    assert len({key(Scene.seeded(seed, "none")) for seed in range(20)}) == 20
    a, b = Scene.seeded(1), Scene.seeded(2)
    assert a.room_half_m != b.room_half_m
    assert a.look.wall_rgb != b.look.wall_rgb
    for one, other in zip(a.nodes, b.nodes, strict=True):  # the default viewpoints are the same in every room
        assert np.array_equal(one.base.translation_m, other.base.translation_m)
    red, green = Scene.seeded(1, "red_car"), Scene.seeded(1, "green_car")
    assert key(dataclasses.replace(red, target="green_car")) == key(green)


@pytest.mark.slow
def test_targets_are_drawn_in_their_shares() -> None:
    drawn = Counter(Scene.seeded(seed, nodes=1).target for seed in range(200))
    assert set(drawn) == set(TARGETS)
    assert 0.35 < drawn["red_car"] / 200 < 0.55
    assert 0.35 < drawn["green_car"] / 200 < 0.55
    assert 0.04 < drawn["none"] / 200 < 0.17


@pytest.mark.parametrize(("bad", "allowed"), [
    ({"seed": -1}, "seed: found -1"), ({"target": "blue_car"}, "red_car, green_car, none, or None"),
    ({"viewpoints": "test"}, "default, train, held_out, moved"), ({"nodes": 0}, "1 to 3"), ({"nodes": 4}, "1 to 3")])
def test_bad_arguments(bad: dict[str, object], allowed: str) -> None:
    with pytest.raises(InputError, match=allowed):
        Scene.seeded(**{"seed": 1, **bad})
