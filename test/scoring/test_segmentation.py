# SPDX-License-Identifier: Apache-2.0
"""Intersection over union, against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from admn_ros.scoring.segmentation import PixelScores, class_iou, mean_iou

TRUTH = np.array([[[0, 0, 1], [1, -1, 1]], [[0, 0, 0], [0, 0, 0]]])
PREDICTED = np.array([[[0, 1, 1], [1, 0, 0]], [[0, 0, 0], [0, 0, 2]]])


def scores() -> PixelScores:
    found = PixelScores(3)
    found.add(TRUTH, PREDICTED)
    return found


def test_the_union_has_both_truth_and_prediction():
    found = scores()
    # Class 0: 1 + 5 hits, 1 + 1 missed, 1 wrong; class 1: 2 hits, 1 missed, 1 wrong; class 2 never occurs.
    assert class_iou(found.confusion)[:2] == pytest.approx([6 / 9, 2 / 4])
    assert np.isnan(class_iou(found.confusion)[2])
    assert mean_iou(found.confusion) == pytest.approx((6 / 9 + 2 / 4) / 2)
    assert found.confusion.sum() == 11, "a pixel without a class does not count"


def test_frames_are_scored_alone_and_in_groups():
    found = scores()
    assert found.frame_iou == pytest.approx([(1 / 3 + 2 / 4) / 2, 5 / 6])
    assert mean_iou(found.of(np.array([1]))) == pytest.approx(5 / 6)


def test_intervals_need_scenes_and_contain_the_mean():
    rng = np.random.default_rng(0)
    found = PixelScores(2)
    for _ in range(40):
        truth = rng.integers(0, 2, (1, 4, 4))
        found.add(truth, np.where(rng.random((1, 4, 4)) < 0.8, truth, 1 - truth))
    assert found.interval(np.zeros(40, np.int64)) is None
    ends = found.interval(np.arange(40) // 4)
    assert ends is not None and ends[0] < mean_iou(found.confusion) < ends[1] and ends[1] - ends[0] < 0.3
