# SPDX-License-Identifier: Apache-2.0
"""A canvas with boxes, smooth text and pictures that keep their shape."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.sample import Modality

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

PAGE: Colour = (19, 22, 27)
CARD: Colour = (28, 33, 40)
RULE: Colour = (52, 60, 71)
SOFT: Colour = (146, 156, 170)
INK: Colour = (232, 236, 241)
GOOD: Colour = (108, 205, 150)
WARN: Colour = (240, 190, 80)
ALERT: Colour = (255, 118, 104)
MODALITY: dict[Modality, Colour] = {
    Modality.RGB: (232, 106, 82), Modality.DEPTH: (91, 141, 239), Modality.RADAR: (79, 214, 180),
    Modality.AUDIO: (240, 195, 60)}

_FINE = 3      # text is drawn so many times larger and made smaller, which smooths it
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_PX = 21  # height of a capital of that font at scale 1


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: left and top are inside, right and bottom are not."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """First column that is not inside."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row that is not inside."""
        return self.y + self.height

    def inset(self, by: int) -> Box:
        """Smaller by so much on each side."""
        return Box(self.x + by, self.y + by, self.width - 2 * by, self.height - 2 * by)

    def of(self, picture: Picture) -> Picture:
        """The pixels, as a view."""
        return picture[self.y:self.bottom, self.x:self.right]


class Canvas:
    """An RGB picture that is drawn on.

    Args:
        width, height: pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.pixels: Picture = np.empty((height, width, 3), np.uint8)
        self.pixels[:] = PAGE

    def fill(self, box: Box, colour: Colour) -> None:
        """A filled box; one without area is nothing."""
        box.of(self.pixels)[:] = colour

    def frame(self, box: Box, colour: Colour) -> None:
        """Its outline, one pixel wide, inside."""
        cv2.rectangle(self.pixels, (box.x, box.y), (box.right - 1, box.bottom - 1), colour, 1)

    def bar(self, box: Box, share: float, colour: Colour) -> None:
        """A box that is full from the left up to a share of [0, 1]."""
        self.fill(box, RULE)
        self.fill(Box(box.x, box.y, round(box.width * min(1.0, max(0.0, share))), box.height), colour)

    def text(self, text: str, x: int, y: int, colour: Colour = INK, size: int = 11, *, bold: bool = False,
             align: float = 0.0) -> int:
        """Write one line; returns its width.

        Args:
            text: ASCII; what else there is becomes "?".
            x, y: pixels of the baseline's left end (align 0), middle (0.5) or right end (1).
            colour: of the letters.
            size: height of a capital in pixels.
            bold: thicker.
            align: see x.
        """
        mask, rise = _letters(text, size, bold)
        height, width = mask.shape
        left, top = x - round(align * width), y - rise
        x0, y0 = max(0, left), max(0, top)
        x1, y1 = min(self.pixels.shape[1], left + width), min(self.pixels.shape[0], top + height)
        if x0 < x1 and y0 < y1:
            cover = mask[y0 - top:y1 - top, x0 - left:x1 - left, None]
            below = self.pixels[y0:y1, x0:x1]
            below[:] = below + (np.array(colour, np.float32) - below) * cover
        return int(width)

    def picture(self, picture: Picture, box: Box, *, keep_shape: bool = True) -> Box:
        """Put a picture into a box, centred; returns the box that it covers."""
        height, width = picture.shape[:2]
        scale = min(box.width / width, box.height / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale))) if keep_shape else (box.width, box.height)
        smaller = size[0] * size[1] < width * height
        inside = Box(box.x + (box.width - size[0]) // 2, box.y + (box.height - size[1]) // 2, *size)
        inside.of(self.pixels)[:] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller
                                               else cv2.INTER_NEAREST)
        return inside

    def dot(self, x: int, y: int, radius: int, colour: Colour) -> None:
        """A filled circle."""
        cv2.circle(self.pixels, (x, y), radius, colour, -1, cv2.LINE_AA)


@lru_cache(maxsize=512)
def _letters(text: str, size: int, bold: bool) -> tuple[npt.NDArray[np.float32], int]:
    """How much each pixel is covered by a line of text, range [0, 1], and its height above the baseline."""
    plain = text.encode("ascii", "replace").decode()
    scale, thickness = _FINE * size / _FONT_PX, (round(_FINE * 1.7) if bold else round(_FINE * 1.05))
    (width, height), below = cv2.getTextSize(plain, _FONT, scale, thickness)
    pad = _FINE * 2
    rise = -(-(height + pad) // _FINE) * _FINE
    large = np.zeros((rise + -(-(below + pad) // _FINE) * _FINE, -(-(width + pad) // _FINE) * _FINE), np.uint8)
    cv2.putText(large, plain, (0, rise), _FONT, scale, 255, thickness, cv2.LINE_AA)
    small = cv2.resize(large, (large.shape[1] // _FINE, large.shape[0] // _FINE), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255.0, rise // _FINE
