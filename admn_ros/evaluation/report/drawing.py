# SPDX-License-Identifier: Apache-2.0
"""Figures of a report: drawn once, written as PNG and JSON files and as SVG elements in the colours of the page."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.files import write_bytes, write_text
from admn_ros.views.palette import CARD, INK, RULE, SOFT, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pixels = npt.NDArray[np.uint8]

UNITS_PER_INCH = 72
"""One unit of the SVG is one pixel of the page at full size."""
PNG_DPI = 144
WIDEST = 1100
"""Width of a PNG file, in pixels of the page."""
_STYLE: Any = {
    "svg.fonttype": "none", "font.size": 11, "text.color": INK, "axes.labelcolor": SOFT, "axes.edgecolor": RULE,
    "xtick.color": RULE, "ytick.color": RULE, "xtick.labelcolor": SOFT, "ytick.labelcolor": SOFT,
    "xtick.labelsize": 10.5, "ytick.labelsize": 10.5, "axes.labelsize": 10.5, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True, "grid.color": RULE, "grid.linewidth": 0.8,
    "figure.facecolor": CARD, "axes.facecolor": CARD, "savefig.facecolor": CARD, "legend.frameon": False,
    "text.parse_math": False}   # names of files may contain dollars
_PAPER = tuple(int(CARD[k:k + 2], 16) for k in (1, 3, 5))
# Fonts are those of the page, a style element would apply to the whole page, and group names would not be unique.
_REMOVED = re.compile(r' id="[a-zA-Z.]+2?d?_\d+"|font-family: [^;"]*;? ?|<metadata>.*?</metadata>|<style.*?</style>',
                       re.DOTALL)
_DIGITS = re.compile(r"(\d\.\d\d)\d+")


@dataclass(frozen=True)
class Panel:
    """One drawing of a figure.

    Attributes:
        title: heading.
        alt: text alternative.
        draw: draws onto an empty Matplotlib figure.
        width: width at full size, in pixels.
        height: height at full size, in pixels.
    """

    title: str
    alt: str
    draw: Callable[[Figure], None]
    width: int = 350
    height: int = 270


@dataclass(frozen=True)
class LegendEntry:
    """One entry of a legend.

    Attributes:
        colour: hexadecimal colour of the light theme.
        text: label.
        kind: mark: fill, line, dashed, dotted or dot.
    """

    colour: str
    text: str
    kind: str = "fill"


@dataclass(frozen=True)
class ReportFigure:
    """Figure of a report.

    Attributes:
        name: name of its files.
        title: heading.
        caption: explanation.
        panels: drawings, side by side if the page is wide enough.
        numbers: drawn numbers as JSON values.
        legend: legend of all panels.
        absent: reason for a figure without panels; "" otherwise.
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel] = ()
    numbers: Any = None
    legend: Sequence[LegendEntry] = ()
    absent: str = ""


@dataclass(frozen=True)
class Drawing:
    """Drawn panel.

    Attributes:
        svg: SVG element with CSS variables as colours.
        picture: RGB image in the colours of the light theme, uint8 (H, W, 3).
    """

    svg: str
    picture: Pixels


def draw(figure: ReportFigure) -> list[Drawing]:
    """Draw all panels of a figure."""
    return [_draw(panel, f"{figure.name}-{number}") for number, panel in enumerate(figure.panels)]


def _draw(panel: Panel, name: str) -> Drawing:
    """Draw a panel; identifiers in the SVG are derived from `name`, which must be unique on the page."""
    import matplotlib as mpl  # noqa: PLC0415  slow to import, and only pictures need it
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        size = panel.width / UNITS_PER_INCH, panel.height / UNITS_PER_INCH
        drawn = Figure(size, dpi=PNG_DPI, layout="constrained")
        panel.draw(drawn)
        text = io.StringIO()
        drawn.savefig(text, format="svg", transparent=True, metadata={"Date": None})
        drawn.set_layout_engine("none")  # keep the layout: drawing again takes half as long
        return Drawing(themed(_bare(text.getvalue(), panel)), _pixels(drawn))


def write_files(figure: ReportFigure, drawings: Sequence[Drawing], folder: Path) -> None:
    """Write NAME.json and, if the figure has drawings, NAME.png.

    Raises:
        InputError: the folder cannot be written.
    """
    write_text(folder / f"{figure.name}.json", json.dumps(
        {"figure": figure.title, "caption": figure.caption, "absent": figure.absent or None,
         "numbers": figure.numbers}, indent=1, allow_nan=False) + "\n")
    if not drawings:
        return
    import matplotlib as mpl  # noqa: PLC0415

    with mpl.rc_context(_STYLE):
        pictures = [_vstack([_pixels(_title(panel)), drawing.picture])
                    for panel, drawing in zip(figure.panels, drawings, strict=True)]
        columns = max(1, WIDEST // max(panel.width for panel in figure.panels))
        rows = [_hstack(pictures[i:i + columns]) for i in range(0, len(pictures), columns)]
        if figure.legend:
            rows.append(_pixels(_legend(figure.legend, max(row.shape[1] for row in rows) // 2)))
    _, data = cv2.imencode(".png", _vstack(rows)[..., ::-1])
    write_bytes(folder / f"{figure.name}.png", data.tobytes())


def _title(panel: Panel) -> Figure:
    """Return a strip with the title of a panel."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure((panel.width / UNITS_PER_INCH, 28 / UNITS_PER_INCH), dpi=PNG_DPI)
    figure.text(6 / panel.width, 0.3, panel.title, fontsize=11, fontweight="bold")
    return figure


def _legend(entries: Sequence[LegendEntry], width: int) -> Figure:
    """Return a strip with the legend."""
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.lines import Line2D  # noqa: PLC0415

    figure = Figure((width / UNITS_PER_INCH, 26 / UNITS_PER_INCH), dpi=PNG_DPI)
    styles = {"fill": ("none", "s"), "dot": ("none", "o"), "line": ("-", ""), "dashed": ("--", ""), "dotted": (":", "")}
    figure.legend([Line2D([], [], color=k.colour, ls=styles[k.kind][0], marker=styles[k.kind][1]) for k in entries],
                  [k.text for k in entries], loc="center left", ncols=len(entries), fontsize=10)
    return figure


def _pixels(figure: Figure) -> Pixels:
    """Render a figure as RGB, uint8 (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]


def _hstack(pictures: Sequence[Pixels]) -> Pixels:
    tallest = max(len(p) for p in pictures)
    return np.concatenate([_padded(p, tallest, p.shape[1]) for p in pictures], axis=1)


def _vstack(rows: Sequence[Pixels]) -> Pixels:
    widest = max(row.shape[1] for row in rows)
    return np.concatenate([_padded(row, len(row), widest) for row in rows])


def _padded(picture: Pixels, height: int, width: int) -> Pixels:
    padded = np.full((height, width, 3), _PAPER, np.uint8)
    padded[:len(picture), :picture.shape[1]] = picture
    return padded


def _bare(svg: str, panel: Panel) -> str:
    """Return Matplotlib's SVG as an element of a page, without parts that affect the rest of the page."""
    body = svg[svg.index("<svg"):]
    body = body[body.index(">") + 1:]
    body = _REMOVED.sub("", body)
    body = _DIGITS.sub(r"\1", body.replace("xlink:href", "href"))
    label = html.escape(panel.alt, quote=True)
    return (f'<svg viewBox="0 0 {panel.width} {panel.height}" role="img" aria-label="{label}" '
            f'style="max-width:{panel.width * 1.25:g}px">{body}')
