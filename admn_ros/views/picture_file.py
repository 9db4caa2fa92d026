# SPDX-License-Identifier: Apache-2.0
"""PNG files, written whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_png(path: Path) -> None:
    """Check that a file name ends in .png, before time is spent on the picture.

    Raises:
        InputError: it has another end.
    """
    if path.suffix.lower() != ".png":
        raise InputError(str(path), repr(path.suffix), "a file name that ends in .png")


def write_png(pixels: npt.NDArray[np.uint8], path: Path) -> None:
    """Write an RGB picture (H, W, 3).

    Raises:
        InputError: the file cannot be written, or has another suffix.
    """
    check_png(path)
    _, data = cv2.imencode(".png", pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    write_bytes(path, data.tobytes())


def write_figure(figure: Figure, path: Path, dpi: float | None = None) -> None:
    """Write a figure, whose canvas is that of Agg, at its own resolution or another one.

    Raises:
        InputError: the file cannot be written, or has another suffix.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  slow to import

    check_png(path)
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(content, dpi=dpi, format="png")
    write_bytes(path, content.getvalue())
