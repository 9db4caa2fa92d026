# SPDX-License-Identifier: Apache-2.0
"""Result tables as a figure: error over budget, and error over removed layers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from admn_ros.benchmark.tables.config import ONE_SEED, TITLES, UNEQUAL, WITHOUT_BUDGET, Method, Task
from admn_ros.benchmark.tables.measures import MEASURES, Measure
from admn_ros.benchmark.tables.text import CORRUPTION_TITLES, Results, seeds_of
from admn_ros.errors import InputError
from admn_ros.views.picture_file import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS: dict[Method, str] = {"admn": "#d62728", "admn_ae": "#ff7f0e", "universal": "#8c1d40", "value": "#6a3d9a"}
"""Colours of the methods of this package; the baselines are drawn thinner."""
REMOVALS: dict[Method, str] = {"removal_layerdrop": "-", "removal_plain": "--"}
"""Line styles of the panels of removed layers."""
BASELINES = ("#1f77b4", "#2ca02c", "#17becf", "#9467bd", "#7f7f7f", "#bcbd22", "#e377c2", "#8c564b", "#aec7e8",
             "#98df8a", "#c5b0d5", "#c49c94", "#636363")
OFF_SCALE = 1.6
"""Methods whose best error exceeds that of the best method by this factor are listed, not drawn; or whose best accuracy
is below that of the best by it."""
LEAST_SPAN = 0.3
"""Least range of the vertical axis, as a share of its largest value: smaller differences are no findings."""


def draw(results: Results, png: Path, task: Task = "localization") -> Path:
    """Draw one panel per corruption and one line per method: means over seeds. Removed layers have panels of their own.

    Raises:
        InputError: there is no result, or the file cannot be written.
    """
    if not results:
        raise InputError("results", "none", "at least one cell")
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    found = dict.fromkeys(c.corruption for c in results)
    corruptions = [c for c in CORRUPTION_TITLES if c in found] + [c for c in found if c not in CORRUPTION_TITLES]
    removals = any(c.method in REMOVALS for c in results)
    widths = (3, 2) if removals else (3,)
    figure = Figure(figsize=(13 if removals else 9, 5.2 * len(corruptions)), dpi=110, layout="constrained")
    panels = figure.subplots(len(corruptions), len(widths), squeeze=False, width_ratios=widths)
    for row, corruption in zip(panels, corruptions, strict=True):
        _draw_budgets(row[0], results, corruption, MEASURES[task])
        if removals:
            _draw_removal(row[1], results, corruption, MEASURES[task])
    write_figure(figure, png)
    return png


def _draw_budgets(axes: Axes, results: Results, corruption: str, measure: Measure) -> None:
    lines = {method: _means(results, corruption, method, measure) for method in TITLES if method not in UNEQUAL}
    lines = {method: means for method, means in lines.items() if means}
    best = max if measure.rises else min
    scale = best((best(means.values()) for means in lines.values()), default=1.0)
    notes = [f"off the scale, {measure.unit}:"]
    for method, means in lines.items():
        near = best(means.values())
        if (near * OFF_SCALE < scale) if measure.rises else (near > OFF_SCALE * scale):
            notes.append(f"{TITLES[method]} {'/'.join(f'{m:.0f}' for m in means.values())}")
        else:
            _draw_line(axes, method, means)
    known = next(r for c, r in results.items() if c.corruption == corruption)
    notes.append(f"constant predictor {measure.constant(known):.0f}")
    axes.text(1.02, 0.0, "\n".join(notes), transform=axes.transAxes, fontsize=7, va="bottom", color="#555555")
    for method in sorted(WITHOUT_BUDGET & {"upper_bound"}):
        for bound in seeds_of(results, corruption, method, None):
            axes.axhline(measure.value(bound.errors), color="black", lw=0.8, label=TITLES[method])
    title = f"{CORRUPTION_TITLES.get(corruption, corruption)}: {measure.name} within a budget"
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("budget, layers")
    axes.set_ylabel(f"{measure.name}, {measure.unit}")
    _widen(axes)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _means(results: Results, corruption: str, method: Method, measure: Measure) -> dict[int, float]:
    """Return the mean over seeds for each budget that has a result."""
    budgets = sorted({c.layers for c in results if c.corruption == corruption and c.method == method
                      and c.layers is not None})
    return {b: statistics.mean(measure.value(r.errors) for r in seeds_of(results, corruption, method, b))
            for b in budgets}


def _draw_line(axes: Axes, method: Method, means: Mapping[int, float]) -> None:
    number = list(TITLES).index(method)
    ours = method in OURS
    axes.plot(list(means), list(means.values()), marker="os^Dvx"[number % 6], ms=6 if ours else 4,
              lw=2.2 if ours else 1, ls="--" if method in ONE_SEED else "-",
              color=OURS.get(method, BASELINES[number % len(BASELINES)]),
              label=TITLES[method], zorder=3 if ours else 2)


def _draw_removal(axes: Axes, results: Results, corruption: str, measure: Measure) -> None:
    for method, style in REMOVALS.items():
        for result in results.values():
            if (result.corruption, result.method) == (corruption, method):
                for number, (name, row) in enumerate(result.removed.items()):
                    axes.plot(list(row), [measure.value(f) for f in row.values()], style, color=f"C{number}", lw=1.3,
                              label=f"{'each modality' if name == 'all' else name}, "
                                    f"{'LayerDrop' if style == '-' else 'no LayerDrop'}")
    if not axes.lines:
        axes.set_visible(False)
        return
    axes.set_title("layers removed, every other", loc="left", fontsize=10)
    axes.set_xlabel("layers removed")
    _widen(axes)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False)


def _widen(axes: Axes) -> None:
    """Give the vertical axis at least its least range, about the same middle."""
    low, high = axes.get_ylim()
    lacking = LEAST_SPAN * high - (high - low)
    if lacking > 0:
        axes.set_ylim(low - lacking / 2, high + lacking / 2)
