# SPDX-License-Identifier: Apache-2.0
"""`worth.png`: error against budget in layers and in milliseconds, and the class, for every policy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from admn_ros.baselines.named import ALLOCATE, BEST_STATIC, ORACLE, VALUE
from admn_ros.benchmark.worth.plan import NAIVE, TITLES
from admn_ros.benchmark.worth.results import Figure, RunResult, Worth
from admn_ros.errors import InputError
from admn_ros.views.axes_style import SMALL_PT, TEXT_PT, style_axes
from admn_ros.views.palette import BUDGETS, CARD, INK, POLICIES, SOFT
from admn_ros.views.picture_file import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN, HEIGHT_IN, DPI = 9.0, 5.0, 200
GAP, SMALL_GAP = 0.058, 0.085
"""Least distance of two labels, as a share of the height of the large and of the small axes."""


Lines = Mapping[str, Sequence[Figure | None]]
"""Figures of each policy by ascending budget, from the back to the front."""


class _Style(NamedTuple):
    colour: str
    width: float
    dashes: str | tuple[float, ...]


STYLES: Mapping[str, _Style] = {
    VALUE: _Style(BUDGETS[3], 2.6, "-"),
    ALLOCATE: _Style(POLICIES[1], 1.6, "-"),
    NAIVE: _Style(POLICIES[3], 1.6, "-"),
    BEST_STATIC: _Style(POLICIES[4], 1.6, "-"),
    ORACLE: _Style(SOFT, 1.1, ":"),
}
"""Styles of the policies, in the order of drawing from the top."""


def draw(worth: Worth, png: Path) -> None:
    """Draw the first split: error by layers, error by milliseconds, class by layers.

    Raises:
        InputError: there is nothing to draw, or the file cannot be written.
    """
    layers, time = worth.main("layers"), worth.main("milliseconds")
    if not layers or not time or not any(p.error_cm for p in layers[0].points):
        raise InputError("runs", "no error by layers and milliseconds", "a run of `admn worth` on data with positions")
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415  slow to import

    figure = Canvas(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, layout="constrained", facecolor=CARD)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)  # type: ignore[union-attr, call-arg]
    grid = figure.add_gridspec(2, 2, width_ratios=(1.55, 1))
    _draw_layers(figure.add_subplot(grid[:, 0]), layers[0])
    _draw_time(figure.add_subplot(grid[0, 1]), time[0])
    _draw_classes(figure.add_subplot(grid[1, 1]), layers[0])
    write_figure(figure, png)


def _draw_layers(axes: Axes, run: RunResult) -> None:
    """Draw errors by layers, with what the first policy costs below them, and a label on each line."""
    places = [math.log2(x) for x in run.limits]
    lines = _errors(run)
    top = 1.12 * max(f.value for line in lines.values() for f in line if f is not None)
    axes.set_ylim(0, top)
    axes.set_xlim(places[0] - 0.5 * max(1.0, places[-1] - places[0]), places[-1] + 0.15)
    _lines(axes, run, places, lines)
    first = {policy: line[0].value for policy, line in lines.items() if line[0] is not None}
    for policy, height in _spread(first, GAP * top).items():
        text = f"{TITLES.get(policy, policy)}  {first[policy]:.1f}"
        _label(axes, run, policy, places[0] - 0.16, height, text, "right")
    own = run.of(run.policies[0])
    axes.set_xticks(places, [f"{p.limit:g}\n{p.milliseconds:.1f}" for p in own], fontsize=TEXT_PT)
    axes.text(places[0] - 0.3, -0.014, "layers\nmilliseconds spent", transform=axes.get_xaxis_transform(), ha="right",
              va="top", fontsize=TEXT_PT, color=SOFT)
    style_axes(axes, f"Mean position error within a budget, cm\n{run.split}, {run.corruption}")


def _draw_time(axes: Axes, run: RunResult) -> None:
    lines = _errors(run)
    top = 1.12 * max((f.value for line in lines.values() for f in line if f is not None), default=1.0)
    axes.set_ylim(0, top)
    _lines(axes, run, run.limits, lines)
    style_axes(axes, "The same by time, cm", "budget, milliseconds")
    _end_labels(axes, run, run.limits, lines, (0, top))


def _draw_classes(axes: Axes, run: RunResult) -> None:
    places = [math.log2(x) for x in run.limits]
    rates = {policy: [None if p.accuracy is None else _percent(p.accuracy) for p in run.of(policy)]
             for policy in _drawn(run)}
    _lines(axes, run, places, rates)
    axes.set_xticks(places, [f"{x:g}" for x in run.limits])
    style_axes(axes, "Class right, %", "budget, layers")
    _end_labels(axes, run, places, rates, axes.get_ylim())


def _percent(share: Figure) -> Figure:
    ends = None if share.interval is None else (100 * share.interval[0], 100 * share.interval[1])
    return Figure(value=100 * share.value, interval=ends)


def _errors(run: RunResult) -> Lines:
    return {policy: [p.error_cm for p in run.of(policy)] for policy in _drawn(run)}


def _drawn(run: RunResult) -> list[str]:
    """Return the policies from the back to the front; the first one is in front."""
    return list(reversed(run.policies))


def _style(policy: str) -> _Style:
    return STYLES.get(policy, _Style(INK, 1.4, "--"))


def _lines(axes: Axes, run: RunResult, places: Sequence[float], lines: Lines) -> None:
    """Draw the policies, with the intervals of the model's own one; those of all of them would hide each other."""
    for policy, figures in lines.items():
        style = _style(policy)
        known = [(x, f) for x, f in zip(places, figures, strict=True) if f is not None]
        axes.plot([x for x, _ in known], [f.value for _, f in known], color=style.colour, lw=style.width,
                  ls=style.dashes, marker="o", ms=2 + style.width)
        banded = [(x, *f.interval) for x, f in known if f.interval is not None]
        if banded and policy == run.policies[0]:
            axes.fill_between([b[0] for b in banded], [b[1] for b in banded], [b[2] for b in banded],
                              color=style.colour, alpha=0.16, lw=0)


def _end_labels(axes: Axes, run: RunResult, places: Sequence[float], lines: Lines, span: tuple[float, float]) -> None:
    """Name each line at its right end."""
    last = {policy: figures[-1].value for policy, figures in lines.items() if figures[-1] is not None}
    width = places[-1] - places[0] or 1.0
    axes.set_xticks([x for x in axes.get_xticks() if places[0] <= x <= places[-1]])
    axes.set_xlim(places[0] - 0.05 * width, places[-1] + 0.62 * width)
    for policy, height in _spread(last, SMALL_GAP * (span[1] - span[0])).items():
        _label(axes, run, policy, places[-1] + 0.05 * width, height, TITLES.get(policy, policy), "left")


def _label(axes: Axes, run: RunResult, policy: str, x: float, y: float, text: str, side: str) -> None:
    own = policy == run.policies[0]
    axes.text(x, y, text, color=_style(policy).colour, ha=side, va="center",
              fontsize=TEXT_PT if side == "right" else SMALL_PT, weight="bold" if own else "normal")


def _spread(heights: Mapping[str, float], gap: float) -> dict[str, float]:
    """Move labels apart, as little as needed, in their order."""
    order = sorted(heights, key=lambda policy: heights[policy])
    placed: list[float] = []
    for policy in order:
        placed.append(max(heights[policy], placed[-1] + gap) if placed else heights[policy])
    # Labels were only moved up: move all that touch down by half of what the last of them was moved.
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or placed[end] - placed[end - 1] > gap * 1.001:
            shift = sum(placed[i] - heights[order[i]] for i in range(start, end)) / (end - start)
            placed[start:end] = [y - shift for y in placed[start:end]]
            start = end
    return dict(zip(order, placed, strict=True))
