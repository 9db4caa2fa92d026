# SPDX-License-Identifier: Apache-2.0
"""Canvas with boxes, antialiased text and scaled images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.sample import Modality
from admn_ros.views.palette import Rgb, dark_colour, modality_colour, to_rgb

Picture = npt.NDArray[np.uint8]

PAGE, CARD, RULE, SOFT, INK, GOOD, WARN, ALERT = (
    to_rgb(dark_colour(name)) for name in ("page", "card", "rule", "soft", "ink", "good", "warn", "alert"))
MODALITY: dict[Modality, Rgb] = {m: to_rgb(modality_colour(m, dark=True)) for m in Modality}

_FINE = 3      # text is drawn this many times larger and then scaled down, for antialiasing
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_PX = 21  # height of a capital of that font at scale 1


@dataclass(frozen=True)
class Box:
    """Rectangle of pixels. Left and top are inside, right and bottom are outside."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """First column outside."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row outside."""
        return self.y + self.height

    def of(self, picture: Picture) -> Picture:
        """Return the pixels inside the box, as a view."""
        return picture[self.y:self.bottom, self.x:self.right]


class Canvas:
    """RGB image to draw on.

    Args:
        width: width in pixels.
        height: height in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.pixels: Picture = np.empty((height, width, 3), np.uint8)
        self.pixels[:] = PAGE

    def fill(self, box: Box, colour: Rgb) -> None:
        """Fill a box."""
        box.of(self.pixels)[:] = colour

    def frame(self, box: Box, colour: Rgb) -> None:
        """Draw the outline of a box, one pixel wide, inside the box."""
        cv2.rectangle(self.pixels, (box.x, box.y), (box.right - 1, box.bottom - 1), colour, 1)

    def bar(self, box: Box, share: float, colour: Rgb) -> None:
        """Draw a horizontal bar that fills a share of a box, range [0, 1]."""
        self.fill(box, RULE)
        self.fill(Box(box.x, box.y, round(box.width * min(1.0, max(0.0, share))), box.height), colour)

    def text(self, text: str, x: int, y: int, colour: Rgb = INK, size: int = 11, *, bold: bool = False,
             align: float = 0.0) -> int:
        """Draw one line of text.

        Args:
            text: ASCII text; other characters become "?".
            x: column of the left end (align 0), the middle (0.5) or the right end (1) of the baseline.
            y: row of the baseline.
            colour: colour of the letters.
            size: cap height in pixels.
            bold: whether to draw thicker strokes.
            align: see x.

        Returns:
            Width of the text in pixels.
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

    @staticmethod
    def cut(text: str, width: int, size: int) -> str:
        """Return text, cut off at the end so that it is at most `width` pixels wide."""
        if _letters(text, size, False)[0].shape[1] <= width:
            return text
        while text and _letters(f"{text}...", size, False)[0].shape[1] > width:
            text = text[:-1]
        return f"{text}..."

    def paragraph(self, text: str, box: Box, colour: Rgb = INK, size: int = 11) -> None:
        """Draw text in the middle of a box, in as many lines as it needs; what does not fit is left out.

        Args:
            text: words of ASCII text.
            box: box to draw into.
            colour: colour of the letters.
            size: cap height in pixels.
        """
        lines: list[str] = []
        for word in text.split():
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and _letters(longer, size, False)[0].shape[1] > box.width - 6:
                lines.append(word)
            else:
                lines[-1:] = [longer]
        step = round(1.8 * size)
        lines = lines[:max(1, box.height // step)]
        y = box.y + (box.height - step * (len(lines) - 1) + size) // 2
        for k, line in enumerate(lines):
            self.text(line, box.x + box.width // 2, y + k * step, colour, size, align=0.5)

    def dim(self, box: Box, share: float) -> None:
        """Darken a box to a share of its brightness, range [0, 1]."""
        pixels = box.of(self.pixels)
        pixels[:] = (pixels * share).astype(np.uint8)

    def picture(self, picture: Picture, box: Box, *, keep_shape: bool = True) -> Box:
        """Draw an image centred in a box, and return the box that it covers."""
        height, width = picture.shape[:2]
        scale = min(box.width / width, box.height / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale))) if keep_shape else (box.width, box.height)
        smaller = size[0] * size[1] < width * height
        inside = Box(box.x + (box.width - size[0]) // 2, box.y + (box.height - size[1]) // 2, *size)
        inside.of(self.pixels)[:] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller
                                               else cv2.INTER_NEAREST)
        return inside


@lru_cache(maxsize=512)
def _letters(text: str, size: int, bold: bool) -> tuple[npt.NDArray[np.float32], int]:
    """Return the coverage of each pixel by a line of text, range [0, 1], and its height above the baseline."""
    plain = text.encode("ascii", "replace").decode()
    scale, thickness = _FINE * size / _FONT_PX, (round(_FINE * 1.7) if bold else round(_FINE * 1.05))
    (width, height), below = cv2.getTextSize(plain, _FONT, scale, thickness)
    pad = _FINE * 2
    rise = -(-(height + pad) // _FINE) * _FINE
    large = np.zeros((rise + -(-(below + pad) // _FINE) * _FINE, -(-(width + pad) // _FINE) * _FINE), np.uint8)
    cv2.putText(large, plain, (0, rise), _FONT, scale, 255, thickness, cv2.LINE_AA)
    small = cv2.resize(large, (large.shape[1] // _FINE, large.shape[0] // _FINE), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255.0, rise // _FINE
