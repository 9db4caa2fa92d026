# SPDX-License-Identifier: Apache-2.0
"""Results of a latency benchmark, and how straight time grows with layers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from admn_ros.benchmark.latency.plan import LatencyPlan, Precision
from admn_ros.config import Strict, parse_config
from admn_ros.files import read_json, write_text

FILE, FIGURE, TABLE = "latency.json", "latency.png", "latency.md"
FEWEST_POINTS = 3
"""Numbers of layers through which a line is fitted, at least."""


class Group(NamedTuple):
    """Cases that differ in layers only."""

    model: str
    precision: Precision
    nodes: int
    batch: int
    threads: int

    def __str__(self) -> str:
        return f"{self.model}, {self.precision}, {self.sizes}"

    @property
    def sizes(self) -> str:
        """Sensor nodes, batch and threads as text."""
        return (f"{self.nodes} node{'s' * (self.nodes > 1)}, batch {self.batch}, {self.threads} "
                f"thread{'s' * (self.threads > 1)}")


class Times(Strict):
    """Times of one contender on one batch, in milliseconds.

    Attributes:
        model: name of the model.
        precision: floating-point precision.
        nodes: present sensor nodes.
        batch: frames at a time.
        threads: CPU threads of the networks.
        contender: key of `admn_ros.benchmark.latency.contenders.CONTENDERS`.
        runs: number of timed runs.
        median_ms, p95_ms, shortest_ms: time of the whole batch.
        peak_mib: largest memory of the GPU during the runs; None on a CPU.
    """

    model: str
    precision: Precision
    nodes: int
    batch: int
    threads: int = 1
    contender: str
    runs: int
    median_ms: float
    p95_ms: float
    shortest_ms: float
    peak_mib: float | None = None

    @property
    def group(self) -> Group:
        """Cases that differ from this one in layers only."""
        return Group(self.model, self.precision, self.nodes, self.batch, self.threads)


class Timing(Times):
    """Times on a batch of frames with the same budget.

    Attributes:
        layers: layers of each frame.
    """

    layers: int


class MixedTiming(Times):
    """Times on a batch of frames with different budgets.

    Attributes:
        layers: layers of each frame, frame by frame.
    """

    layers: tuple[int, ...]


class Startup(Strict):
    """Start of a process with one engine.

    Attributes:
        model: name of the model.
        runtime: one of `admn_ros.inference.runtime.ENGINES`.
        import_s: seconds from the start of the process until the package is imported.
        load_s: seconds for loading the model.
        first_frame_ms: the first frame, of all layers, in milliseconds.
        peak_mib: largest memory of the process.
        device_peak_mib: largest memory of the GPU; None on a CPU.
    """

    model: str
    runtime: str
    import_s: float
    load_s: float
    first_frame_ms: float
    peak_mib: float
    device_peak_mib: float | None = None


class Line(Strict):
    """Straight line through the medians of one contender: fixed_ms + per_layer_ms * layers.

    Attributes:
        model, precision, nodes, batch, threads, contender: as in `Timing`.
        fixed_ms, per_layer_ms: coefficients.
        r_squared: coefficient of determination.
    """

    model: str
    precision: Precision
    nodes: int
    batch: int
    threads: int
    contender: str
    fixed_ms: float
    per_layer_ms: float
    r_squared: float


class Latencies(Strict):
    """Results of a run.

    Attributes:
        device: name of the processor or GPU.
        torch: version of PyTorch.
        plans: what was measured.
        timings: in the order of measurement.
        mixed: batches of frames with different budgets.
        startups: start of each model and engine.
        lines: time against layers, where there are enough points.
        left_out: engines that did not run, with the reason.
    """

    device: str
    torch: str
    plans: tuple[LatencyPlan, ...]
    timings: tuple[Timing, ...]
    startups: tuple[Startup, ...]
    mixed: tuple[MixedTiming, ...] = ()
    lines: tuple[Line, ...] = ()
    left_out: tuple[str, ...] = ()

    def groups(self) -> Iterator[tuple[Group, list[Timing]]]:
        """Yield groups of cases that differ in layers only, with their timings."""
        for group, timings in groupby(self.timings, key=lambda t: t.group):
            yield group, list(timings)


def fit_lines(timings: tuple[Timing, ...]) -> tuple[Line, ...]:
    """Fit a line through the medians of each contender and group that has at least `FEWEST_POINTS` points."""
    lines = []
    for group, found in groupby(timings, key=lambda t: t.group):
        members = list(found)
        for contender in dict.fromkeys(t.contender for t in members):
            points = [(t.layers, t.median_ms) for t in members if t.contender == contender]
            if len(points) >= FEWEST_POINTS:
                fixed, slope, r_squared = _line(*np.array(points, dtype=float).T)
                lines.append(Line(**group._asdict(), contender=contender, fixed_ms=fixed, per_layer_ms=slope,
                                  r_squared=r_squared))
    return tuple(lines)


def _line(layers: np.ndarray, times: np.ndarray) -> tuple[float, float, float]:
    """Return intercept, slope and coefficient of determination of a least-squares line."""
    slope, fixed = np.polyfit(layers, times, 1)
    total = float(np.square(times - times.mean()).sum())
    left = float(np.square(times - (fixed + slope * layers)).sum())
    return float(fixed), float(slope), 1 - left / total if total else 1.0


def write_latencies(found: Latencies, path: Path) -> None:
    """Write results as JSON.

    Raises:
        InputError: the file cannot be written.
    """
    write_text(path, found.model_dump_json(indent=1) + "\n")


def read_latencies(path: Path) -> Latencies:
    """Read results.

    Raises:
        InputError: the file cannot be read.
        ConfigError: it holds something else.
    """
    return parse_config(Latencies, read_json(path), str(path))
