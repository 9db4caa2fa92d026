# SPDX-License-Identifier: Apache-2.0
"""Timeline of a run: budget, allocation, availability and latency of every frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from admn_ros.errors import InputError
from admn_ros.sample import Availability
from admn_ros.views.palette import modality_colour
from admn_ros.views.picture_file import write_figure

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


def draw_timeline(records: Sequence[FrameRecord], path: Path, title: str = "") -> None:
    """Write a PNG of budget, layers by modality, availability, latency and dropped frames over time.

    Raises:
        InputError: there are no records, or the file cannot be written.
    """
    if not records:
        raise InputError.missing("records", "at least one frame")
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    times = [(r.stamp_ns - records[0].stamp_ns) * 1e-9 for r in records]
    names = list(records[0].modalities)
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    budget, inputs, latency = figure.subplots(3, 1, sharex=True, height_ratios=(3, 0.35 * len(names) + 0.4, 1.4))
    _draw_budget(budget, times, records, names)
    _draw_inputs(inputs, times, records, names)
    _draw_latency(latency, times, records)
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
    axes.set_ylim(bottom=0)
    _legend(axes, len(names) + 1)


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
