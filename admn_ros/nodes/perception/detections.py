# SPDX-License-Identifier: Apache-2.0
"""The estimate as `vision_msgs/Detection3DArray`, where that package is installed."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np

from admn_ros.inference.engine import Estimate
from admn_ros.inference.target import NO_TARGET
from admn_ros.nodes.conversions import header, pose_message


def vision_messages() -> ModuleType | None:
    """Import the messages of `vision_msgs`; None where the package is not installed."""
    try:
        return importlib.import_module("vision_msgs.msg")
    except ImportError:
        return None


def detection_message(kinds: ModuleType, estimate: Estimate) -> object:
    """Return a Detection3DArray with one detection, or with none if the estimate has no position.

    The detection has a hypothesis for each class but `none`, the most probable one first, all with the estimated
    position and its covariance. The size of the box is not estimated and 0.

    Args:
        kinds: messages of `vision_msgs`.
        estimate: estimate of a frame in which something ran.
    """
    stamped = header(estimate.stamp_ns, estimate.frame_id)
    message = kinds.Detection3DArray(header=stamped)
    if estimate.mean_m is None or estimate.scores is None:
        return message
    pose = pose_message(estimate).pose
    detection = kinds.Detection3D(header=stamped)
    detection.bbox.center = pose.pose
    for index in np.argsort(-estimate.scores, kind="stable").tolist():
        if estimate.labels[index] != NO_TARGET:
            hypothesis = kinds.ObjectHypothesis(class_id=estimate.labels[index], score=float(estimate.scores[index]))
            detection.results.append(kinds.ObjectHypothesisWithPose(hypothesis=hypothesis, pose=pose))
    message.detections.append(detection)
    return message
