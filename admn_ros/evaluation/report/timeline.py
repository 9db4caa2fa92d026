# SPDX-License-Identifier: Apache-2.0
"""Frame by frame: budget, temperature, layers, quality and error over one stretch of a recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from admn_ros.evaluation.report.context import Context
from admn_ros.evaluation.report.data import Evaluation, budget_text
from admn_ros.evaluation.report.drawing import Key, Panel, ReportFigure
from admn_ros.evaluation.report.moments import NS, Moment, Stretch, moments, stretches
from admn_ros.scoring.metrics import Floats
from admn_ros.views.palette import ALERT, CARD, INK, SOFT, modality_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BINS = 600
"""More frames than this are shown in bins: layers, budget and quality by their mean, errors by their largest."""
WIDTH = 1000


@dataclass(frozen=True)
class Course:
    """What a timeline draws; B frames, or bins of frames.

    x: seconds since the start of the bag, or number of the sample (B,).
    granted, layers: the limit in layers, NaN where it is in another unit, and layers by modality (B,).
    qoi: as the model judges, by modality; NaN where it did not (B,).
    injected: 1 less the severity, by modality (B,); NaN where the modality is missing.
    error_cm: (B,).
    temperatures: [seconds, degrees Celsius] by sensor.
    """

    unit: str
    x: Floats
    granted: Floats
    layers: dict[str, Floats]
    qoi: dict[str, Floats]
    injected: dict[str, Floats]
    error_cm: Floats
    temperatures: dict[str, list[list[float]]]


def timelines(evaluation: Evaluation, context: Context) -> tuple[ReportFigure, list[tuple[Stretch, list[Moment]]]]:
    """One timeline for each corruption, and its moments in the order of their numbers."""
    shown = [(stretch, moments(evaluation, stretch)) for stretch in stretches(evaluation)]
    panels, numbers = [], []
    for stretch, special in shown:
        course = _course(evaluation, stretch, context)
        places = [_place(evaluation, stretch, moment.row, context) for moment in special]
        budget = budget_text(evaluation.budgets[stretch.budget], long=True)
        panels.append(Panel(
            f"{stretch.corruption}, {stretch.name}, {budget}", _say(course, special),
            lambda figure, c=course, p=places: _draw(figure, c, p),  # type: ignore[misc]
            WIDTH, 330 + 34 * len(course.qoi) + (90 if course.temperatures else 0)))
        numbers.append({"corruption": stretch.corruption, "recording": stretch.name, "budget": budget,
                        "policy": evaluation.policies[0], **_numbers(course),
                        "moments": [{"number": k, "at": round(x, 3), "kind": m.kind, "what": m.text}
                                    for k, (m, x) in enumerate(zip(special, places, strict=True), start=1)]})
    keys = [*(Key(modality_colour(m), m) for m in evaluation.modalities), Key(INK, "budget", "line")]
    binned = max(len(stretch.rows) for stretch, _ in shown) > MOST_BINS
    return ReportFigure(
        "timeline", "What happened, frame by frame",
        "From above: the layers that ran, stacked, below the budget as a line"
        + ("; recorded temperatures" if any(n["temperatures_c"] for n in numbers) else "")
        + "; for each modality its quality as the model judges it (area) and as what was injected left it (line), "
          "both up to 1, nothing where it is missing; the error. Numbers mark the moments below."
        + (f" Of more than {MOST_BINS} frames neighbours are drawn together: errors by the largest, others by the mean."
           if binned else ""),
        panels, numbers, keys), shown


# --- numbers --------------------------------------------------------------------------------------


def _course(evaluation: Evaluation, stretch: Stretch, context: Context) -> Course:
    columns, rows, v = evaluation.records[stretch.corruption], stretch.rows, stretch.variant
    depths = evaluation.results["described_model"]["depths"]
    ends = np.cumsum(list(depths.values()))[:-1]
    total = evaluation.results["described_model"]["layers_total"]
    in_layers = columns["unit"][rows, v] == "layers"
    granted = np.where(in_layers, np.minimum(columns["granted"][rows, v], total), np.nan)
    layers = [part.sum(axis=1).astype(np.float64) for part in np.split(columns["active"][rows, v], ends, axis=1)]
    there = columns["nodes"][rows] > 0
    injected = np.where(there, 1.0 - np.nan_to_num(columns["severity"][rows]), np.nan)
    qoi = np.where(there, columns["qoi"][rows, v], np.nan)
    x = np.asarray([_place(evaluation, stretch, int(row), context) for row in rows])
    bins = _bins(len(rows))
    bag = context.get("bags", {}).get(str(stretch.source), {}) if evaluation.is_of_bags else {}
    return Course(
        "s" if evaluation.is_of_bags else "sample", x[bins[:-1]], _by_bin(np.nanmean, granted, bins),
        {m: _by_bin(np.nanmean, part, bins) for m, part in zip(depths, layers, strict=True)},
        {m: _by_bin(np.nanmean, qoi[:, k], bins) for k, m in enumerate(depths)},
        {m: _by_bin(np.nanmean, injected[:, k], bins) for k, m in enumerate(depths)},
        _by_bin(np.nanmax, evaluation.errors_cm(stretch.corruption, v)[rows], bins), bag.get("temperatures", {}))


def _place(evaluation: Evaluation, stretch: Stretch, row: int, context: Context) -> float:
    """Where a frame is along the timeline."""
    columns = evaluation.records[stretch.corruption]
    if not evaluation.is_of_bags:
        return float(columns["index"][row])
    first = int(columns["stamp_ns"][stretch.rows[0]])
    start_ns = context.get("bags", {}).get(str(stretch.source), {}).get("start_ns", first)
    return (int(columns["stamp_ns"][row]) - int(start_ns)) / NS


def _bins(frames: int) -> list[int]:
    """Bounds of bins of frames, each as long as the others."""
    size = -(-frames // MOST_BINS)
    return [*range(0, frames, size), frames]


def _by_bin(figure: Callable[[Floats], Any], values: Floats, bins: Sequence[int]) -> Floats:
    """A figure of each bin; NaN where there is nothing."""
    parts = [values[a:b] for a, b in pairwise(bins)]
    return np.asarray([figure(p) if np.isfinite(p).any() else np.nan for p in parts], dtype=np.float64)


def _numbers(course: Course) -> dict[str, Any]:
    def plain(values: Floats) -> list[float | None]:
        return [round(float(x), 4) if np.isfinite(x) else None for x in values]

    return {"x_unit": course.unit, "x": plain(course.x), "budget_layers": plain(course.granted),
            "layers": {m: plain(x) for m, x in course.layers.items()},
            "qoi": {m: plain(x) for m, x in course.qoi.items()},
            "quality_injected": {m: plain(x) for m, x in course.injected.items()}, "error_cm": plain(course.error_cm),
            "temperatures_c": course.temperatures}


def _say(course: Course, special: Sequence[Moment]) -> str:
    layers = np.sum(list(course.layers.values()), axis=0)
    known = course.error_cm[np.isfinite(course.error_cm)]
    error = f" Errors from {known.min():.0f} to {known.max():.0f} cm." if len(known) else ""
    marked = "; ".join(f"{k}: {moment.text}" for k, moment in enumerate(special, start=1))
    return f"{layers.min():.0f} to {layers.max():.0f} layers ran in a frame.{error} {marked}"


# --- drawing --------------------------------------------------------------------------------------


def _draw(figure: Figure, course: Course, places: Sequence[float]) -> None:
    lanes = len(course.qoi)
    heights = [150, *([80] if course.temperatures else []), *([30] * lanes), 95]
    rows = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    figure.get_layout_engine().set(h_pad=2 / 72, hspace=0.0)  # type: ignore[union-attr, call-arg]
    _draw_layers(rows[0], course)
    if course.temperatures:
        _draw_temperatures(rows[1], course)
    for axes, (modality, qoi) in zip(rows[-lanes - 1:-1], course.qoi.items(), strict=True):
        _draw_quality(axes, modality, course.x, qoi, course.injected[modality])
    _draw_error(rows[-1], course)
    for axes in rows:
        axes.spines["bottom"].set_visible(axes is rows[-1])
        axes.tick_params(length=0)
        for place in places:
            axes.axvline(place, color=SOFT, lw=0.8, ls=(0, (2, 2)))
    _mark(rows[0], course, places)


def _mark(axes: Axes, course: Course, places: Sequence[float]) -> None:
    """Numbered circles above; those that would touch stand side by side."""
    apart = 0.02 * float(np.ptp(course.x) or 1.0)
    last = -np.inf
    for number, place in enumerate(places, start=1):
        last = max(place, last + apart)
        axes.annotate(str(number), (last, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 9),
                      textcoords="offset points", ha="center", va="center", fontsize=9.5, color=CARD,
                      annotation_clip=False, bbox={"boxstyle": "circle,pad=0.25", "facecolor": INK, "lw": 0})


def _draw_layers(axes: Axes, course: Course) -> None:
    x, end = course.x, _end(course.x)
    below = np.zeros(len(x) + 1)
    for modality, layers in course.layers.items():
        above = below + np.append(layers, layers[-1])
        axes.fill_between(np.append(x, end), below, above, step="post", color=modality_colour(modality),
                          alpha=0.85, lw=0)
        below = above
    axes.step(np.append(x, end), np.append(course.granted, course.granted[-1]), where="post", color=INK, lw=1.6)
    axes.set_ylim(0, 1.12 * float(np.nanmax([1.0, *below, *course.granted])))
    axes.set_xlim(x[0], end)
    axes.set_ylabel("layers")


def _draw_temperatures(axes: Axes, course: Course) -> None:
    for number, (name, points) in enumerate(course.temperatures.items()):
        axes.plot(*np.asarray(points).T, color=ALERT, lw=1.6, ls=("-", "--", ":")[number % 3])
        axes.annotate(name, (points[-1][0], points[-1][1]), xytext=(-4, 3), textcoords="offset points", ha="right",
                      color=ALERT, fontsize=9)
    axes.set_ylabel("\N{DEGREE SIGN}C")


def _draw_quality(axes: Axes, modality: str, x: Floats, qoi: Floats, injected: Floats) -> None:
    end = _end(x)
    axes.fill_between(np.append(x, end), np.append(qoi, qoi[-1]), step="post", color=modality_colour(modality),
                      alpha=0.45, lw=0)
    axes.step(np.append(x, end), np.append(injected, injected[-1]), where="post", color=INK, lw=1.0)
    axes.set_ylim(0, 1.08)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.set_ylabel(modality, rotation=0, ha="right", va="center")


def _draw_error(axes: Axes, course: Course) -> None:
    known = np.isfinite(course.error_cm)
    axes.plot(course.x[known], course.error_cm[known], "o", ms=2.6, color=INK, mew=0)
    axes.set_ylim(0, 1.1 * float(course.error_cm[known].max()) if known.any() else 1.0)
    axes.set_ylabel("error, cm")
    axes.set_xlabel("seconds of the recording" if course.unit == "s" else "sample, in the order of the dataset")
    if not known.any():
        axes.annotate("no truth", (0.5, 0.5), xycoords="axes fraction", ha="center", color=SOFT)


def _end(x: Floats) -> float:
    """Where the last frame ends: as long as the others are in the middle."""
    return float(x[-1] + (np.median(np.diff(x)) if len(x) > 1 else 1.0))
