# SPDX-License-Identifier: Apache-2.0
"""Colours of floor, track and walls of the demo's room, as linear-light albedo."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from admn_ros.simulation.scene.geometry import DRIVEN, INNER_LINE, MAT_HALF_M, OUTER_LINE, Floats

Single = npt.NDArray[np.float32]

LINE_M = 0.045
DASH_M = 0.16
# Printed markers lie on the mat in the real room: centre and side in metres.
MARKERS = ((-0.35, 0.3, 0.26), (0.35, 0.1, 0.26), (-0.1, -0.4, 0.26))


def room_albedo(points_m: Single, axis: npt.NDArray[np.intp]) -> Single:
    """Albedo (N, 3) of points (N, 3) on the room's inside; `axis`: 0 and 1 walls across x and y, 2 floor, ceiling."""
    albedo = np.empty_like(points_m)
    x, y, z = points_m.T.astype(np.float64)
    floor = (axis == 2) & (z < 1)
    ceiling = (axis == 2) & (z >= 1)
    albedo[floor] = _floor(x[floor], y[floor])
    albedo[ceiling] = 0.7
    for number, (across, along) in enumerate(((x, y), (y, x))):
        for side in (-1, 1):
            wall = (axis == number) & (np.sign(across) == side)
            albedo[wall] = _wall(along[wall], z[wall], 2 * number + (side > 0))
    return albedo


def _floor(x: Floats, y: Floats) -> Floats:
    """Light tiles, and the dark mat with its white lines."""
    tile = (np.floor(x / 0.5) + np.floor(y / 0.5)) % 2
    albedo = np.stack([0.44 + 0.03 * tile, 0.42 + 0.03 * tile, 0.37 + 0.03 * tile], axis=-1)
    mat = (np.abs(x) < MAT_HALF_M[0]) & (np.abs(y) < MAT_HALF_M[1])
    albedo[mat] = 0.045
    solid = np.minimum(np.abs(OUTER_LINE.signed_distance(x, y)), np.abs(INNER_LINE.signed_distance(x, y))) < LINE_M / 2
    dashed = (np.abs(DRIVEN.signed_distance(x, y)) < LINE_M / 2) & (DRIVEN.along(x, y) % DASH_M < DASH_M / 2)
    albedo[mat & (solid | dashed)] = 0.8
    for cx, cy, side in MARKERS:
        _marker(albedo, x - cx, y - cy, side)
    return albedo


def _marker(albedo: Floats, x: Floats, y: Floats, side: float) -> None:
    """A white sheet with a black square and a few white cells, like a fiducial marker."""
    u, v = x / side + 0.5, y / side + 0.5
    sheet = (u > 0) & (u < 1) & (v > 0) & (v < 1)
    albedo[sheet] = 0.75
    black = sheet & (np.abs(u - 0.5) < 0.36) & (np.abs(v - 0.5) < 0.36)
    albedo[black] = 0.02
    cells = (np.floor(u * 7) * 3 + np.floor(v * 7) * 5) % 4 == 0
    albedo[black & cells & (np.abs(u - 0.5) < 0.22) & (np.abs(v - 0.5) < 0.22)] = 0.75


def _wall(along: Floats, z: Floats, number: int) -> Floats:
    """A painted wall with a skirting board; one has a door, one shelves of books, two a whiteboard."""
    paint = ((0.52, 0.50, 0.44), (0.46, 0.49, 0.52), (0.54, 0.53, 0.48), (0.50, 0.48, 0.46))[number]
    albedo = np.tile(np.array(paint), (len(z), 1))
    albedo[z < 0.1] = (0.10, 0.09, 0.08)
    if number in (0, 3):
        board = (np.abs(along - 0.4) < 1.1) & (np.abs(z - 1.5) < 0.45)
        albedo[board] = 0.72
        albedo[board & (np.abs(z - 1.5) > 0.42)] = 0.2
    if number == 1:
        door = (np.abs(along + 1.6) < 0.45) & (z < 2.05)
        albedo[door] = (0.33, 0.15, 0.05)
        albedo[door & (np.abs(along + 1.6) > 0.40)] = (0.12, 0.06, 0.03)
    if number == 2:
        shelf = (np.abs(along + 0.3) < 1.5) & (z > 0.1) & (z < 1.7)
        albedo[shelf] = _books(along[shelf], z[shelf])
    return albedo


def _books(along: Floats, z: Floats) -> Floats:
    """Rows of book spines of changing colour and height, between boards."""
    row, height = np.floor(z / 0.32), z % 0.32
    spine = np.floor(along / 0.045 + row * 7.3)
    mix = np.stack([np.sin(spine * a + row * b) for a, b in ((12.9, 1), (78.2, 3), (37.7, 5))], axis=-1)
    albedo = 0.22 + 0.2 * mix
    top = 0.22 + 0.04 * np.sin(spine * 5.1)
    albedo[height > top] = 0.02
    albedo[height < 0.03] = (0.30, 0.18, 0.09)
    clipped: Floats = np.clip(albedo, 0.01, 0.9)
    return clipped
