# SPDX-License-Identifier: Apache-2.0
"""Texture of the mat of the GDTM room: foam tiles, taped lines, markers.

It is uint8 (H, W, 3), RGB, gamma-encoded, row 0 at the far side (+y).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.simulation.scene.textures import Canvas, Colour, Image, finish, plain, speckle
from admn_ros.simulation.scene.track import DRIVEN, INNER_LINE, MARKERS, MAT_HALF_M, OUTER_LINE, RoundedSquare

MAT_PX_PER_M = 512
_LINE_M, _DASH_M, _DASH_PERIOD_M = 0.048, 0.125, 0.245
_TILE_M = 0.6          # the mat is a jigsaw of foam tiles
_TOOTH_M = 0.025


def mat(rng: np.random.Generator, ground: Colour, floor: Colour) -> Image:
    """Draw the mat of 3.0 x 3.6 m from above: foam tiles, taped lines, three markers; x right, y up."""
    width, height = (round(2 * half * MAT_PX_PER_M) for half in MAT_HALF_M)
    canvas = speckle(rng, plain(height, width, ground), 0.012, 0.012)
    _tiles(rng, canvas)
    _scuffs(rng, canvas)
    worn = 0.93 + 0.03 * speckle(rng, np.zeros((height // 8, width // 8, 3), np.float32), 0.25, 1.0)
    white = cv2.resize(worn, (width, height))
    tape = np.zeros((height, width), np.uint8)
    for line in (OUTER_LINE, INNER_LINE):
        _stroke(tape, line, 0.0, line.length_m)
    dashes = round(DRIVEN.length_m / _DASH_PERIOD_M)
    for k in range(dashes):
        start = k * DRIVEN.length_m / dashes + float(rng.normal(0, 0.006))
        _stroke(tape, DRIVEN, start, start + _DASH_M)
    share = (tape.astype(np.float32) / 255)[..., None]
    canvas += share * (white - canvas)
    for x, y, side in MARKERS:
        _paste_marker(rng, canvas, x, y, side)
    _teeth(canvas, floor)
    return finish(canvas)


def _to_px(points_m: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return points (N, 2) of the mat as columns and rows of its texture."""
    pixels: npt.NDArray[np.float64] = np.stack(
        [points_m[:, 0] + MAT_HALF_M[0], MAT_HALF_M[1] - points_m[:, 1]], axis=1) * MAT_PX_PER_M
    return pixels


def _stroke(tape: Image, line: RoundedSquare, start_m: float, end_m: float) -> None:
    """Draw tape along a part of a line, with square ends."""
    along = np.linspace(start_m, end_m, max(2, round((end_m - start_m) / 0.01)))
    middle, heading = line.at(along)
    across = np.stack([-np.sin(heading), np.cos(heading)], axis=1) * _LINE_M / 2
    outline = _to_px(np.concatenate([middle + across, (middle - across)[::-1]]))
    cv2.fillPoly(tape, [np.rint(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)


def _tiles(rng: np.random.Generator, canvas: Canvas) -> None:
    """Draw seams between foam tiles, and tiles of slightly different grey."""
    side = round(_TILE_M * MAT_PX_PER_M)
    for top in range(0, canvas.shape[0], side):
        for left in range(0, canvas.shape[1], side):
            canvas[top:top + side, left:left + side] += np.float32(rng.normal(0, 0.008))
            canvas[top:top + 4, left:left + side] *= np.float32(0.72)
            canvas[top:top + side, left:left + 4] *= np.float32(0.72)


def _scuffs(rng: np.random.Generator, canvas: Canvas) -> None:
    """Draw traces of removed tape and of tyres."""
    for _ in range(40):
        x, y = (int(rng.integers(n)) for n in canvas.shape[1::-1])
        dx, dy = (int(v) for v in rng.normal(0, 120, 2))
        left, top = max(0, min(x, x + dx) - 20), max(0, min(y, y + dy) - 20)
        part = canvas[top:max(y, y + dy) + 20, left:max(x, x + dx) + 20]
        mark = np.zeros(part.shape[:2], np.float32)
        at = (x - left, y - top)
        cv2.line(mark, at, (at[0] + dx, at[1] + dy), 1.0, int(rng.integers(3, 26)))
        part += (mark * np.float32(rng.normal(0.008, 0.015)))[..., None]


def _paste_marker(rng: np.random.Generator, canvas: Canvas, x: float, y: float, side: float) -> None:
    """Draw a printed fiducial, rotated a little, on a taped sheet."""
    size = 256
    sheet = plain(size, size, (0.92, 0.92, 0.91))
    sheet[40:216, 40:216] = 0.04
    cells = rng.integers(0, 2, (4, 4)).astype(np.float32)
    code = cv2.resize(cells, (116, 116), interpolation=cv2.INTER_NEAREST)
    sheet[70:186, 70:186] = 0.04 + 0.86 * code[..., None]
    turn = float(rng.normal(0, 6)) + 90 * int(rng.integers(4))
    scale = side * MAT_PX_PER_M / size
    (column, row), = _to_px(np.array([[x, y]]))
    place = cv2.getRotationMatrix2D((size / 2, size / 2), turn, scale)
    place[:, 2] += (column - size / 2, row - size / 2)
    where = (canvas.shape[1], canvas.shape[0])
    smear = cv2.warpAffine(np.full((size, size), 0.35, np.float32), place @ np.diag([1.25, 1.15, 1.0]) +
                           np.array([[0, 0, -0.1 * size * scale], [0, 0, -0.06 * size * scale]]), where)
    canvas += smear[..., None] * 0.25
    share = cv2.warpAffine(np.ones((size, size), np.float32), place, where)[..., None]
    canvas += share * (cv2.warpAffine(sheet, place, where, flags=cv2.INTER_AREA) - canvas)


def _teeth(canvas: Canvas, floor: Colour) -> None:
    """Draw the teeth of the jigsaw along the edge, with the floor between them."""
    step = round(_TOOTH_M * MAT_PX_PER_M)
    for start in range(0, max(canvas.shape[:2]), 3 * step):
        gap = slice(start, start + round(1.4 * step))
        for side in (slice(0, step), slice(-step, None)):
            canvas[side, gap] = floor
            canvas[gap, side] = floor
