# SPDX-License-Identifier: Apache-2.0
"""Scores of segmentations: confusion of pixels, intersection over union, intervals by scene."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from admn_ros.scoring.bootstrap import Interval, SceneBootstrap
from admn_ros.scoring.metrics import Floats, Whole, confusion_matrix

UNLABELLED = -1
"""Class of pixels that do not count."""


def mean_iou(confusion: npt.NDArray[np.int64]) -> Floats:
    """Return the mean intersection over union (...) of confusion matrices (..., K, K) over the classes that occur."""
    return np.asarray(np.nanmean(class_iou(confusion), axis=-1))


def class_iou(confusion: npt.NDArray[np.int64]) -> Floats:
    """Return the intersection over union (..., K) of each class; NaN for a class that has no pixel in the truth."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    truth, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    union = truth + predicted - hit
    return np.asarray(np.divide(hit, union, out=np.full(hit.shape, np.nan), where=truth > 0))


@dataclass
class PixelScores:
    """Confusion of the pixels of a split, frame by frame.

    Attributes:
        classes: number of classes.
    """

    classes: int
    _frames: list[Whole] = field(default_factory=list)

    def add(self, truth: Whole, predicted: Whole) -> None:
        """Add the classes (B, H, W) of the pixels of a batch; those without a true class do not count."""
        for one, other in zip(truth, predicted, strict=True):
            known = one != UNLABELLED
            self._frames.append(confusion_matrix(one[known], other[known], self.classes))

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def confusion(self) -> Whole:
        """Confusion of all pixels (K, K), true classes in rows."""
        return np.asarray(np.sum(self._frames, axis=0, dtype=np.int64))

    def of(self, rows: Whole) -> Whole:
        """Return the confusion of the pixels of some frames (K, K)."""
        return np.asarray(np.sum([self._frames[i] for i in rows], axis=0, dtype=np.int64))

    @property
    def frame_iou(self) -> Floats:
        """Mean intersection over union of each frame (N,), over the classes that occur in it."""
        return mean_iou(np.stack(self._frames))

    def interval(self, scene: Whole, seed: int = 0) -> Interval | None:
        """Return the 95 % interval of the mean intersection over union, by the scene (N,) of each frame."""
        scenes = int(scene.max()) + 1
        counts = np.zeros((scenes, self.classes, self.classes), np.int64)
        np.add.at(counts, scene, np.stack(self._frames))
        return SceneBootstrap(scenes, seed).of_counts(counts, mean_iou, scene)
