# SPDX-License-Identifier: Apache-2.0
"""Frame by frame: what was granted, where it went, how long it took; as a table row and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from admn_ros.errors import InputError
from admn_ros.sample import Availability

COLOURS = {"rgb": "#b03a2e", "depth": "#1f5fa8", "radar": "#17a589", "audio": "#c28d0a"}
OTHER = "#7d3c98"


@dataclass(frozen=True)
class ModalityRecord:
    """What one modality got in one frame."""

    layers: int
    layers_total: int
    qoi: float
    availability: Availability
    held_nodes: tuple[str, ...] = ()
    missing_nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrameRecord:
    """One frame of a run. Limits and spent in `unit`; position in metres, NaN without an estimate."""

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
    """Write a PNG: budget against layers per modality, availability, latency and drops over time."""
    if not records:
        raise InputError("records", "no frames", "at least one")
    import matplotlib as mpl  # noqa: PLC0415  slow to import, and only pictures need it

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    times = [(r.stamp_ns - records[0].stamp_ns) * 1e-9 for r in records]
    names = list(records[0].modalities)
    figure, (budget, inputs, latency) = plt.subplots(
        3, 1, figsize=(11, 7.5), sharex=True, height_ratios=(3, 0.35 * len(names) + 0.4, 1.4), layout="constrained")
    _draw_budget(budget, times, records, names)
    _draw_inputs(inputs, times, records, names)
    _draw_latency(latency, times, records)
    if title:
        budget.set_title(title, loc="left", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_budget(axes, times, records, names) -> None:  # type: ignore[no-untyped-def]
    """Layers as stacked steps; the budget as a line above them that they never cross."""
    layers = [[r.modalities[n].layers for r in records] for n in names]
    axes.stackplot(times, layers, step="post", labels=names, alpha=0.85,
                   colors=[COLOURS.get(n, OTHER) for n in names])
    if all(r.unit == "layers" for r in records):
        top = sum(m.layers_total for m in records[0].modalities.values())
        axes.step(times, [min(r.granted, top) for r in records], where="post", color="black", lw=1.8, label="budget")
    axes.set_ylabel("layers run")
    axes.set_ylim(bottom=0)
    _legend(axes, len(names) + 1)


def _draw_inputs(axes, times, records, names) -> None:  # type: ignore[no-untyped-def]
    """One lane for each modality: fresh, held, partly missing, missing."""
    shades = {"fresh": "#a9dfbf", "held": "#f9e79f", "some nodes missing": "#f5b041", "missing": "#e74c3c"}
    ends = [*times[1:], times[-1] + 0.05]
    for lane, name in enumerate(reversed(names)):
        for start, end, record in zip(times, ends, records, strict=True):
            axes.barh(lane, end - start, left=start, height=0.8, color=shades[_lane_state(record.modalities[name])])
    axes.set_yticks(range(len(names)), list(reversed(names)))
    for label, colour in shades.items():
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
    axes.set_xlabel("seconds of the recording")
    _legend(axes, 2)


def _legend(axes, columns) -> None:  # type: ignore[no-untyped-def]
    """Above the axes, where it hides nothing."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, fontsize=8, frameon=False)
