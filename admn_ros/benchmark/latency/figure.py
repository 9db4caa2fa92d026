# SPDX-License-Identifier: Apache-2.0
"""`latency.png`: time against layers, a panel for each model, precision, number of sensor nodes and batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from admn_ros.benchmark.latency.contenders import CONTENDERS, TOGETHER
from admn_ros.benchmark.latency.results import Group, Latencies, Timing
from admn_ros.views.axes_style import SMALL_PT, style_axes
from admn_ros.views.palette import BUDGETS, CARD, DASHES, INK, MARKERS, POLICIES, SOFT
from admn_ros.views.picture_file import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS, WIDTH_IN, HEIGHT_IN, DPI = 3, 3.3, 2.7, 160
LEGEND_IN, LEGEND_COLUMNS = 0.25, 2
"""Height of a row of the legend, and its columns for each column of panels."""
COLOURS = (BUDGETS[3], *POLICIES[1:], SOFT)
PLAIN = tuple(name for name in CONTENDERS if name != TOGETHER)
STYLES = {**{name: (COLOURS[k % len(COLOURS)], DASHES[k % len(DASHES)], MARKERS[k % len(MARKERS)])
             for k, name in enumerate(PLAIN)}, TOGETHER: (COLOURS[0], ":", "s")}
"""Colour, dashes and marker of each contender; both ways to run the engine have one colour."""


def draw(found: Latencies, png: Path) -> None:
    """Draw medians as lines, and the range up to p95 as bands.

    Raises:
        InputError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    groups = list(found.groups())
    columns = min(COLUMNS, len(groups))
    rows = -(-len(groups) // columns)
    contenders = [name for name in CONTENDERS if any(t.contender == name for t in found.timings)]
    legend = -(-len(contenders) // (columns * LEGEND_COLUMNS))
    figure = Figure(figsize=(columns * WIDTH_IN, rows * HEIGHT_IN + legend * LEGEND_IN), dpi=DPI, layout="constrained",
                    facecolor=CARD)
    panels = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes, (group, timings) in zip(panels, groups, strict=False):
        _panel(axes, group, timings, contenders)
    for axes in panels[len(groups):]:
        axes.set_axis_off()
    handles = {label: handle for axes in panels
               for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend([handles[name] for name in contenders], contenders, loc="outside upper center",
                  ncols=columns * LEGEND_COLUMNS, frameon=False, fontsize=SMALL_PT, labelcolor=INK)
    write_figure(figure, png)


def _panel(axes: Axes, group: Group, timings: Sequence[Timing], contenders: Sequence[str]) -> None:
    for contender in contenders:
        line = sorted((t for t in timings if t.contender == contender), key=lambda t: t.layers)
        if not line:
            continue
        (colour, dashes, marker), layers, first = STYLES[contender], [t.layers for t in line], contender == PLAIN[0]
        axes.fill_between(layers, [t.median_ms for t in line], [t.p95_ms for t in line], color=colour, alpha=0.12, lw=0)
        axes.plot(layers, [t.median_ms for t in line], color=colour, ls=dashes, lw=2.4 if first else 1.4,
                  marker=marker, ms=3.5, label=contender, zorder=3 if first else 2)
    axes.set_ylim(bottom=0)
    axes.set_xticks(sorted({t.layers for t in timings}))
    style_axes(axes, f"{group.model}, {group.precision}\n{group.sizes}", "layers of a frame")
    axes.set_ylabel("ms", fontsize=SMALL_PT, color=SOFT)
