# SPDX-License-Identifier: Apache-2.0
"""Timeline of a run: budget, allocation, error, availability and latency of every frame."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from admn_ros.errors import InputError
from admn_ros.sample import Availability
from admn_ros.views.palette import modality_colour
from admn_ros.views.picture_file import write_figure

CM_PER_M = 100.0
FEWEST = 5
"""Frames with an error from which on those of one budget have a median."""
MOST_LABELS = 24
"""Budgets of a run up to which each is marked, and its median written."""
SHADES = {"fresh": "#a9dfbf", "held": "#f9e79f", "some nodes missing": "#f5b041", "missing": "#e74c3c"}


@dataclass(frozen=True)
class ModalityRecord:
    """State and layers of one modality in one frame."""

    layers: int
    layers_total: int
    qoi: float
    availability: Availability
    held_nodes: tuple[str, ...] = ()
    missing_nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrameRecord:
    """One frame of a run.

    Attributes:
        stamp_ns: stamp of the frame.
        granted: granted budget, in `unit`.
        spent: cost of the layers that ran, in `unit`.
        unit: unit of the budget.
        reason: reason of the allocation.
        latency_ms: time from the newest input to the outputs.
        dropped: frames dropped so far.
        modalities: state by modality.
        position_m: estimated position; NaN without an estimate.
        truth_m: ground-truth position; NaN if unknown.
    """

    stamp_ns: int
    granted: float
    spent: float
    unit: str
    reason: str
    latency_ms: float
    dropped: int
    modalities: dict[str, ModalityRecord]
    position_m: tuple[float, float] = (math.nan, math.nan)
    truth_m: tuple[float, float] = (math.nan, math.nan)

    @property
    def error_cm(self) -> float:
        """Distance of the estimate from the ground truth in cm; NaN without one of them."""
        return CM_PER_M * math.dist(self.position_m, self.truth_m)


@dataclass(frozen=True)
class BudgetPhase:
    """Consecutive frames with the same budget.

    Attributes:
        start: number of the first frame.
        stop: number of the first frame after the last one.
        median_cm: median position error in cm; NaN if fewer than `FEWEST` frames have one.
    """

    start: int
    stop: int
    median_cm: float


def budget_phases(records: Sequence[FrameRecord]) -> Iterator[BudgetPhase]:
    """Yield the phases of a run in which the budget is constant."""
    start = 0
    for _, frames in groupby(records, lambda r: (r.granted, r.unit)):
        errors = [r.error_cm for r in frames]
        known = [e for e in errors if math.isfinite(e)]
        yield BudgetPhase(start, start + len(errors), statistics.median(known) if len(known) >= FEWEST else math.nan)
        start += len(errors)


def draw_timeline(records: Sequence[FrameRecord], path: Path, title: str = "") -> None:
    """Write a PNG of budget, layers by modality, error, availability, latency and dropped frames over time.

    Without ground truth there is no error. Where it is known, a line shows its median for each budget.

    Raises:
        InputError: there are no records, or the file cannot be written.
    """
    if not records:
        raise InputError.missing("records", "at least one frame")
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    times = [(r.stamp_ns - records[0].stamp_ns) * 1e-9 for r in records]
    names = list(records[0].modalities)
    heights = {"budget": 3.0, "error": 1.6, "inputs": 0.35 * len(names) + 0.4, "latency": 1.4}
    if all(math.isnan(r.error_cm) for r in records):
        del heights["error"]
    figure = Figure(figsize=(11, 1.2 * sum(heights.values())), layout="constrained")
    rows = dict(zip(heights, figure.subplots(len(heights), 1, sharex=True, height_ratios=list(heights.values())),
                    strict=True))
    budget, latency = rows["budget"], rows["latency"]
    _draw_budget(budget, times, records, names)
    if "error" in rows:
        _draw_error(rows["error"], times, records)
    _draw_inputs(rows["inputs"], times, records, names)
    _draw_latency(latency, times, records)
    changes = [times[phase.start] for phase in budget_phases(records)][1:]
    for axes in rows.values() if len(changes) < MOST_LABELS else ():
        for change in changes:
            axes.axvline(change, color="#7f8c8d", lw=0.8, ls=(0, (2, 2)), zorder=0.5)
    budget.set_xlim(times[0], times[-1] + 0.05)
    if title:
        budget.set_title(title, loc="left", fontsize=11)
    write_figure(figure, path, 110)


def _draw_budget(axes, times, records, names) -> None:  # type: ignore[no-untyped-def]
    """Draw the layers as stacked steps and the budget as a line."""
    layers = [[r.modalities[n].layers for r in records] for n in names]
    axes.stackplot(times, layers, step="post", labels=names, alpha=0.85,
                   colors=[modality_colour(n) for n in names])
    if all(r.unit == "layers" for r in records):
        top = sum(m.layers_total for m in records[0].modalities.values())
        axes.step(times, [min(r.granted, top) for r in records], where="post", color="black", lw=1.8, label="budget")
    axes.set_ylabel("layers run")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(bottom=0)
    _legend(axes, len(names) + 1)


def _draw_error(axes, times, records) -> None:  # type: ignore[no-untyped-def]
    """Draw the error of each frame, and its median while the budget stays the same."""
    errors = [r.error_cm for r in records]
    phases = [p for p in budget_phases(records) if math.isfinite(p.median_cm)]
    # Frames far above the medians are marked at the upper edge: the medians are to be compared.
    top = 2.5 * max([p.median_cm for p in phases], default=max(e for e in errors if math.isfinite(e))) or 1.0
    axes.plot(times, [e if e <= top else math.nan for e in errors], ".", ms=4, color="#34495e", alpha=0.6,
              label="error of a frame")
    if above := [t for t, e in zip(times, errors, strict=True) if e > top]:
        axes.plot(above, [0.96 * top] * len(above), "^", ms=5, color="#e74c3c", mew=0, label=f"above {top:.0f} cm")
    for index, phase in enumerate(phases):
        start, end = times[phase.start], times[min(phase.stop, len(times) - 1)]
        axes.plot([start, end], [phase.median_cm] * 2, color="black", lw=2.2, solid_capstyle="butt",
                  label="median while the budget stays" if index == 0 else None)
        if len(phases) <= MOST_LABELS:
            axes.annotate(f"{phase.median_cm:.0f} cm", ((start + end) / 2, phase.median_cm), xytext=(0, 7),
                          textcoords="offset points", ha="center", fontsize=10, fontweight="bold",
                          bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.6, "lw": 0})
    axes.set_ylim(0, top)
    axes.set_ylabel("error, cm")
    axes.set_title("what the budget does to the error of the position", loc="left", fontsize=11)
    _legend(axes, 3)


def _draw_inputs(axes, times, records, names) -> None:  # type: ignore[no-untyped-def]
    """Draw one lane per modality: fresh, held, partly missing, missing."""
    ends = [*times[1:], times[-1] + 0.05]
    for lane, name in enumerate(reversed(names)):
        for start, end, record in zip(times, ends, records, strict=True):
            axes.barh(lane, end - start, left=start, height=0.8, color=SHADES[_lane_state(record.modalities[name])])
    axes.set_yticks(range(len(names)), list(reversed(names)))
    for label, colour in SHADES.items():
        axes.barh(0, 0, color=colour, label=label)
    _legend(axes, 4)
    axes.set_ylabel("inputs")


def _lane_state(record: ModalityRecord) -> str:
    if record.availability is Availability.MISSING:
        return "missing"
    return "some nodes missing" if record.missing_nodes else str(record.availability)


def _draw_latency(axes, times, records) -> None:  # type: ignore[no-untyped-def]
    axes.plot(times, [r.latency_ms for r in records], ".", ms=4, color="#34495e", label="latency")
    drops = [t for t, before, after in zip(times[1:], records, records[1:], strict=False)
             if after.dropped > before.dropped]
    for index, instant in enumerate(drops):
        axes.axvline(instant, color="#e74c3c", lw=0.8, alpha=0.6, label="frame dropped" if index == 0 else None)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("ms")
    axes.set_xlabel("time since the start of the recording, s")
    _legend(axes, 2)


def _legend(axes, columns) -> None:  # type: ignore[no-untyped-def]
    """Draw the legend above the axes."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, fontsize=8, frameon=False)
