# SPDX-License-Identifier: Apache-2.0
"""Timelines: budget, temperature, layers, quality and error of every frame of a stretch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from admn_ros.evaluation.records import layer_counts
from admn_ros.evaluation.report.context import Context
from admn_ros.evaluation.report.data import Evaluation, budget_text
from admn_ros.evaluation.report.decisions import evaluated_decision
from admn_ros.evaluation.report.drawing import LegendEntry, Panel, ReportFigure
from admn_ros.evaluation.report.moments import NS, Moment, Stretch, moments, stretches
from admn_ros.inference.decision import left_out
from admn_ros.scoring.metrics import Floats
from admn_ros.views.palette import ALERT, CARD, INK, SOFT, modality_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BINS = 600
"""Longer stretches are drawn in bins: the mean of layers, budget and quality, and the maximum of errors."""
WIDTH = 1000

ShownStretches = list[tuple[Stretch, list[Moment]]]


@dataclass(frozen=True)
class Timeline:
    """Series that a timeline draws, for B frames or bins of frames.

    Attributes:
        unit: unit of x: s or sample.
        x: time since the start of the recording in seconds, or index of the sample (B,).
        granted: limit in layers; NaN in another unit (B,).
        layers: layers that ran, by modality (B,).
        qoi: QoI estimated by the model, by modality; NaN without one (B,).
        injected: 1 minus the injected severity, by modality; NaN for a missing modality (B,).
        error_cm: position error (B,).
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


def shown_stretches(evaluation: Evaluation) -> ShownStretches:
    """Return the stretch of each corruption that a timeline shows, with its numbered moments."""
    return [(stretch, moments(evaluation, stretch)) for stretch in stretches(evaluation)]


def timelines(evaluation: Evaluation, context: Context, shown: ShownStretches) -> ReportFigure:
    """Return the figure with one timeline per corruption."""
    panels, numbers = [], []
    for stretch, special in shown:
        series = _series(evaluation, stretch, context)
        places = [_position(evaluation, stretch, moment.row, context) for moment in special]
        budget = budget_text(evaluation.budgets[stretch.budget], long=True)
        panels.append(Panel(
            f"{stretch.corruption}, {stretch.name}, {budget}", _describe(series, special),
            lambda figure, s=series, p=places: _draw(figure, s, p),  # type: ignore[misc]
            WIDTH, 330 + 34 * len(series.qoi) + (90 if series.temperatures else 0)))
        numbers.append({"corruption": stretch.corruption, "recording": stretch.name, "budget": budget,
                        "policy": evaluation.policies[0], **_numbers(series),
                        "moments": [{"number": k, "at": round(x, 3), "kind": m.kind, "what": m.text,
                                     "left_out": left_out(evaluated_decision(
                                         evaluation, stretch.corruption, stretch.variant, m.row).inputs)}
                                    for k, (m, x) in enumerate(zip(special, places, strict=True), start=1)]})
    keys = [*(LegendEntry(modality_colour(m), m) for m in evaluation.modalities), LegendEntry(INK, "budget", "line")]
    binned = max(len(stretch.rows) for stretch, _ in shown) > MAX_BINS
    return ReportFigure(
        "timeline", "Timeline",
        "From top to bottom: the layers that ran, stacked by modality, and the budget as a line"
        + ("; recorded temperatures" if any(n["temperatures_c"] for n in numbers) else "")
        + "; for each modality the QoI estimated by the model (area) and the injected quality, which is 1 minus the "
          "severity (line), both from 0 to 1 and absent while the modality is missing; the position error. Numbers "
          "mark the moments below, with what ran and why not: predicted value and cost of each input."
        + (f" Stretches of more than {MAX_BINS} frames are binned: maximum of errors, mean of all other series."
           if binned else ""),
        panels, numbers, keys)


# --- numbers --------------------------------------------------------------------------------------


def _series(evaluation: Evaluation, stretch: Stretch, context: Context) -> Timeline:
    columns, rows, v = evaluation.records[stretch.corruption], stretch.rows, stretch.variant
    depths = evaluation.results["described_model"]["depths"]
    total = evaluation.results["described_model"]["layers_total"]
    in_layers = columns["unit"][rows, v] == "layers"
    granted = np.where(in_layers, np.minimum(columns["granted"][rows, v], total), np.nan)
    layers = layer_counts(columns["active"][rows, v], depths.values()).T.astype(np.float64)
    there = columns["nodes"][rows] > 0
    injected = np.where(there, 1.0 - np.nan_to_num(columns["severity"][rows]), np.nan)
    qoi = np.where(there, columns["qoi"][rows, v], np.nan)
    x = np.asarray([_position(evaluation, stretch, int(row), context) for row in rows])
    bins = _bins(len(rows))
    bag = context.get("bags", {}).get(str(stretch.source), {}) if evaluation.is_of_bags else {}
    return Timeline(
        "s" if evaluation.is_of_bags else "sample", x[bins[:-1]], _by_bin(np.nanmean, granted, bins),
        {m: _by_bin(np.nanmean, part, bins) for m, part in zip(depths, layers, strict=True)},
        {m: _by_bin(np.nanmean, qoi[:, k], bins) for k, m in enumerate(depths)},
        {m: _by_bin(np.nanmean, injected[:, k], bins) for k, m in enumerate(depths)},
        _by_bin(np.nanmax, evaluation.errors_cm(stretch.corruption, v)[rows], bins), bag.get("temperatures", {}))


def _position(evaluation: Evaluation, stretch: Stretch, row: int, context: Context) -> float:
    """Return the position of a frame on the x axis."""
    columns = evaluation.records[stretch.corruption]
    if not evaluation.is_of_bags:
        return float(columns["index"][row])
    first = int(columns["stamp_ns"][stretch.rows[0]])
    start_ns = context.get("bags", {}).get(str(stretch.source), {}).get("start_ns", first)
    return (int(columns["stamp_ns"][row]) - int(start_ns)) / NS


def _bins(frames: int) -> list[int]:
    """Return the bounds of equal bins of frames."""
    size = -(-frames // MAX_BINS)
    return [*range(0, frames, size), frames]


def _by_bin(statistic: Callable[[Floats], Any], values: Floats, bins: Sequence[int]) -> Floats:
    """Return a statistic of each bin; NaN for bins without values."""
    parts = [values[a:b] for a, b in pairwise(bins)]
    return np.asarray([statistic(p) if np.isfinite(p).any() else np.nan for p in parts], dtype=np.float64)


def _numbers(series: Timeline) -> dict[str, Any]:
    def plain(values: Floats) -> list[float | None]:
        return [round(float(x), 4) if np.isfinite(x) else None for x in values]

    return {"x_unit": series.unit, "x": plain(series.x), "budget_layers": plain(series.granted),
            "layers": {m: plain(x) for m, x in series.layers.items()},
            "qoi": {m: plain(x) for m, x in series.qoi.items()},
            "quality_injected": {m: plain(x) for m, x in series.injected.items()}, "error_cm": plain(series.error_cm),
            "temperatures_c": series.temperatures}


def _describe(series: Timeline, special: Sequence[Moment]) -> str:
    layers = np.sum(list(series.layers.values()), axis=0)
    known = series.error_cm[np.isfinite(series.error_cm)]
    error = f" Errors from {known.min():.0f} to {known.max():.0f} cm." if len(known) else ""
    marked = "; ".join(f"{k}: {moment.text}" for k, moment in enumerate(special, start=1))
    return f"{layers.min():.0f} to {layers.max():.0f} layers per frame.{error} {marked}"


# --- drawing --------------------------------------------------------------------------------------


def _draw(figure: Figure, series: Timeline, places: Sequence[float]) -> None:
    lanes = len(series.qoi)
    heights = [150, *([80] if series.temperatures else []), *([30] * lanes), 95]
    rows = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    figure.get_layout_engine().set(h_pad=2 / 72, hspace=0.0)  # type: ignore[union-attr, call-arg]
    _draw_layers(rows[0], series)
    if series.temperatures:
        _draw_temperatures(rows[1], series)
    for axes, (modality, qoi) in zip(rows[-lanes - 1:-1], series.qoi.items(), strict=True):
        _draw_quality(axes, modality, series.x, qoi, series.injected[modality])
    _draw_error(rows[-1], series)
    for axes in rows:
        axes.spines["bottom"].set_visible(axes is rows[-1])
        axes.tick_params(length=0)
        for place in places:
            axes.axvline(place, color=SOFT, lw=0.8, ls=(0, (2, 2)))
    _mark(rows[0], series, places)


def _mark(axes: Axes, series: Timeline, places: Sequence[float]) -> None:
    """Draw numbered circles above the axes, moved apart where they would overlap."""
    apart = 0.02 * float(np.ptp(series.x) or 1.0)
    last = -np.inf
    for number, place in enumerate(places, start=1):
        last = max(place, last + apart)
        axes.annotate(str(number), (last, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 9),
                      textcoords="offset points", ha="center", va="center", fontsize=9.5, color=CARD,
                      annotation_clip=False, bbox={"boxstyle": "circle,pad=0.25", "facecolor": INK, "lw": 0})


def _draw_layers(axes: Axes, series: Timeline) -> None:
    x, end = series.x, _end(series.x)
    below = np.zeros(len(x) + 1)
    for modality, layers in series.layers.items():
        above = below + np.append(layers, layers[-1])
        axes.fill_between(np.append(x, end), below, above, step="post", color=modality_colour(modality),
                          alpha=0.85, lw=0)
        below = above
    axes.step(np.append(x, end), np.append(series.granted, series.granted[-1]), where="post", color=INK, lw=1.6)
    axes.set_ylim(0, 1.12 * float(np.nanmax([1.0, *below, *series.granted])))
    axes.set_xlim(x[0], end)
    axes.set_ylabel("layers")


def _draw_temperatures(axes: Axes, series: Timeline) -> None:
    for number, (name, points) in enumerate(series.temperatures.items()):
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


def _draw_error(axes: Axes, series: Timeline) -> None:
    known = np.isfinite(series.error_cm)
    axes.plot(series.x[known], series.error_cm[known], "o", ms=2.6, color=INK, mew=0)
    axes.set_ylim(0, 1.1 * float(series.error_cm[known].max()) if known.any() else 1.0)
    axes.set_ylabel("error, cm")
    axes.set_xlabel("time since the start of the recording, s" if series.unit == "s" else "index of the sample")
    if not known.any():
        axes.annotate("no ground truth", (0.5, 0.5), xycoords="axes fraction", ha="center", color=SOFT)


def _end(x: Floats) -> float:
    """Return the end of the last frame, by the median frame duration."""
    return float(x[-1] + (np.median(np.diff(x)) if len(x) > 1 else 1.0))
