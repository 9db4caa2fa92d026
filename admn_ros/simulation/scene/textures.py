# SPDX-License-Identifier: Apache-2.0
"""Textures of the surfaces of a simulated room: floors, walls, wood, books, screens.

All are uint8 (H, W, 3), RGB, gamma-encoded, row 0 at the top. The texture of furniture has the front in its left half
and the other sides in its right half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Canvas = npt.NDArray[np.float32]
Colour = tuple[float, float, float]
_Span = Callable[[float, float, float, float], tuple[slice, slice]]   # metres on a wall to rows and columns


def finish(canvas: Canvas) -> Image:
    """Convert a canvas in 0 to 1 to 8 bits."""
    return np.clip(np.rint(canvas * 255), 0, 255).astype(np.uint8)


def plain(height: int, width: int, colour: Colour) -> Canvas:
    """Return a canvas of one colour."""
    return np.tile(np.array(colour, np.float32), (height, width, 1))


def speckle(rng: np.random.Generator, canvas: Canvas, fine: float, coarse: float) -> Canvas:
    """Add grain and clouds, with the standard deviations `fine` and `coarse`, to a canvas."""
    rows, columns = canvas.shape[:2]
    grain = rng.standard_normal((rows, columns), dtype=np.float32) * fine
    clouds = rng.standard_normal((8, 8), dtype=np.float32)
    # Clouds wrap around, so that repeated textures have no seams.
    wide = cv2.resize(np.pad(clouds, 2, mode="wrap"), (columns * 12 // 8, rows * 12 // 8),
                      interpolation=cv2.INTER_CUBIC)
    top, left = rows // 4, columns // 4
    mixed: Canvas = canvas + (grain + coarse * wide[top:top + rows, left:left + columns])[..., None]
    return mixed


def floor(rng: np.random.Generator, colour: Colour, kind: str) -> Image:
    """Draw a repeatable square of floor: four vinyl tiles with seams, or carpet."""
    size = 512
    canvas = speckle(rng, plain(size, size, colour), 0.035 if kind == "tiles" else 0.06, 0.008)
    if kind == "tiles":
        for top in (0, 256):
            for left in (0, 256):
                canvas[top:top + 256, left:left + 256] += np.float32(rng.normal(0, 0.008))
        canvas[[0, 1, 256, 257]] *= np.float32(0.88)
        canvas[:, [0, 1, 256, 257]] *= np.float32(0.88)
    return finish(canvas)


def wall(rng: np.random.Generator, colour: Colour, items: Sequence[str], length_m: float, height_m: float,
         ceiling_m: float) -> Image:
    """Draw a wall and the items on it, seen from inside; a plain band is above the ceiling."""
    scale = 160
    canvas = speckle(rng, plain(round(height_m * scale), round(length_m * scale), colour), 0.006, 0.008)
    rows = canvas.shape[0]

    def span(left_m: float, bottom_m: float, width_m: float, tall_m: float) -> tuple[slice, slice]:
        top, low = rows - round((bottom_m + tall_m) * scale), rows - round(bottom_m * scale)
        return slice(max(top, 0), max(low, 0)), slice(max(round(left_m * scale), 0), round((left_m + width_m) * scale))

    canvas[span(0, 0, length_m, 0.1)] = 0.16
    pitch = length_m / max(len(items), 1)
    for k, item in enumerate(items):
        _hang(rng, canvas, item, k * pitch, pitch, span)
    for _ in range(4):   # sockets and conduits
        x = float(rng.uniform(0.2, length_m - 0.3))
        canvas[span(x, 0.3, 0.08, 0.12)] *= np.float32(0.85)
        if rng.random() < 0.4:
            canvas[span(x + 0.03, 0.42, 0.025, ceiling_m)] *= np.float32(0.88)
    canvas[span(0, ceiling_m, length_m, height_m)] = 0.8
    return finish(canvas)


def _hang(rng: np.random.Generator, canvas: Canvas, item: str, left_m: float, free_m: float, span: _Span) -> None:
    """Draw one item into its share of a wall."""
    width, bottom, tall = {"whiteboard": (2.2, 0.95, 1.15), "door": (0.95, 0.0, 2.08), "screen": (1.35, 1.15, 0.8),
                           "poster": (0.6, 1.1, 0.85), "pinboard": (1.5, 1.0, 1.0), "window": (1.8, 0.9, 1.3)}[item]
    width = min(width, 0.9 * free_m)
    x = left_m + float(rng.uniform(0.05, 0.95)) * (free_m - width)
    outer, inner = span(x, bottom, width, tall), span(x + 0.04, bottom + 0.04, width - 0.08, tall - 0.08)
    frame, face = {"whiteboard": ((0.6, 0.6, 0.6), (0.78, 0.82, 0.80)), "door": ((0.25, 0.16, 0.1), (0.62, 0.36, 0.14)),
                   "screen": ((0.02, 0.02, 0.02), (0.05, 0.05, 0.06)), "poster": ((0.9, 0.9, 0.9), (0.3, 0.45, 0.6)),
                   "pinboard": ((0.45, 0.3, 0.18), (0.62, 0.48, 0.33)),
                   "window": ((0.85, 0.85, 0.85), (0.80, 0.86, 0.92))}[item]
    canvas[outer], canvas[inner] = frame, face
    if item == "door":
        canvas[inner] += wood_grain(rng, *canvas[inner].shape[:2])[..., None] * 0.05
        canvas[span(x + 0.05, 0.0, width - 0.1, 0.22)] = (0.55, 0.54, 0.52)
        canvas[span(x + 0.1, 1.0, 0.12, 0.04)] = 0.7
    elif item == "screen":
        canvas[inner] += np.linspace(0.10, 0.0, canvas[inner].shape[0], dtype=np.float32)[:, None, None]
    elif item in ("whiteboard", "pinboard", "poster"):
        for _ in range(12):
            w, h = float(rng.uniform(0.1, 0.3)), float(rng.uniform(0.02, 0.2))
            at = span(x + float(rng.uniform(0.05, max(0.06, width - 0.35))),
                      bottom + float(rng.uniform(0.05, tall - 0.28)), min(w, width * 0.5), h)
            canvas[at] += (rng.uniform(-0.12, 0.06, 3) if item == "whiteboard" else rng.uniform(-0.3, 0.3, 3)).astype(
                np.float32)


def wood_grain(rng: np.random.Generator, rows: int, columns: int) -> Canvas:
    """Return vertical wood grain (rows, columns), about -1 to 1."""
    lines = rng.standard_normal((4, max(columns // 2, 2)), dtype=np.float32)
    wide = cv2.resize(cv2.GaussianBlur(lines, (0, 0), 1.0), (columns, rows), interpolation=cv2.INTER_CUBIC)
    grain: Canvas = (wide / max(float(np.abs(wide).max()), 1e-6)).astype(np.float32)
    return grain


def furniture(rng: np.random.Generator, material: str) -> Image:
    """Draw the texture (256, 512) of a material of `furnishing.MATERIALS`.

    It is neutral, to be multiplied by the colour of the piece, except for "books", "cardboard" and "screen".
    """
    return finish(_PAINTERS[material](rng))


def _wood(rng: np.random.Generator) -> Canvas:
    return plain(256, 512, (0.9, 0.9, 0.9)) + 0.1 * wood_grain(rng, 256, 512)[..., None]


def _books(rng: np.random.Generator) -> Canvas:
    """Draw shelves of books and other objects in a wooden case."""
    case = np.array((0.50, 0.31, 0.17), np.float32)
    canvas: Canvas = (case + 0.05 * wood_grain(rng, 256, 512)[..., None]).astype(np.float32)
    shelves = int(rng.integers(3, 5))
    tall = 248 // shelves
    for shelf in range(shelves):
        top, low = 6 + shelf * tall, 6 + (shelf + 1) * tall - 5
        canvas[top:low, 6:250] = 0.10
        x = 8
        while x < 244:
            if rng.random() < 0.12:   # a gap
                x += int(rng.integers(8, 40))
                continue
            w = int(rng.integers(4, 11)) if rng.random() < 0.8 else int(rng.integers(14, 40))
            h = int((low - top) * rng.uniform(0.55, 0.95))
            colour = rng.uniform(0.08, 0.75) * np.array([1, 1, 1]) + rng.normal(0, 0.13, 3)
            canvas[low - h:low, x:min(x + w, 248)] = np.clip(colour, 0.03, 0.92)
            canvas[low - h // 2:low - h // 2 + 4, x + 1:min(x + w - 1, 248)] += 0.15
            canvas[low - h:low, x:x + 1] *= 0.5
            x += w
    return canvas


def _cabinet(rng: np.random.Generator) -> Canvas:
    """Draw two doors with a gap, handles and a perforated or plain front."""
    canvas = speckle(rng, plain(256, 512, (0.92, 0.92, 0.92)), 0.01, 0.02)
    canvas[:, 125:129] *= 0.35
    canvas[4:8, 4:252] *= 0.6
    if rng.random() < 0.5:
        canvas[30:230:9, 14:242] *= 0.6
    canvas[118:140, 118:123] = canvas[118:140, 131:136] = 1.0
    canvas[250:, :] *= 0.5
    return canvas


def _drawers(rng: np.random.Generator) -> Canvas:
    canvas = _wood(rng)
    count = int(rng.integers(2, 5))
    for k in range(count):
        top = 256 * k // count
        canvas[top:top + 4, :256] *= 0.4
        middle = top + 128 // count
        canvas[middle:middle + 8, 100:156] = 0.25
    canvas[:, 126:129] *= 0.6 if count == 2 else 1.0
    return canvas


def _cardboard(rng: np.random.Generator) -> Canvas:
    canvas = speckle(rng, plain(256, 512, (0.66, 0.51, 0.35)), 0.012, 0.02)
    for left in (0, 256):
        canvas[:, left + 115:left + 141] += 0.09
        x, y = (int(v) for v in rng.integers(20, 150, 2))
        canvas[y:y + 60, left + x:left + x + 80] = rng.uniform(0.3, 0.95, 3)
    canvas[:3] *= 0.7
    return canvas


def _screen(rng: np.random.Generator) -> Canvas:
    """Draw a monitor that is off or shows a blue picture."""
    canvas = plain(256, 512, (0.05, 0.05, 0.05))
    canvas[12:240, 10:246] = (0.08, 0.09, 0.11) if rng.random() < 0.5 else (0.2, 0.42, 0.75)
    return canvas


_PAINTERS: dict[str, Callable[[np.random.Generator], Canvas]] = {
    "wood": _wood, "books": _books, "cabinet": _cabinet, "drawers": _drawers, "cardboard": _cardboard,
    "screen": _screen}
