# SPDX-License-Identifier: Apache-2.0
"""A TF tree without ROS: the newest transforms of a running robot, or all transforms of a recording."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from admn_ros.errors import InputError

Floats = npt.NDArray[np.float64]
Stamps = npt.NDArray[np.int64]

TYPE = "tf2_msgs/msg/TFMessage"
STATIC, DYNAMIC = "/tf_static", "/tf"
TOPICS = (STATIC, DYNAMIC)
MAX_FRAMES = 10_000
"""Maximum number of frames of a tree; transforms of further frames are ignored."""


@dataclass(frozen=True)
class Poses:
    """Poses of a child frame in a parent frame.

    Attributes:
        rotation: rotation matrices (N, 3, 3).
        translation_m: translations (N, 3) in metres.
    """

    rotation: Floats
    translation_m: Floats

    def __matmul__(self, other: Poses) -> Poses:
        """Return the poses of `other`'s child in this parent."""
        return Poses(self.rotation @ other.rotation, self.transform(other.translation_m))

    def transform(self, points_m: Floats) -> Floats:
        """Return points (N, 3) of the child frame in the parent frame."""
        return np.asarray((self.rotation @ points_m[..., None])[..., 0] + self.translation_m, dtype=np.float64)

    def inverse(self) -> Poses:
        """Return the poses of the parent in the child."""
        back = self.rotation.transpose(0, 2, 1)
        return Poses(back, -(back @ self.translation_m[..., None])[..., 0])


@dataclass
class _Edge:
    """Transforms of a frame to its parent: stamps, metres, unit quaternions (x, y, z, w)."""

    parent: str
    constant: bool
    stamps_ns: list[int] = field(default_factory=list)
    translation_m: list[tuple[float, float, float]] = field(default_factory=list)
    rotation: list[tuple[float, float, float, float]] = field(default_factory=list)


class TransformTree:
    """Transforms between frames.

    Args:
        history: whether to keep all dynamic transforms, for `at`. Otherwise only the newest transform of a frame is
            kept, and it counts for all times.
    """

    def __init__(self, *, history: bool = False) -> None:
        self._history = history
        self._edges: dict[str, _Edge] = {}

    def add(self, message: Any, *, static: bool = False) -> None:
        """Add the transforms of a tf2_msgs/TFMessage.

        A transform that is not finite, is no rotation, or leads to its own frame is ignored. A frame with a new parent
        leaves the old one.

        Args:
            message: TFMessage of rclpy or of a bag.
            static: whether it comes from `/tf_static`.
        """
        for entry in message.transforms:
            t, q = entry.transform.translation, entry.transform.rotation
            child, parent = entry.child_frame_id.lstrip("/"), entry.header.frame_id.lstrip("/")
            length = math.sqrt(q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w)
            if not (1e-3 < length < math.inf and math.isfinite(t.x + t.y + t.z)) or child == parent:
                continue
            constant = static or not self._history
            edge = self._edges.get(child)
            if edge is None and len(self._edges) >= MAX_FRAMES:
                continue
            if edge is None or edge.parent != parent or constant:
                edge = self._edges[child] = _Edge(parent, constant)
            edge.stamps_ns.append(entry.header.stamp.sec * 10**9 + entry.header.stamp.nanosec)
            edge.translation_m.append((t.x, t.y, t.z))
            edge.rotation.append((q.x, q.y, q.z, q.w))

    @property
    def frames(self) -> list[str]:
        """Names of all frames, sorted."""
        return sorted({*self._edges, *(e.parent for e in self._edges.values())})

    def ancestors(self, frames: Iterable[str]) -> set[str]:
        """Return these frames and all frames above them."""
        return {f for frame in frames for f in self._to_root(frame.lstrip("/"))}

    def newest(self, child: str, parent: str) -> Poses | None:
        """Return the newest pose (N = 1) of one frame in another, or None if they are not connected."""
        try:
            up, down = self._paths(child, parent)
        except InputError:
            return None
        return self._chain(down, None).inverse() @ self._chain(up, None)

    def stamps_ns(self, child: str, parent: str) -> Stamps:
        """Return the stamps of the dynamic transforms between two frames; empty if all of them are constant.

        Raises:
            InputError: the frames are not connected.
        """
        up, down = self._paths(child, parent)
        moving = [self._edges[f].stamps_ns for f in up + down if not self._edges[f].constant]
        return np.unique(np.concatenate([np.array(s, np.int64) for s in moving])) if moving else np.zeros(0, np.int64)

    def at(self, child: str, parent: str, stamps_ns: Stamps) -> Poses:
        """Return the poses of one frame in another at stamps (N,); NaN outside the recorded time.

        Raises:
            InputError: the frames are not connected.
        """
        up, down = self._paths(child, parent)
        return self._chain(down, stamps_ns).inverse() @ self._chain(up, stamps_ns)

    def _paths(self, child: str, parent: str) -> tuple[list[str], list[str]]:
        """Return the frames below the first common ancestor, from the child and from the parent upwards."""
        ways = [self._to_root(child.lstrip("/")), self._to_root(parent.lstrip("/"))]
        shared = next((f for f in ways[0] if f in ways[1]), None)
        if shared is None:
            raise InputError("TF", f"no connection from {child} to {parent}",
                             f"connected frames, of {', '.join(self.frames) or 'none'}")
        up, down = (way[:way.index(shared)] for way in ways)
        return up, down

    def _to_root(self, frame: str) -> list[str]:
        """Return a frame and its ancestors in order; a loop ends where it began."""
        way = [frame]
        while way[-1] in self._edges and self._edges[way[-1]].parent not in way:
            way.append(self._edges[way[-1]].parent)
        return way

    def _chain(self, frames: list[str], stamps_ns: Stamps | None) -> Poses:
        """Return the poses of the first frame in the parent of the last one; the newest ones without stamps."""
        count = 1 if stamps_ns is None else len(stamps_ns)
        poses = Poses(np.repeat(np.eye(3)[None], count, axis=0), np.zeros((count, 3)))
        for frame in frames:
            edge = self._edges[frame]
            step = _repeated(edge, count) if stamps_ns is None or edge.constant else _interpolated(edge, stamps_ns)
            poses = step @ poses
        return poses


def _repeated(edge: _Edge, count: int) -> Poses:
    rotation = Rotation.from_quat(edge.rotation[-1]).as_matrix()
    return Poses(np.repeat(rotation[None], count, axis=0), np.tile(edge.translation_m[-1], (count, 1)))


def _interpolated(edge: _Edge, stamps_ns: Stamps) -> Poses:
    own, first = np.unique(np.array(edge.stamps_ns, np.int64), return_index=True)
    translation_m, rotation = np.array(edge.translation_m)[first], np.array(edge.rotation)[first]
    rotation /= np.linalg.norm(rotation, axis=1, keepdims=True)
    right = np.clip(np.searchsorted(own, stamps_ns), 0, len(own) - 1)
    left = np.maximum(right - 1, 0)
    span = (own[right] - own[left]).astype(np.float64)
    share = np.divide(stamps_ns - own[left], span, out=np.ones(len(right)), where=span > 0)[:, None]
    # A rotation has two quaternions; the one on the same side is taken. Neighbours are close, so a straight line
    # between them is accurate enough.
    other = rotation[right] * np.where((rotation[left] * rotation[right]).sum(axis=1) < 0, -1.0, 1.0)[:, None]
    between = (1 - share) * translation_m[left] + share * translation_m[right]
    between[(stamps_ns < own[0]) | (stamps_ns > own[-1])] = np.nan
    return Poses(Rotation.from_quat((1 - share) * rotation[left] + share * other).as_matrix(), between)
