# SPDX-License-Identifier: Apache-2.0
"""Registration of depth to an RGB camera, as ROS's `depth_image_proc/register` does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RgbdCameras:
    """A pair of pinhole cameras without distortion.

    Attributes:
        rgb_matrix, depth_matrix: camera matrices (3, 3) in pixels; integer coordinates are pixel centres.
        rotation, translation_m: pose (3, 3) and (3,) of the depth camera in the RGB camera's optical frame.
    """

    rgb_matrix: Floats
    depth_matrix: Floats
    rotation: Floats
    translation_m: Floats


def register_depth(depth_m: npt.NDArray[np.float32], cameras: RgbdCameras,
                   shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return depth as the RGB camera would see it, float32 `shape`, metres; NaN where nothing was measured.

    Each measurement covers the RGB pixels that its own pixel covers; the nearest one wins.

    Args:
        depth_m: depth (H, W) in metres along the optical axis; NaN, 0 and infinity are invalid.
        cameras: both cameras.
        shape: rows and columns of the RGB image.
    """
    rows, columns = np.nonzero(np.isfinite(depth_m) & (depth_m > 0))
    rays = np.linalg.inv(cameras.depth_matrix) @ np.stack([columns, rows, np.ones(len(rows))])
    points = cameras.rotation @ (rays * depth_m[rows, columns]) + cameras.translation_m[:, None]
    ahead = points[:, points[2] > 0]
    across, down, _ = cameras.rgb_matrix @ (ahead / ahead[2])
    size = np.diag(cameras.rgb_matrix)[:2] / np.diag(cameras.depth_matrix)[:2]   # RGB pixels per depth pixel
    nearest = np.full(shape, np.inf)
    left, top = np.ceil(across - size[0] / 2).astype(int), np.ceil(down - size[1] / 2).astype(int)
    for x in range(int(np.ceil(size[0])) + 1):
        for y in range(int(np.ceil(size[1])) + 1):
            u, v = left + x, top + y
            there = ((u <= across + size[0] / 2) & (v <= down + size[1] / 2)
                     & (u >= 0) & (u < shape[1]) & (v >= 0) & (v < shape[0]))
            np.minimum.at(nearest, (v[there], u[there]), ahead[2][there])
    return np.where(np.isfinite(nearest), nearest, np.nan).astype(np.float32)
