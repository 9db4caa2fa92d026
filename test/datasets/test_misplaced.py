# SPDX-License-Identifier: Apache-2.0
"""Wrong poses: by the stated amounts, the same in a recording, and nothing else changes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from admn_ros.datasets.misplaced import MOVED_M, TURNED_RAD, Misplaced
from admn_ros.datasets.open import open_dataset
from admn_ros.datasets.source import LabeledReadings, recording_of
from admn_ros.errors import InputError
from admn_ros.sample import Target


def test_poses_are_off_by_the_stated_amounts_and_constant_in_a_recording(dataset, config):
    right, wrong = (open_dataset(kind, dataset, "test_time", model=config) for kind in ("shards", "shards_misplaced"))
    assert len(right) == len(wrong) == 60
    errors = set()
    for index in (0, 9, 10, 59):
        a, b = right[index], wrong[index]
        assert recording_of(wrong, index) == recording_of(right, index)
        assert a.target.label == b.target.label and a.stamp_ns == b.stamp_ns
        assert all(np.array_equal(x, b.readings[key], equal_nan=x.dtype.kind == "f") for key, x in a.readings.items())
        assert a.poses is not None and b.poses is not None and a.poses.keys() == b.poses.keys()
        for node, pose in a.poses.items():
            moved = b.poses[node]
            dx, dy = moved.x_m - pose.x_m, moved.y_m - pose.y_m
            assert math.hypot(dx, dy) == pytest.approx(MOVED_M)
            assert abs(moved.yaw_rad - pose.yaw_rad) == pytest.approx(TURNED_RAD)
            assert (moved.z_m, moved.tilt_rad) == (pose.z_m, pose.tilt_rad)
            errors.add((recording_of(right, index), node, round(dx, 9), round(dy, 9)))
    assert len(errors) == 3 * 2   # three recordings, two nodes


def test_a_dataset_of_other_classes_is_still_refused(dataset, config):
    other = config.model_copy(update={"classes": ("a", "b", "c")})
    with pytest.raises(InputError, match="classes: found red_car"):
        open_dataset("shards_misplaced", dataset, "test_time", model=other)


def test_samples_without_poses_are_refused():
    with pytest.raises(InputError, match="poses: missing"):
        Misplaced([LabeledReadings({}, Target((0.0, 0.0, 0.0)))])[0]
