# SPDX-License-Identifier: Apache-2.0
"""`dynmm_sweep.png`: error against cost, and the share of each expert, over the price on compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from admn_ros.benchmark.dynmm.results import DynmmResults, Trial
from admn_ros.errors import InputError
from admn_ros.views.axes_style import SMALL_PT, style_axes
from admn_ros.views.palette import BUDGETS, CARD, INK, POLICIES, SOFT
from admn_ros.views.picture_file import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXPERT_COLOURS = (BUDGETS[0], POLICIES[3], BUDGETS[3], POLICIES[4], POLICIES[1])


def draw(results: DynmmResults, png: Path) -> None:
    """Draw the sweep.

    Raises:
        InputError: there are fewer than two prices, or the file cannot be written.
    """
    seed = min((t.seed for t in results.trials), default=0)
    trials = sorted((t for t in results.of("joint") if t.seed == seed), key=lambda t: t.price or 0.0)
    if len(trials) < 2:
        raise InputError("trials", f"{len(trials)} prices", "at least two, of `admn dynmm sweep`")
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    figure = Figure(figsize=(9.5, 4.0), dpi=160, layout="constrained", facecolor=CARD)
    cost, share = figure.subplots(1, 2)
    _draw_cost(cost, results, trials, [t for t in results.of("expert") if t.seed == seed])
    _draw_shares(share, results, trials)
    write_figure(figure, png)


def _draw_cost(axes: Axes, results: DynmmResults, trials: Sequence[Trial], alone: Sequence[Trial]) -> None:
    style_axes(axes, "Mean error, cm: DynMM by lambda, and each expert alone", "mean C (cheapest expert: 1)")
    axes.plot([t.cost for t in trials], [t.error_cm for t in trials], "o-", color=BUDGETS[3], lw=1.4, ms=5)
    for cost in sorted({t.cost for t in trials}):
        same = [t for t in trials if t.cost == cost]
        axes.annotate(", ".join(f"{t.price:g}" for t in same), (cost, max(t.error_cm for t in same)), (4, 5),
                      textcoords="offset points", fontsize=SMALL_PT, color=SOFT)
    for t in alone:
        axes.plot([t.cost], [t.error_cm], "s", color=POLICIES[3], ms=6)
        axes.annotate(str(t.expert), (t.cost, t.error_cm), (5, -11), textcoords="offset points", fontsize=SMALL_PT,
                      color=INK)
    axes.axhline(results.constant_cm, color=SOFT, lw=0.8, ls=":")
    axes.text(0.99, results.constant_cm, "constant", transform=axes.get_yaxis_transform(), fontsize=SMALL_PT,
              color=SOFT, ha="right", va="bottom")
    axes.margins(x=0.16, y=0.12)


def _draw_shares(axes: Axes, results: DynmmResults, trials: Sequence[Trial]) -> None:
    style_axes(axes, "Share of frames on each expert", "lambda")
    below = [0.0] * len(trials)
    for number, name in enumerate(results.experts):
        values = [t.shares[number] for t in trials]
        axes.bar(range(len(trials)), values, 0.75, bottom=below, label=name,
                 color=EXPERT_COLOURS[number % len(EXPERT_COLOURS)])
        below = [a + b for a, b in zip(below, values, strict=True)]
    axes.set_xticks(range(len(trials)), [f"{t.price:g}" for t in trials])
    axes.set_ylim(0, 1)
    axes.legend(fontsize=SMALL_PT, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14),
                ncols=len(results.experts))
