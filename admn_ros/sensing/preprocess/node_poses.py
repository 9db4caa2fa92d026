# SPDX-License-Identifier: Apache-2.0
"""Poses of the sensor nodes from TF, in place of those of the model file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from admn_ros.config import ModelConfig, NodePose
from admn_ros.deployment import NodeFrames
from admn_ros.errors import ConfigError
from admn_ros.recordings.tf_tree import TransformTree


class NodePoses:
    """Poses of a model's sensor nodes. Nodes with TF frames have the model's pose until TF gives theirs.

    The convention is that of `admn_ros.config.NodePose`.

    Args:
        config: description of the model.
        frames: TF frames of sensor nodes by node.

    Attributes:
        frames: TF frames of sensor nodes by node.
        reference: frame of the poses.
        poses: current pose of each sensor node.
        tensor: the same as float32 (nodes, 5).

    Raises:
        ConfigError: the model does not have a sensor node, or does not use poses.
    """

    def __init__(self, config: ModelConfig, frames: Mapping[str, NodeFrames]) -> None:
        for node in frames:
            if node not in config.sensor_nodes:
                raise ConfigError("frames", node, f"the model's sensor nodes: {', '.join(config.sensor_nodes)}")
        if config.localization.kind != "evidence":
            raise ConfigError("frames", ", ".join(frames), "none; this model does not use poses of sensor nodes")
        self.frames, self.reference = dict(frames), config.frame_id
        self._tree = TransformTree()
        self._watched = {self.reference, *(n for f in frames.values() for n in (f.base, f.camera or f.base))}
        self._relevant: set[str] = set()
        """All frames on which a pose depends, once all poses are known."""
        self.poses: dict[str, NodePose] = {node: config.node_poses[node] for node in config.sensor_nodes}
        self.tensor = self._tensor()

    def add(self, message: Any) -> list[str]:
        """Take a tf2_msgs/TFMessage and return the sensor nodes whose pose changed."""
        self._tree.add(message)
        if self._relevant and not any(each.child_frame_id.lstrip("/") in self._relevant for each in message.transforms):
            return []  # Most messages move other frames of the robot.
        found = {node: self._pose(frames) for node, frames in self.frames.items()}
        self._relevant = self._tree.ancestors(self._watched) if all(found.values()) else set()
        moved = {node: pose for node, pose in found.items() if pose is not None and pose != self.poses[node]}
        if moved:
            self.poses |= moved
            self.tensor = self._tensor()
        return list(moved)

    @property
    def missing(self) -> dict[str, str]:
        """Transforms that TF lacks, as text by sensor node; these nodes have the model's pose."""
        found = {}
        for node, frames in self.frames.items():
            lost = [frame for frame in dict.fromkeys((frames.base, frames.camera or frames.base))
                    if self._tree.newest(frame, self.reference) is None]
            if lost:
                found[node] = f"no transform from {self.reference} to {', '.join(lost)}"
        return found

    def _pose(self, frames: NodeFrames) -> NodePose | None:
        base = self._tree.newest(frames.base, self.reference)
        camera = self._tree.newest(frames.camera or frames.base, self.reference)
        if base is None or camera is None:
            return None
        x, y, z = base.translation_m[0].tolist()
        forward = camera.rotation[0, :, 2] if frames.camera else camera.rotation[0, :, 0]
        return NodePose(x_m=x, y_m=y, z_m=z, yaw_rad=math.atan2(base.rotation[0, 1, 0], base.rotation[0, 0, 0]),
                        tilt_rad=-math.asin(max(-1.0, min(1.0, float(forward[2])))))

    def _tensor(self) -> torch.Tensor:
        return torch.tensor([pose.numbers for pose in self.poses.values()], dtype=torch.float32)
