# SPDX-License-Identifier: Apache-2.0
"""Poses, rotations and boxes, and numbers as MuJoCo reads them. Metres; frames by REP-103."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """Pose of a frame in its parent frame.

    Attributes:
        rotation: matrix (3, 3) whose columns are the axes of the frame.
        translation_m: origin of the frame (3,).
    """

    rotation: Floats
    translation_m: Floats

    def __matmul__(self, other: Pose) -> Pose:
        return Pose(self.rotation @ other.rotation, self.rotation @ other.translation_m + self.translation_m)

    def into(self, points_m: Floats) -> Floats:
        """Transform points (..., 3) from the parent frame into this frame."""
        moved: Floats = (points_m - self.translation_m) @ self.rotation
        return moved


def rotation_z(angle_rad: float) -> Floats:
    """Return the rotation matrix (3, 3) about z."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


@dataclass(frozen=True)
class Box:
    """A box.

    Attributes:
        centre_m: centre.
        half_m: half the size along its axes.
        albedo: linear albedo of red, green and blue.
        yaw_rad: rotation about the vertical.
    """

    centre_m: tuple[float, float, float]
    half_m: tuple[float, float, float]
    albedo: tuple[float, float, float]
    yaw_rad: float = 0.0

    def hit(self, origin: Floats, rays: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Intersect the box with rays (N, 3) from an origin (3,).

        Returns:
            Ray parameter (N,) of the entry, inf where a ray misses, and normal (N, 3) there in the parent frame.
        """
        turn = rotation_z(self.yaw_rad).astype(rays.dtype)
        start = ((origin - np.array(self.centre_m)) @ turn).astype(rays.dtype)
        # Slab method, axis by axis: NumPy reduces slowly over an axis of three.
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


def numbers(values: Iterable[float], digits: int = 6) -> str:
    """Return numbers as an attribute of MJCF has them."""
    return " ".join(f"{v:.{digits}g}" for v in values)
