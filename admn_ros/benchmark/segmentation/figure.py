# SPDX-License-Identifier: Apache-2.0
"""`segmentation.png`: mIoU against operations, and the share of each number of depth blocks, over lambda."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from admn_ros.baselines.segmentation.network import CHOICES
from admn_ros.benchmark.segmentation.results import SegmentationResults
from admn_ros.errors import InputError
from admn_ros.views.axes_style import SMALL_PT, style_axes
from admn_ros.views.palette import BUDGETS, CARD, INK, POLICIES, SOFT
from admn_ros.views.picture_file import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(results: SegmentationResults, png: Path) -> None:
    """Draw the sweep.

    Raises:
        InputError: there are fewer than two prices, or the file cannot be written.
    """
    if len(results.sweep) < 2:
        raise InputError("trials", f"{len(results.sweep)} prices", "at least two, of `admn dynmm segmentation`")
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    figure = Figure(figsize=(9.5, 4.0), dpi=160, layout="constrained", facecolor=CARD)
    cost, share = figure.subplots(1, 2)
    _draw_cost(cost, results)
    _draw_shares(share, results)
    write_figure(figure, png)


def _draw_cost(axes: Axes, results: SegmentationResults) -> None:
    style_axes(axes, "mIoU, %: DynMM by lambda, and static networks", "million multiply-accumulates per image")
    trials, seed = results.sweep, results.sweep[0].seed
    low, high = ([100 * (t.interval or (t.miou, t.miou))[k] for t in trials] for k in (0, 1))
    middle = [100 * t.miou for t in trials]
    axes.errorbar([t.mmacs for t in trials], middle, [[m - a for m, a in zip(middle, low, strict=True)],
                                                      [b - m for m, b in zip(middle, high, strict=True)]],
                  fmt="o", color=BUDGETS[3], ecolor=BUDGETS[0], ms=5, lw=1)
    for mmacs in sorted({t.mmacs for t in trials}):
        same = [t for t in trials if t.mmacs == mmacs]
        axes.annotate(", ".join(f"{t.price:g}" for t in same), (mmacs, max(100 * t.miou for t in same)), (5, 4),
                      textcoords="offset points", fontsize=SMALL_PT, color=SOFT)
    for t in (t for t in results.of("static") if t.seed == seed):
        axes.plot([t.mmacs], [100 * t.miou], "s", color=POLICIES[3], ms=6)
        axes.annotate("RGB only" if not t.blocks else f"static, {t.blocks} depth blocks", (t.mmacs, 100 * t.miou),
                      (0, 9), textcoords="offset points", fontsize=SMALL_PT, color=INK, ha="center")
    axes.margins(x=0.2, y=0.1)


def _draw_shares(axes: Axes, results: SegmentationResults) -> None:
    style_axes(axes, "Share of images by number of depth blocks", "lambda")
    trials = results.sweep
    below = [0.0] * len(trials)
    for blocks in range(CHOICES):
        values = [t.shares[blocks] for t in trials]
        axes.bar(range(len(trials)), values, 0.75, bottom=below, label=str(blocks), color=BUDGETS[blocks])
        below = [a + b for a, b in zip(below, values, strict=True)]
    axes.set_xticks(range(len(trials)), [f"{t.price:g}" for t in trials])
    axes.set_ylim(0, 1)
    axes.legend(fontsize=SMALL_PT, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=CHOICES)
