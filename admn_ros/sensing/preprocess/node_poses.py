# SPDX-License-Identifier: Apache-2.0
"""Where the sensor nodes stand, from TF, in the place of what the model's file says."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from admn_ros.config import ModelConfig, NodePose
from admn_ros.deployment import NodeFrames
from admn_ros.errors import ConfigError

Matrix = npt.NDArray[np.float64]

TRANSFORMS = "tf2_msgs/msg/TFMessage"
TRANSFORM_TOPICS = ("/tf_static", "/tf")
MAX_FRAMES = 10_000
"""Frames that are remembered; what comes beyond them is not."""


class TransformTree:
    """The newest transform of every frame to its parent, as 4x4 matrices; metres."""

    def __init__(self) -> None:
        self._edges: dict[str, tuple[str, Matrix]] = {}

    def put(self, message: Any) -> None:
        """Take a geometry_msgs/TransformStamped; one that is not finite, or no rotation, is left out."""
        child, parent = message.child_frame_id.lstrip("/"), message.header.frame_id.lstrip("/")
        t, q = message.transform.translation, message.transform.rotation
        quaternion = np.array([q.x, q.y, q.z, q.w], np.float64)
        place = np.array([t.x, t.y, t.z], np.float64)
        length = float(np.linalg.norm(quaternion))
        if not (math.isfinite(length) and length > 1e-3 and np.isfinite(place).all()) or child == parent:
            return
        if child in self._edges or len(self._edges) < MAX_FRAMES:
            self._edges[child] = parent, _matrix(quaternion / length, place)

    def find(self, frame: str, reference: str) -> Matrix | None:
        """Pose of a frame in a reference frame (4, 4), or None where they are not connected."""
        ways = [self._to_root(frame.lstrip("/")), self._to_root(reference.lstrip("/"))]
        shared = next((f for f in ways[0] if f in ways[1]), None)
        if shared is None:
            return None
        up, down = (self._chain(way, shared) for way in ways)
        return np.asarray(np.linalg.inv(down) @ up, dtype=np.float64)

    def ways(self, frames: Iterable[str]) -> set[str]:
        """These frames and all above them."""
        return {f for frame in frames for f in self._to_root(frame.lstrip("/"))}

    def _to_root(self, frame: str) -> dict[str, None]:
        """Frames from here up, in order; a loop ends where it begins."""
        way = {frame: None}
        while frame in self._edges and self._edges[frame][0] not in way:
            frame = self._edges[frame][0]
            way[frame] = None
        return way

    def _chain(self, way: Mapping[str, None], end: str) -> Matrix:
        total = np.eye(4)
        for frame in way:
            if frame == end:
                break
            total = self._edges[frame][1] @ total
        return total


class Placement:
    """Poses of a model's sensor nodes: of those with frames from TF, as soon as it says them; else the model's own.

    The convention is that of `admn_ros.config.NodePose`.
    """

    def __init__(self, config: ModelConfig, frames: Mapping[str, NodeFrames]) -> None:
        """Begin with the model's poses.

        Raises:
            ConfigError: a sensor node that the model does not have, or a model that uses no poses.
        """
        for node in frames:
            if node not in config.sensor_nodes:
                raise ConfigError("frames", node, f"the model's sensor nodes: {', '.join(config.sensor_nodes)}")
        if config.localization.kind != "evidence":
            raise ConfigError("frames", ", ".join(frames), "none; this model does not use poses of sensor nodes")
        self._frames, self._reference = dict(frames), config.frame_id
        self._tree = TransformTree()
        self._watched = {self._reference, *(n for f in frames.values() for n in (f.base, f.camera or f.base))}
        self._ways: set[str] = set()  # all frames on which a pose depends, once all poses are known
        self.poses: dict[str, NodePose] = {node: config.node_poses[node] for node in config.sensor_nodes}
        self.tensor = self._tensor()

    def add(self, message: Any) -> list[str]:
        """Take a tf2_msgs/TFMessage; return the sensor nodes that it moved."""
        for each in message.transforms:
            self._tree.put(each)
        if self._ways and not any(each.child_frame_id.lstrip("/") in self._ways for each in message.transforms):
            return []  # of the many frames of a robot that move, none of ours
        found = {node: self._pose(frames) for node, frames in self._frames.items()}
        self._ways = self._tree.ways(self._watched) if all(found.values()) else set()
        moved = {node: pose for node, pose in found.items() if pose is not None and pose != self.poses[node]}
        if moved:
            self.poses |= moved
            self.tensor = self._tensor()
        return list(moved)

    def _pose(self, frames: NodeFrames) -> NodePose | None:
        base = self._tree.find(frames.base, self._reference)
        camera = self._tree.find(frames.camera or frames.base, self._reference)
        if base is None or camera is None:
            return None
        ahead = camera[:3, 2] if frames.camera else camera[:3, 0]
        return NodePose(x_m=float(base[0, 3]), y_m=float(base[1, 3]), z_m=float(base[2, 3]),
                        yaw_rad=math.atan2(base[1, 0], base[0, 0]),
                        tilt_rad=-math.asin(max(-1.0, min(1.0, float(ahead[2])))))

    def _tensor(self) -> torch.Tensor:
        return torch.tensor([pose.numbers for pose in self.poses.values()], dtype=torch.float32)


def _matrix(quaternion: npt.NDArray[np.float64], place: npt.NDArray[np.float64]) -> Matrix:
    x, y, z, w = quaternion
    matrix = np.eye(4)
    matrix[:3, :3] = [[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                      [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                      [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]]
    matrix[:3, 3] = place
    return matrix
