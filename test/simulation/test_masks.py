# SPDX-License-Identifier: Apache-2.0
"""Segmentation masks of the simulated room: they agree with depth and geometry, and datasets store them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="no renderer is installed")

from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.recordings import shards
from admn_ros.recordings.shard_format import CAMERAS, MASK, MASK_CLASSES
from admn_ros.simulation.dataset import DatasetPlan, make_dataset
from admn_ros.simulation.difficulty import Difficulty
from admn_ros.simulation.scene.surfaces import SURFACES, Surface
from admn_ros.simulation.world import World

pytestmark = pytest.mark.slow

CROWDED = Difficulty(second_car=1.0, people=3)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(5, viewpoints="train", quality="small", difficulty=CROWDED) as found:
        yield found


def test_every_class_is_where_its_geometry_is(world: World) -> None:
    time_s, seen = 3.0, set()
    for node in range(3):
        mask, camera = world.mask(node, time_s), world.renderer.camera(node)
        assert mask.shape == (72, 128) and mask.dtype == np.uint8
        seen |= set(mask.ravel().tolist())
        depth = world.renderer.render(node, world.car(time_s), "depth", world.others.at(time_s))
        lens = world.renderer.camera(node, "depth")
        # The middle of a floor pixel, looked up in the depth image, is at the height of the floor.
        rows, columns = np.nonzero(mask == Surface.FLOOR)
        rays = np.column_stack([columns, rows, np.ones(len(rows))]) @ np.linalg.inv(camera.matrix).T
        there = rays @ lens.matrix.T
        u, v = np.rint(there[:, 0]).astype(int), np.rint(there[:, 1]).astype(int)
        inside = (u >= 0) & (u < 80) & (v >= 0) & (v < 60)
        points = (rays * 1.0)[inside] * depth[v[inside], u[inside]][:, None]
        height_m = (points @ camera.pose.rotation.T + camera.pose.translation_m)[:, 2]
        assert np.abs(np.median(height_m)) < 0.03 and np.quantile(height_m, 0.9) < 0.15
    assert seen == set(Surface), "three views of a crowded room show every class"


def test_the_car_in_the_mask_is_the_car_in_the_image(world: World) -> None:
    car = world.drive.at(3.0)
    alone = np.stack([world.renderer.surfaces(node, car) == Surface.CAR for node in range(3)])
    silhouette = np.stack([world.renderer.car_mask(node, car) for node in range(3)])
    # Pixels at the edge may differ: the silhouette is rendered with several samples for each pixel.
    assert (alone & silhouette).sum() >= 0.85 * max(alone.sum(), silhouette.sum()) > 40
    assert not (world.renderer.surfaces(0, None) == Surface.CAR).any()


def test_a_dataset_stores_masks_only_on_request(tmp_path: Path) -> None:
    with_masks, without = (DatasetPlan(4, 3, nodes=1, audio_s=0.1, masks=masks) for masks in (True, False))
    assert "masks" not in without.arguments(), "datasets that were begun before masks existed can be continued"
    make_dataset(tmp_path / "masks", with_masks)
    make_dataset(tmp_path / "plain", without)
    arrays, meta = shards.read(tmp_path / "masks", "train", "shard-00000")
    plain, other = shards.read(tmp_path / "plain", "train", "shard-00000")
    assert set(arrays) - set(plain) == {MASK} and set(meta) - set(other) == {CAMERAS}
    assert arrays[MASK].shape == (4, 1, 72, 128) and arrays[MASK].max() < len(SURFACES)
    np.testing.assert_array_equal(arrays["rgb"], plain["rgb"])
    assert shards.read_index(tmp_path / "masks")[1][MASK_CLASSES] == list(SURFACES)
    assert len(ShardDataset(tmp_path / "masks", "train")) == 4
