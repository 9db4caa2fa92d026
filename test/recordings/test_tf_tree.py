# SPDX-License-Identifier: Apache-2.0
"""The TF tree: poses against compositions of known transforms, and what it ignores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from admn_ros.errors import InputError
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings import tf_tree
from admn_ros.recordings.tf_tree import TransformTree

S = 10**9
IDENTITY = (0.0, 0.0, 0.0, 1.0)
Triple = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


def message(parent: str, child: str, place: Triple, rotation: Quaternion = IDENTITY, stamp_s: float = 1.0) -> Any:
    return make.static_transforms([make.Transform(parent, child, place, rotation)], round(stamp_s * S))


def yaw(degrees: float) -> Quaternion:
    x, y, z, w = Rotation.from_euler("z", degrees, degrees=True).as_quat().tolist()
    return x, y, z, w


def stamps(*seconds: float) -> np.ndarray:
    return np.array([round(s * S) for s in seconds], np.int64)


def test_poses_compose_over_the_common_ancestor() -> None:
    tree = TransformTree(history=True)
    tree.add(message("map", "base", (1, 2, 0), yaw(90)), static=True)
    tree.add(message("/base", "camera", (1, 0, 0.5)), static=True)
    tree.add(message("map", "car", (0, 0, 1)), static=True)
    pose = tree.at("camera", "car", stamps(0, 5))
    np.testing.assert_allclose(pose.translation_m, [[1, 3, -0.5]] * 2, atol=1e-12)
    np.testing.assert_allclose(pose.rotation[0], Rotation.from_euler("z", 90, degrees=True).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(pose.inverse().transform(pose.translation_m), np.zeros((2, 3)), atol=1e-12)
    assert len(tree.stamps_ns("camera", "car")) == 0
    assert tree.frames == ["base", "camera", "car", "map"]
    assert tree.ancestors(["camera"]) == {"camera", "base", "map"}


def test_a_recording_is_interpolated_and_nan_outside() -> None:
    tree = TransformTree(history=True)
    for stamp_s, x, degrees in ((1, 0, 0), (2, 1, 10), (4, 5, 30)):
        tree.add(message("map", "car", (x, 0, 0), yaw(degrees), stamp_s))
    assert tree.stamps_ns("car", "map").tolist() == [S, 2 * S, 4 * S]
    pose = tree.at("car", "map", stamps(0.5, 1, 1.5, 3, 4, 4.1))
    np.testing.assert_allclose(pose.translation_m[:, 0], [np.nan, 0, 0.5, 3, 5, np.nan])
    angles = Rotation.from_matrix(pose.rotation[1:5]).as_euler("xyz", degrees=True)[:, 2]
    np.testing.assert_allclose(angles, [0, 5, 20, 30], atol=0.02)
    newest = tree.newest("car", "map")
    assert newest is not None
    assert newest.translation_m.tolist() == [[5, 0, 0]]


def test_a_live_tree_keeps_the_newest_transform_alone() -> None:
    tree = TransformTree()
    for x in range(1000):
        tree.add(message("map", "car", (x, 0, 0), stamp_s=1 + x))
    newest = tree.newest("car", "map")
    assert newest is not None
    assert newest.translation_m.tolist() == [[999, 0, 0]]
    assert tree.at("car", "map", stamps(0, 5)).translation_m.tolist() == [[999, 0, 0]] * 2
    assert len(tree._edges["car"].stamps_ns) == 1
    tree.add(message("room", "car", (7, 0, 0)))
    assert tree.newest("car", "map") is None


@pytest.mark.parametrize("history", [False, True])
def test_invalid_transforms_are_ignored(history: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = TransformTree(history=history)
    tree.add(message("map", "car", (1, 0, 0)))
    for change in ({"x": math.nan}, {"y": math.inf}):
        bad = message("map", "car", (2, 0, 0))
        vars(bad.transforms[0].transform.translation).update(change)
        tree.add(bad)
    zero = message("map", "car", (2, 0, 0))
    zero.transforms[0].transform.rotation.w = 0.0
    tree.add(zero)
    tree.add(message("car", "car", (2, 0, 0)))
    assert tree.at("car", "map", stamps(1)).translation_m.tolist() == [[1, 0, 0]]
    monkeypatch.setattr(tf_tree, "MAX_FRAMES", 2)
    for child in ("a", "b", "c"):
        tree.add(message("map", child, (0, 0, 0)))
    assert tree.frames == ["a", "car", "map"]


def test_frames_without_a_connection() -> None:
    tree = TransformTree(history=True)
    tree.add(message("map", "car", (1, 0, 0)))
    tree.add(message("a", "b", (0, 0, 0)))
    tree.add(message("b", "a", (0, 0, 0)))  # a loop
    assert tree.newest("b", "map") is None
    assert tree.newest("b", "a") is not None
    with pytest.raises(InputError, match="TF: found no connection from b to map; allowed: connected frames, of a, b, "):
        tree.at("b", "map", stamps(1))
