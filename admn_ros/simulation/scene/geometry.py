# SPDX-License-Identifier: Apache-2.0
"""Poses, rotations and boxes. Metres; frames by REP-103."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """A frame in its parent: rotation (3, 3) whose columns are the frame's axes, translation_m (3,)."""

    rotation: Floats
    translation_m: Floats

    def __matmul__(self, other: Pose) -> Pose:
        return Pose(self.rotation @ other.rotation, self.rotation @ other.translation_m + self.translation_m)

    def into(self, points_m: Floats) -> Floats:
        """Parent's points (..., 3) as the frame sees them."""
        moved: Floats = (points_m - self.translation_m) @ self.rotation
        return moved


def rotation_z(angle_rad: float) -> Floats:
    """Rotation matrix (3, 3) about z."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


@dataclass(frozen=True)
class Box:
    """A box: centre_m and half_m (3,), turned by yaw_rad about its vertical, linear-light albedo (3,)."""

    centre_m: tuple[float, float, float]
    half_m: tuple[float, float, float]
    albedo: tuple[float, float, float]
    yaw_rad: float = 0.0

    def hit(self, origin: Floats, rays: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Where rays (N, 3) from an origin enter: ray parameter (N,), inf if they miss; normal (N, 3) in map."""
        turn = rotation_z(self.yaw_rad).astype(rays.dtype)
        start = ((origin - np.array(self.centre_m)) @ turn).astype(rays.dtype)
        # Slabs, axis by axis: NumPy is slow at reducing over an axis of three.
        local = np.ascontiguousarray((rays @ turn).T)
        half = np.array(self.half_m, rays.dtype)[:, None]
        side = np.sign(local)
        with np.errstate(divide="ignore", invalid="ignore"):
            first = (-side * half - start[:, None]) / local
            last = (side * half - start[:, None]) / local
        enter = np.maximum(np.maximum(first[0], first[1]), first[2])
        leave = np.minimum(np.minimum(last[0], last[1]), last[2])
        normal = np.where(first == enter, -side, rays.dtype.type(0))
        enter = np.where((enter <= leave) & (enter > 0), enter, rays.dtype.type(np.inf))
        return enter, normal.T @ turn.T
