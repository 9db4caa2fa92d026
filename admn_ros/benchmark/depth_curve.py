# SPDX-License-Identifier: Apache-2.0
"""Error against depth and cost: each modality alone, and all of them together. Shows which layers are worth running."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from admn_ros.baselines.measured_losses import MeasuredLosses
from admn_ros.baselines.static import Depths
from admn_ros.budget.costs import LayerCosts
from admn_ros.config import Objective, Strict
from admn_ros.errors import InputError
from admn_ros.views.axes_style import SMALL_PT, style_axes
from admn_ros.views.palette import CARD, INK, modality_colour
from admn_ros.views.picture_file import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOGETHER = "together"
CLASSES = Objective(position=0.0, classification=1.0)
"""The class alone, so that losses are shares of wrong classes."""
WIDTH_IN, HEIGHT_IN, DPI = 8.0, 3.6, 200


class DepthPoint(Strict):
    """Depth of one curve.

    Attributes:
        inputs: a modality, or `together`.
        layers: layers of each modality of the curve, at most its depth.
        cost: cost of a frame with all sensor nodes, in the unit of the table.
        error_cm: mean position error; None without true positions.
        class_right: share of right classes; None without true classes.
    """

    inputs: str
    layers: int
    cost: float
    error_cm: float | None
    class_right: float | None


class DepthCurves(Strict):
    """Curves of a model.

    Attributes:
        model, dataset, split, corruption, frames: what was measured, as in `MeasuredLosses`.
        unit: unit of the costs.
        points: points of each curve, in ascending depth.
    """

    model: str
    dataset: str
    split: str
    corruption: str
    frames: int
    unit: str
    points: tuple[DepthPoint, ...]


def depth_curves(measured: MeasuredLosses, table: LayerCosts) -> DepthCurves:
    """Look up the error and the cost of each depth that was measured.

    Args:
        measured: errors of allocations.
        table: costs of the same model.

    Raises:
        InputError: no depth of a curve was measured.
    """
    errors, wrong = measured.losses(), measured.losses(CLASSES)
    points = []
    for inputs, layers, counts in _allocations(measured):
        price = table.price(dict(zip(measured.depths, counts, strict=True)), table.everything)
        points.append(DepthPoint(
            inputs=inputs, layers=layers, cost=table.amount(price),
            error_cm=100 * errors[counts] if counts in errors else None,
            class_right=1 - wrong[counts] if counts in wrong else None))
    if not any(p.error_cm is not None or p.class_right is not None for p in points):
        raise InputError("losses", "no modality alone", "allocations of one modality, as `admn rank` measures them")
    return DepthCurves(model=measured.model, dataset=measured.dataset, split=measured.split,
                       corruption=measured.corruption, frames=measured.frames, unit=table.unit, points=tuple(points))


def _allocations(measured: MeasuredLosses) -> Iterator[tuple[str, int, Depths]]:
    """Yield curve, depth and numbers of layers of every measured point."""
    known, depths = set(measured.allocations), list(measured.depths.values())
    for place, modality in enumerate(measured.depths):
        for k in range(1, depths[place] + 1):
            alone = tuple(k if i == place else 0 for i in range(len(depths)))
            if alone in known:
                yield str(modality), k, alone
    for k in range(1, max(depths) + 1):
        together = tuple(min(k, depth) for depth in depths)
        if len(depths) > 1 and together in known:
            yield TOGETHER, k, together


def depth_table(curves: DepthCurves) -> str:
    """Return a table in Markdown."""
    lines = [f"| inputs | layers of each | {curves.unit} | mean error, cm | class right |", "|---|---|---|---|---|"]
    lines += [f"| {p.inputs} | {p.layers} | {p.cost:.4g} | {'-' if p.error_cm is None else f'{p.error_cm:.1f}'} | "
              f"{'-' if p.class_right is None else f'{p.class_right:.1%}'} |" for p in curves.points]
    return "\n".join(lines) + "\n"


def draw_depths(curves: DepthCurves, png: Path) -> None:
    """Draw the position error and the share of right classes by cost; numbers are layers of each modality.

    Raises:
        InputError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, layout="constrained", facecolor=CARD)
    what = f"{curves.split}, {curves.corruption}"
    panels = [(f"Mean position error, cm\n{what}", [p.error_cm for p in curves.points]),
              (f"Class right, %\n{what}", [None if p.class_right is None else 100 * p.class_right
                                           for p in curves.points])]
    panels = [(title, values) for title, values in panels if any(v is not None for v in values)]
    for axes, (title, values) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        pairs = [(p, v) for p, v in zip(curves.points, values, strict=True) if v is not None]
        for inputs, group in groupby(pairs, key=lambda pair: pair[0].inputs):
            _line(axes, inputs, list(group))
        axes.set_ylim(bottom=0)
        axes.margins(x=0.12)
        style_axes(axes, title, f"{curves.unit} per frame; numbers are layers")
    figure.axes[0].legend(frameon=False, fontsize=SMALL_PT, labelcolor=INK)
    write_figure(figure, png)


def _line(axes: Axes, inputs: str, pairs: Sequence[tuple[DepthPoint, float]]) -> None:
    colour = INK if inputs == TOGETHER else modality_colour(inputs)
    axes.plot([p.cost for p, _ in pairs], [v for _, v in pairs], color=colour, marker="o", ms=4, lw=1.8, label=inputs)
    for point, value in pairs[::max(1, len(pairs) - 1)]:  # the first and the last
        axes.annotate(str(point.layers), (point.cost, value), xytext=(0, 5), textcoords="offset points", ha="center",
                      fontsize=7, color=colour)
