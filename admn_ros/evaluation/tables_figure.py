# SPDX-License-Identifier: Apache-2.0
"""The result tables as one picture: error against budget, and error against removed layers."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from admn_ros.errors import InputError
from admn_ros.evaluation.tables_config import ONE_SEED, TITLES, WITHOUT_BUDGET, Method
from admn_ros.evaluation.tables_text import CORRUPTIONS, Results, seeds_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(results: Results, png: Path) -> Path:
    """One panel for each corruption, one line for each method, with a point for each seed.

    Raises:
        InputError: there is no result, or the file cannot be written.
    """
    if not results:
        raise InputError("results", "none", "at least one cell")
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    corruptions = list(dict.fromkeys(c.corruption for c in results))
    figure = Figure(figsize=(13, 4.8 * len(corruptions)), dpi=110, layout="constrained")
    panels = figure.subplots(len(corruptions), 2, squeeze=False, width_ratios=(3, 2))
    for (budgets, removal), corruption in zip(panels, corruptions, strict=True):
        _draw_budgets(budgets, results, corruption)
        _draw_removal(removal, results, corruption)
    FigureCanvasAgg(figure)
    try:
        png.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(png)
    except OSError as error:
        raise InputError(str(png), error.strerror or "unwritable", "a file that can be written") from error
    return png


def _draw_budgets(axes: Axes, results: Results, corruption: str) -> None:
    known = next(r for c, r in results.items() if c.corruption == corruption)
    axes.axhline(known.constant_mean_cm, color="black", lw=0.8, ls=":", label="constant predictor")
    for method in TITLES:
        budgets = sorted({c.layers for c in results if c.corruption == corruption and c.method == method
                          and c.layers is not None})
        if budgets:
            _draw_line(axes, results, corruption, method, budgets)
    for method in sorted(WITHOUT_BUDGET & {"upper_bound"}):
        for bound in seeds_of(results, corruption, method, None):
            axes.axhline(bound.errors.mean_cm, color="black", lw=0.8, label=TITLES[method])
    axes.set_title(f"{CORRUPTIONS.get(corruption, corruption)}: error within a budget", loc="left", fontsize=10)
    axes.set_xlabel("budget, layers")
    axes.set_ylabel("mean error, cm")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _draw_line(axes: Axes, results: Results, corruption: str, method: Method, budgets: Sequence[int]) -> None:
    found = {b: [r.errors.mean_cm for r in seeds_of(results, corruption, method, b)] for b in budgets}
    number = list(TITLES).index(method)
    line, = axes.plot(budgets, [statistics.mean(found[b]) for b in budgets], marker="os^Dvx"[number % 6], ms=4, lw=1.3,
                      ls="--" if method in ONE_SEED else "-", color=f"C{number % 10}", label=TITLES[method])
    points = [(b, value) for b in budgets for value in found[b] if len(found[b]) > 1]
    axes.scatter([b for b, _ in points], [v for _, v in points], s=8, alpha=0.5, color=line.get_color())


def _draw_removal(axes: Axes, results: Results, corruption: str) -> None:
    for method, style in (("removal_layerdrop", "-"), ("removal_plain", "--")):
        for result in results.values():
            if (result.corruption, result.method) == (corruption, method):
                for number, (name, row) in enumerate(result.removed.items()):
                    axes.plot(list(row), [f.mean_cm for f in row.values()], style, color=f"C{number}", lw=1.3,
                              label=f"{'each modality' if name == 'all' else name}, "
                                    f"{'LayerDrop' if style == '-' else 'no LayerDrop'}")
    axes.set_title("layers removed, every other", loc="left", fontsize=10)
    axes.set_xlabel("layers removed")
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(fontsize=7, frameon=False)
