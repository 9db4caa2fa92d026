# SPDX-License-Identifier: Apache-2.0
"""The rule by which a frame shows no target. It holds for pose, detections, markers, odometry and pictures alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from admn_ros.inference.ellipse import Float64
from admn_ros.inference.engine import Estimate

NO_TARGET = "none"
"""Class of an empty scene, in which the position estimate is meaningless."""
NO_TARGET_ABOVE = 0.5
"""Default of the probability of class `none` above which a frame shows no target."""
Threshold = Annotated[float, Field(gt=0, le=1)]


def shows_target(classes: Sequence[str], scores: Float64 | None, no_target_above: float = NO_TARGET_ABOVE) -> bool:
    """Return whether a frame shows a target: the model ran, and class `none` is at most as probable as its threshold.

    Args:
        classes: classes of the model; without class `none`, every frame shows a target.
        scores: probabilities (K,) of the classes; None if nothing ran.
        no_target_above: threshold of class `none`; with 1, every frame shows a target.
    """
    if scores is None:
        return False
    return NO_TARGET not in classes or not float(scores[list(classes).index(NO_TARGET)]) > no_target_above


def without_absent_target(estimate: Estimate, no_target_above: float = NO_TARGET_ABOVE) -> Estimate:
    """Return an estimate that has no position where its frame shows no target. Class and allocation stay.

    Args:
        estimate: estimate of a frame.
        no_target_above: see `shows_target`.
    """
    if shows_target(estimate.labels, estimate.scores, no_target_above):
        return estimate
    return replace(estimate, mean_m=None, covariance_m2=None)
