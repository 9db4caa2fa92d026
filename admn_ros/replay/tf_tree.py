# SPDX-License-Identifier: Apache-2.0
"""TF without ROS: the transforms of a recording, and where one frame is in another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from admn_ros.errors import InputError
from admn_ros.scoring.metrics import Floats, Whole

STATIC = "/tf_static"


@dataclass
class _Edge:
    """Poses of a frame in its parent: stamps, metres, quaternions (x, y, z, w)."""

    parent: str
    static: bool
    stamps_ns: list[int] = field(default_factory=list)
    translation_m: list[tuple[float, float, float]] = field(default_factory=list)
    rotation: list[tuple[float, float, float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Poses:
    """Rotation matrices (N, 3, 3) and translations (N, 3)."""

    rotation: Floats
    translation_m: Floats

    def __matmul__(self, other: Poses) -> Poses:
        return Poses(self.rotation @ other.rotation, self.move(other.translation_m))

    def move(self, points_m: Floats) -> Floats:
        """Points (N, 3) from the child's frame to the parent's."""
        return np.asarray((self.rotation @ points_m[..., None])[..., 0] + self.translation_m, dtype=np.float64)

    def inverse(self) -> Poses:
        """The other way round."""
        back = self.rotation.transpose(0, 2, 1)
        return Poses(back, -(back @ self.translation_m[..., None])[..., 0])


class Transforms:
    """The tree of a recording. Feed it with all messages of /tf and /tf_static first."""

    def __init__(self) -> None:
        self._edges: dict[str, _Edge] = {}

    def add(self, topic: str, message: Any) -> None:
        """Take a tf2_msgs/TFMessage; a frame that gets another parent leaves the old one."""
        for entry in message.transforms:
            static = topic.endswith(STATIC)
            child, parent = entry.child_frame_id.lstrip("/"), entry.header.frame_id.lstrip("/")
            edge = self._edges.get(child)
            if edge is None or edge.parent != parent or static:
                edge = self._edges[child] = _Edge(parent, static)
            t, q = entry.transform.translation, entry.transform.rotation
            edge.stamps_ns.append(entry.header.stamp.sec * 10**9 + entry.header.stamp.nanosec)
            edge.translation_m.append((t.x, t.y, t.z))
            edge.rotation.append((q.x, q.y, q.z, q.w))

    @property
    def frames(self) -> list[str]:
        """All frames, by name."""
        return sorted({*self._edges, *(e.parent for e in self._edges.values())})

    def stamps_ns(self, child: str, parent: str) -> Whole:
        """Stamps at which what lies between two frames was measured; empty when all of it is static.

        Raises:
            InputError: the frames are not connected.
        """
        up, down = self._ways(child, parent)
        moving = [self._edges[f].stamps_ns for f in up + down if not self._edges[f].static]
        return np.unique(np.concatenate([np.array(s, np.int64) for s in moving])) if moving else np.zeros(0, np.int64)

    def at(self, child: str, parent: str, stamps_ns: Whole) -> Poses:
        """Poses of one frame in another at stamps (N,); NaN outside what was measured.

        Raises:
            InputError: the frames are not connected.
        """
        up, down = self._ways(child, parent)
        return self._chain(down, stamps_ns).inverse() @ self._chain(up, stamps_ns)

    def _ways(self, child: str, parent: str) -> tuple[list[str], list[str]]:
        """Frames whose edges lead from the child, and from the parent, up to the first frame that both are under."""
        ways = [self._to_root(child.lstrip("/")), self._to_root(parent.lstrip("/"))]
        shared = next((f for f in ways[0] if f in ways[1]), None)
        if shared is None:
            raise InputError("TF", f"no way from {child} to {parent}",
                             f"frames that are connected, of {', '.join(self.frames) or 'none'}")
        up, down = (way[:way.index(shared)] for way in ways)
        return up, down

    def _to_root(self, frame: str) -> list[str]:
        way = [frame]
        while way[-1] in self._edges and self._edges[way[-1]].parent not in way:
            way.append(self._edges[way[-1]].parent)
        return way

    def _chain(self, way: list[str], stamps_ns: Whole) -> Poses:
        count = len(stamps_ns)
        poses = Poses(np.repeat(np.eye(3)[None], count, axis=0), np.zeros((count, 3)))
        for frame in way:
            poses = _edge_at(self._edges[frame], stamps_ns) @ poses
        return poses


def _edge_at(edge: _Edge, stamps_ns: Whole) -> Poses:
    translation_m, rotation = np.array(edge.translation_m), np.array(edge.rotation)
    if edge.static:
        count = len(stamps_ns)
        return Poses(np.repeat(_matrices(rotation[-1:]), count, axis=0), np.repeat(translation_m[-1:], count, axis=0))
    own, first = np.unique(np.array(edge.stamps_ns, np.int64), return_index=True)
    translation_m, rotation = translation_m[first], rotation[first]
    right = np.clip(np.searchsorted(own, stamps_ns), 0, len(own) - 1)
    left = np.maximum(right - 1, 0)
    span = (own[right] - own[left]).astype(np.float64)
    share = np.divide(stamps_ns - own[left], span, out=np.ones(len(right)), where=span > 0)[:, None]
    # Of the two quaternions of a rotation the one on the same side; neighbours are near, so a straight line will do.
    other = rotation[right] * np.where((rotation[left] * rotation[right]).sum(axis=1) < 0, -1.0, 1.0)[:, None]
    outside = (stamps_ns < own[0]) | (stamps_ns > own[-1])
    between = (1 - share) * translation_m[left] + share * translation_m[right]
    between[outside] = np.nan
    return Poses(_matrices((1 - share) * rotation[left] + share * other), between)


def _matrices(quaternions: Floats) -> Floats:
    """Rotation matrices (N, 3, 3) of quaternions (N, 4), x, y, z, w, which need not have unit length."""
    x, y, z, w = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    rows = [[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]]
    return np.asarray(np.moveaxis(np.asarray(rows), 2, 0), dtype=np.float64)
