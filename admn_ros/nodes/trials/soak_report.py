# SPDX-License-Identifier: Apache-2.0
"""Figures of a soak: of each span of time and in total, with a picture."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from admn_ros.files import replacing
from admn_ros.nodes.processes import Memory
from admn_ros.nodes.trials.perception_under_test import Interval, ReportedFrame

BLOCKS = 10   # of residuals in the bootstrap: neighbouring residuals are not independent
DRAWS = 2000
INK, FAINT = "#2c3e50", "#95a5a6"


@dataclass(frozen=True)
class Span:
    """Figures of a few seconds.

    Attributes:
        t_s: end of the span, in seconds after the start.
        frames: received frames.
        poses: received poses.
        dropped: frames dropped for newer ones.
        violations: frames that exceeded their budget.
        failed: frames on which the network failed.
        not_finite: poses that are not finite.
        budgets: changes of the budget between frames.
        longest_gap_s: longest time between two frames.
        latency_ms: p50, p95, p99 and maximum of the time from the arrival of the newest input to the output.
        age_ms: likewise, of the time from the stamp to the listener.
        resident_mib: memory of the node.
        own_mib: memory of the node without shared segments of other processes.
        cores: processor cores that the node used on average.
        load: load average of the last minute.
    """

    t_s: float
    frames: int
    poses: int
    dropped: int
    violations: int
    failed: int
    not_finite: int
    budgets: int
    longest_gap_s: float
    latency_ms: tuple[float, float, float, float]
    age_ms: tuple[float, float, float, float]
    resident_mib: float
    own_mib: float
    cores: float
    load: float

    @classmethod
    def of(cls, t_s: float, before: ReportedFrame | None, interval: Interval, memory: Memory) -> Span:
        """Compute the figures.

        Args:
            t_s: end of the span, in seconds after the start.
            before: last frame of the previous span.
            interval: outputs of the node.
            memory: memory of the node at the end.
        """
        frames, poses = interval.frames, interval.poses
        chain = [*([before] if before else []), *frames]
        pairs = list(itertools.pairwise(chain))
        return cls(
            t_s=round(t_s, 2), frames=len(frames), poses=len(poses),
            dropped=chain[-1].dropped - chain[0].dropped if chain else 0,
            violations=sum(f.violation for f in frames), failed=sum(f.failed for f in frames),
            not_finite=sum(not p.finite for p in poses),
            budgets=sum(a.requested != b.requested for a, b in pairs),
            longest_gap_s=round(max((b.received_s - a.received_s for a, b in pairs), default=0.0), 3),
            latency_ms=_quantiles([f.latency_ms for f in frames]), age_ms=_quantiles([f.age_ms for f in frames]),
            resident_mib=round(memory.resident, 2), own_mib=round(memory.own, 2), cores=round(interval.cores, 2),
            load=round(os.getloadavg()[0], 2))

    def line(self) -> str:
        """Format the figures as one line."""
        return (f"{self.t_s:7.0f} s  {self.frames:4d} frames  {self.dropped:3d} dropped  latency p50 "
                f"{self.latency_ms[0]:5.0f} p99 {self.latency_ms[2]:5.0f} ms  memory {self.own_mib:6.1f} MiB  "
                f"{self.budgets:3d} budgets  {self.violations} violations  load {self.load}")


def _quantiles(values: Sequence[float]) -> tuple[float, float, float, float]:
    if not values:
        return (0.0, 0.0, 0.0, 0.0)
    p50, p95, p99, most = (round(float(v), 2) for v in np.percentile(values, (50, 95, 99, 100)))
    return p50, p95, p99, most


def slope_mib_per_hour(spans: Sequence[Span]) -> tuple[float, float, float] | None:
    """Estimate how fast the node's own memory grows over the second half of a soak.

    Returns:
        Slope by least squares, and the ends of its 95 % interval from a bootstrap of blocks of residuals. None if the
        half has fewer than four spans.
    """
    half = [s for s in spans if s.t_s >= spans[-1].t_s / 2] if spans else []
    if len(half) < 4:
        return None
    hours, memory = np.array([(s.t_s / 3600, s.own_mib) for s in half]).T
    slope, level = np.polyfit(hours, memory, 1)
    residuals = memory - (slope * hours + level)
    size = max(1, len(half) // BLOCKS)
    rng = np.random.default_rng(0)
    starts = rng.integers(0, len(half) - size + 1, (DRAWS, -(-len(half) // size)))
    shuffled = residuals[(starts[..., None] + np.arange(size)).reshape(DRAWS, -1)[:, :len(half)]]
    centred = hours - hours.mean()
    slopes = slope + shuffled @ centred / (centred @ centred)
    low, high = np.percentile(slopes, (2.5, 97.5))
    return float(slope), float(low), float(high)


def summarize(spans: Sequence[Span]) -> dict[str, object]:
    """Compute the figures of the whole soak; of each latency quantile the median over spans, and the worst."""
    slope = slope_mib_per_hour(spans)
    total = {name: sum(getattr(s, name) for s in spans)
             for name in ("frames", "poses", "dropped", "violations", "failed", "not_finite", "budgets")}
    quantiles = {
        f"{kind}_ms": {q: {"median": round(float(np.median(v)), 2), "worst": round(float(np.max(v)), 2)}
                       for q, v in zip(("p50", "p95", "p99", "max"),
                                       np.array([getattr(s, f"{kind}_ms") for s in spans]).T, strict=True)}
        for kind in ("latency", "age")} if spans else {}
    return {
        "minutes": round(spans[-1].t_s / 60, 2) if spans else 0.0, **total,
        "longest_gap_s": max((s.longest_gap_s for s in spans), default=0.0), **quantiles,
        "memory_mib": {"first": spans[0].own_mib, "half": spans[len(spans) // 2].own_mib, "last": spans[-1].own_mib}
        if spans else {},
        "slope_mib_per_hour": slope and dict(zip(("second_half", "low_95", "high_95"),
                                                 (round(v, 2) for v in slope), strict=True)),
        "cores": round(float(np.mean([s.cores for s in spans])), 2) if spans else 0.0,
        "load_median": round(float(np.median([s.load for s in spans])), 2) if spans else 0.0,
    }


def text(result: dict[str, object]) -> str:
    """Format the figures as text."""
    latency, memory = result.get("latency_ms"), result["memory_mib"]
    if not latency:
        return "no frame was received"
    slope = result["slope_mib_per_hour"]
    growth = "too short for a slope" if slope is None else _growth(*slope.values())
    return "\n".join([
        f"{result['minutes']:g} minutes, {result['frames']} frames, {result['dropped']} dropped, "
        f"{result['failed']} failed, longest gap {result['longest_gap_s']:.2f} s",
        f"{result['budgets']} budget changes, {result['violations']} violations",
        "latency ms (median of spans, worst span): " + ", ".join(
            f"{q} {v['median']:.0f}, {v['worst']:.0f}" for q, v in latency.items()),
        f"memory: {memory['first']:.0f} MiB at the start, {memory['half']:.0f} at half time, {memory['last']:.0f} at "
        f"the end; {growth}",
        f"cores used by the node: {result['cores']}; load of the machine (median): {result['load_median']}",
    ])


def _growth(slope: float, low: float, high: float) -> str:
    return f"slope over the second half {slope:+.2f} MiB/h (95 %: {low:+.2f} to {high:+.2f})"


def draw(spans: Sequence[Span], path: Path) -> None:
    """Draw memory, latency and output over time into a PNG.

    Raises:
        InputError: the file cannot be written.
    """
    minutes = [s.t_s / 60 for s in spans]
    figure = Figure(figsize=(9.0, 6.4), layout="constrained")
    memory, latency, output = figure.subplots(3, 1, sharex=True)
    memory.plot(minutes, [s.own_mib for s in spans], color=INK, lw=1.6)
    memory.axvspan(minutes[-1] / 2, minutes[-1], color=FAINT, alpha=0.15, lw=0)
    memory.set(ylabel="memory of the node, MiB", ylim=(0, 1.25 * max(s.own_mib for s in spans)))
    slope = slope_mib_per_hour(spans)
    if slope is not None:
        memory.set_title(_growth(*slope), loc="left", fontsize=10)
    for index, (name, colour) in enumerate((("p50", "#1f618d"), ("p95", "#b9770e"), ("p99", "#922b21"))):
        latency.plot(minutes, [s.latency_ms[index] for s in spans], color=colour, lw=1.3, label=name)
    latency.set(ylabel="latency, ms", ylim=(0, None))
    seconds = np.diff([0.0, *(s.t_s for s in spans)])
    for name, colour in (("frames", "#1e8449"), ("dropped", "#922b21")):
        output.plot(minutes, np.array([getattr(s, name) for s in spans]) / seconds, color=colour, lw=1.3, label=name)
    output.plot(minutes, [s.load for s in spans], color=FAINT, lw=1.0, ls="--", label="load average of the machine")
    output.set(ylabel="frames per second", xlabel="minutes", ylim=(0, None), xlim=(0, minutes[-1]))
    for axes in (latency, output):
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=3, frameon=False, fontsize=9)
    for axes in (memory, latency, output):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)
