# SPDX-License-Identifier: Apache-2.0
"""Where the time of a frame on a CPU goes: looks of the controller, stems, layers, readouts, and everything else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from admn_ros.benchmark.latency.case import random_samples
from admn_ros.budget.budget import Budget
from admn_ros.config import Strict
from admn_ros.errors import InputError
from admn_ros.inference.engine import Engine
from admn_ros.inference.model import load_engine
from admn_ros.model.allocation import allocate
from admn_ros.model.prepared.network import PreparedNetwork
from admn_ros.sample import Modality

PARTS = ("looks", "stems", "layers", "readouts")
UNTIMED = 5
"""Frames before those that are timed."""


class Breakdown(Strict):
    """Medians of the parts of a frame in milliseconds, all inputs present.

    Attributes:
        layers: budget of the frame.
        frame_ms: whole frame, without preprocessing.
        looks_ms: convolutions of the controller.
        stems_ms: from inputs to patches.
        layers_ms: layers of the backbones.
        readouts_ms: from the output of the last layer to tokens of the fusion.
        rest: share of the frame that is neither looks, stems nor layers.
    """

    layers: int
    frame_ms: float
    looks_ms: float
    stems_ms: float
    layers_ms: float
    readouts_ms: float
    rest: float


class _Watch:
    """Stopwatch of the parts of a prepared network, which it changes."""

    def __init__(self, network: PreparedNetwork) -> None:
        self.spent_s = dict.fromkeys(PARTS, 0.0)
        looks: dict[Modality, Callable[..., object]] = network.qoi.looks  # type: ignore[assignment]
        for m, look in looks.items():
            looks[m] = self._timed("looks", look)
            backbone = network.backbone(m)
            places = [(backbone, "embed", "stems"), (backbone, "readout", "readouts")]
            for place, name, part in (*places, *((block, "forward", "layers") for block in backbone.blocks)):
                setattr(place, name, self._timed(part, getattr(place, name)))

    def _timed(self, part: str, work: Callable[..., object]) -> Callable[..., object]:
        def timed(*args: object, **options: object) -> object:
            start = time.perf_counter()
            found = work(*args, **options)
            self.spent_s[part] += time.perf_counter() - start
            return found

        return timed


def measure_breakdown(model: str | Path, layers: Iterable[int], *, threads: int = 0, repeats: int = 100,
                      seed: int = 0) -> list[Breakdown]:
    """Measure the parts of frames of a model on the CPU.

    Args:
        model: model folder, or the name of a shipped model.
        layers: budgets in layers.
        threads: CPU threads; 0 for half of the cores, at most 4.
        repeats: timed frames of each budget.
        seed: seed of the random inputs.

    Raises:
        ModelError: there is no such model.
        InputError: the network has no form for a CPU.
    """
    engine = load_engine(model, "cpu", threads)
    if not isinstance(engine.runtime, PreparedNetwork):
        raise InputError("model", type(engine.network).__name__, "a network of this package's own type")
    watch = _Watch(engine.runtime)
    return [_measure(engine, watch, count, repeats, seed) for count in layers]


def _measure(engine: Engine, watch: _Watch, layers: int, repeats: int, seed: int) -> Breakdown:
    sample, = random_samples(engine.network, 1, len(engine.config.sensor_nodes), seed)
    budget, times = Budget(layers, "layers"), []
    for _ in range(UNTIMED + repeats):
        watch.spent_s.update(dict.fromkeys(PARTS, 0.0))
        start = time.perf_counter()
        engine.infer(sample, budget, decide=allocate)
        times.append([time.perf_counter() - start, *watch.spent_s.values()])
    frame, looks, stems, blocks, readouts = (float(ms) for ms in np.median(np.array(times[UNTIMED:]) * 1e3, axis=0))
    return Breakdown(layers=layers, frame_ms=frame, looks_ms=looks, stems_ms=stems, layers_ms=blocks,
                     readouts_ms=readouts, rest=1 - (looks + stems + blocks) / frame)


def render(found: Sequence[Breakdown]) -> str:
    """Return the breakdown as a table in Markdown."""
    rows = [f"| {b.layers} | {b.frame_ms:.2f} | {b.looks_ms:.2f} | {b.stems_ms:.2f} | {b.layers_ms:.2f} | "
            f"{b.readouts_ms:.2f} | {b.frame_ms * b.rest - b.readouts_ms:.2f} | {b.rest:.0%} |" for b in found]
    head = "| layers | frame, ms | looks | stems | layers | readouts | others | not looks, stems or layers |"
    return "\n".join([head, "|---" * 8 + "|", *rows])
