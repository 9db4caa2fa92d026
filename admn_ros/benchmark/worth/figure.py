# SPDX-License-Identifier: Apache-2.0
"""`worth.png`: error against budget in layers and in milliseconds, and the class, for every policy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from admn_ros.baselines.named import ALLOCATE, BEST_STATIC, ORACLE, VALUE
from admn_ros.benchmark.worth.plan import NAIVE
from admn_ros.benchmark.worth.results import Figure, RunResult, Worth
from admn_ros.errors import InputError
from admn_ros.views.palette import BUDGETS, CARD, INK, POLICIES, RULE, SOFT
from admn_ros.views.picture_file import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN, HEIGHT_IN, DPI = 9.0, 5.0, 200
SMALL_PT, TEXT_PT, TITLE_PT = 8.5, 9.5, 10.5
GAP = 0.058
"""Least distance of two labels, as a share of the height of the axes."""


class _Style(NamedTuple):
    name: str
    colour: str
    width: float
    dashes: str | tuple[float, ...]


STYLES: Mapping[str, _Style] = {
    VALUE: _Style("value (ours)", BUDGETS[3], 2.6, "-"),
    ALLOCATE: _Style("ADMN", POLICIES[1], 1.6, "-"),
    NAIVE: _Style("naive", POLICIES[3], 1.6, "-"),
    BEST_STATIC: _Style("best static", POLICIES[4], 1.6, "-"),
    ORACLE: _Style("oracle", SOFT, 1.1, ":"),
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
    lines = {policy: _errors(run, policy) for policy in _drawn(run)}
    top = 1.12 * max(f.value for line in lines.values() for f in line if f is not None)
    axes.set_ylim(0, top)
    axes.set_xlim(places[0] - 0.45 * max(1.0, places[-1] - places[0]), places[-1] + 0.15)
    for policy, line in lines.items():
        _line(axes, policy, places, line, own=policy == run.policies[0])
    first = {policy: line[0].value for policy, line in lines.items() if line[0] is not None}
    for policy, height in _spread(first, GAP * top).items():
        style = _style(policy)
        axes.text(places[0] - 0.16, height, f"{style.name}  {first[policy]:.1f}", color=style.colour, ha="right",
                  va="center", fontsize=TEXT_PT, weight="bold" if policy == run.policies[0] else "normal")
    own = run.of(run.policies[0])
    axes.set_xticks(places, [f"{p.limit:g}\n{p.milliseconds:.1f}" for p in own], fontsize=TEXT_PT)
    axes.text(places[0] - 0.3, -0.014, "layers\nms", transform=axes.get_xaxis_transform(), ha="right", va="top",
              fontsize=TEXT_PT, color=SOFT)
    _finish(axes, f"Mean position error within a budget, cm\n{run.split}, {run.corruption}")


def _draw_time(axes: Axes, run: RunResult) -> None:
    lines = {policy: _errors(run, policy) for policy in _drawn(run)}
    for policy, line in lines.items():
        _line(axes, policy, run.limits, line, own=policy == run.policies[0])
    axes.set_ylim(0, 1.12 * max((f.value for line in lines.values() for f in line if f is not None), default=1.0))
    axes.set_xlabel("budget, ms per frame", fontsize=SMALL_PT, color=SOFT)
    _finish(axes, "The same in milliseconds, cm")


def _draw_classes(axes: Axes, run: RunResult) -> None:
    places = [math.log2(x) for x in run.limits]
    for policy in _drawn(run):
        rates = [None if p.accuracy is None else _percent(p.accuracy) for p in run.of(policy)]
        _line(axes, policy, places, rates, own=policy == run.policies[0])
    axes.set_xticks(places, [f"{x:g}" for x in run.limits])
    axes.set_xlabel("budget, layers", fontsize=SMALL_PT, color=SOFT)
    _finish(axes, "Class right, %")


def _percent(share: Figure) -> Figure:
    ends = None if share.interval is None else (100 * share.interval[0], 100 * share.interval[1])
    return Figure(value=100 * share.value, interval=ends)


def _errors(run: RunResult, policy: str) -> list[Figure | None]:
    return [p.error_cm for p in run.of(policy)]


def _drawn(run: RunResult) -> list[str]:
    """Return the policies from the back to the front; the first one is in front."""
    return list(reversed(run.policies))


def _style(policy: str) -> _Style:
    return STYLES.get(policy, _Style(policy, INK, 1.4, "--"))


def _line(axes: Axes, policy: str, places: Sequence[float], figures: Sequence[Figure | None], *, own: bool) -> None:
    """Draw a policy; the band of the model's own one is the darkest."""
    style = _style(policy)
    known = [(x, f) for x, f in zip(places, figures, strict=True) if f is not None]
    axes.plot([x for x, _ in known], [f.value for _, f in known], color=style.colour, lw=style.width, ls=style.dashes,
              marker="o", ms=2 + style.width)
    banded = [(x, *f.interval) for x, f in known if f.interval is not None]
    if banded and policy != ORACLE:
        axes.fill_between([b[0] for b in banded], [b[1] for b in banded], [b[2] for b in banded], color=style.colour,
                          alpha=0.16 if own else 0.05, lw=0)


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


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=TITLE_PT, color=INK)
    axes.tick_params(labelsize=SMALL_PT, colors=SOFT, length=3)
    axes.set_facecolor(CARD)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.grid(axis="y", color=RULE, lw=0.6)
    axes.set_axisbelow(True)
