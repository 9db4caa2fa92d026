# SPDX-License-Identifier: Apache-2.0
"""Measurement of the time that the parts of a frame take on this machine.

The milliseconds are medians. A budget in milliseconds is a strict bound on their sum, in the exact arithmetic of the
cost table. It is no bound on the wall clock, which a general-purpose operating system cannot promise.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from typing import NamedTuple, Protocol

import torch

from admn_ros.budget.costs import MeasuredCosts, MeasuredModality, MeasuredTable
from admn_ros.errors import InputError
from admn_ros.inference.graphs.network import GraphNetwork
from admn_ros.inference.graphs.parts import GraphParts
from admn_ros.inference.hardware import device_name
from admn_ros.inference.onnx.frame_parts import OnnxFrameParts
from admn_ros.inference.onnx.network import OnnxNetwork
from admn_ros.model.frame_parts import FrameParts, Work
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.prepared.network import PreparedNetwork
from admn_ros.model.prepared.parts import PreparedParts
from admn_ros.sample import Modality

Turn = Callable[[], AbstractContextManager[None]]


class Parts(Protocol):
    """Parts of a frame, as in `admn_ros.model.frame_parts.FrameParts`."""

    def controller(self, modality: Modality, nodes: int) -> Work:
        """Return the controller's convolutions."""

    def embedding(self, modality: Modality, nodes: int) -> Work:
        """Return embedding, readout and adapter."""

    def layer(self, modality: Modality, nodes: int) -> Work:
        """Return one backbone layer."""

    def fixed(self) -> Work:
        """Return the fixed part."""


def parts_of(runtime: object) -> Parts | None:
    """Return the parts of a frame of a runtime; None for the network itself."""
    if isinstance(runtime, PreparedNetwork):
        return PreparedParts(runtime)
    if isinstance(runtime, GraphNetwork):
        return GraphParts(runtime)
    return OnnxFrameParts(runtime) if isinstance(runtime, OnnxNetwork) else None


@torch.inference_mode()
def measure_costs(network: AdmnNetwork, run_frame: Work, repeats: int, *, seconds: float = math.inf,
                  power_w: float | None = None, turn: Turn = nullcontext, parts: Parts | None = None,
                  runtime: str = "torch") -> MeasuredCosts:
    """Measure the median time of each part of a frame, for 1, 2, ... present sensor nodes.

    What a whole frame takes beyond the sum of its parts (copies, allocation, Python) is added to the fixed part. It is
    the difference of the shortest times, because other load on the machine interrupts long work more often than short.

    Args:
        network: network that runs the frames.
        device: device to measure. Other work on the device makes the result too high.
        run_frame: runs one frame with all inputs and all layers.
        repeats: timed runs of each part, at least 1.
        seconds: bound on the duration; parts that are slow are timed less often, but at least once.
        power_w: mean power of the device in watts while it computes, from a meter. Joules are the times multiplied
            by it; without it the model has no joules.
        turn: context of each single run, in which the network does no other work. Where frames run between the runs,
            the bound on the duration includes them.
        parts: parts of a frame; None for those of the network in PyTorch.
        runtime: what runs the parts, as in `MeasuredCosts`.

    Raises:
        InputError: `repeats` or `power_w` is out of range.
    """
    if repeats < 1:
        raise InputError("repeats", repeats, "at least 1")
    if power_w is not None and not (math.isfinite(power_w) and power_w > 0):
        raise InputError("power_w", power_w, "watts above 0")
    config, parts = network.config, parts or FrameParts(network)
    device, nodes = network.qoi.cls_token.device, range(1, len(config.sensor_nodes) + 1)
    clock = _Clock(device, repeats, seconds / (3 * len(nodes) * len(config.modalities) + 2), turn)

    with turn():
        run_frame()
    modalities, fixed = {}, clock.time(parts.fixed())
    overhead_ms = clock.time(run_frame).shortest_ms - fixed.shortest_ms
    for m, depth in config.depths.items():
        controller, embedding, layer = ([clock.time(part(m, n)) for n in nodes]
                                        for part in (parts.controller, parts.embedding, parts.layer))
        overhead_ms -= controller[-1].shortest_ms + embedding[-1].shortest_ms + depth * layer[-1].shortest_ms
        modalities[m] = MeasuredModality(controller=_medians(controller), embedding=_medians(embedding),
                                         layer=_medians(layer))
    milliseconds = MeasuredTable(fixed=fixed.median_ms + max(0.0, overhead_ms), modalities=modalities)
    return MeasuredCosts(
        device=device_name(device), runtime=runtime, torch=torch.__version__, threads=torch.get_num_threads(),
        date=date.today().isoformat(), repeats=repeats, milliseconds=milliseconds, power_w=power_w,
        joules=None if power_w is None else _scaled(milliseconds, power_w / 1000))


class _Timing(NamedTuple):
    """Median and shortest time of a piece of work, in milliseconds."""

    median_ms: float
    shortest_ms: float


class _Clock:
    """Stopwatch that waits for the device's queue before and after a piece of work.

    Args:
        device: device on which the work runs.
        repeats: timed runs, at most.
        seconds: time after which a piece of work is not repeated any more.
        turn: context of each run.
    """

    def __init__(self, device: torch.device, repeats: int, seconds: float, turn: Turn) -> None:
        self._device, self._repeats, self._seconds, self._turn = device, repeats, seconds, turn

    def time(self, work: Work) -> _Timing:
        """Run a piece of work once to warm up, then time it repeatedly."""
        started = time.perf_counter()
        with self._turn():
            work()
        times = [self._once_ms(work)]
        while len(times) < self._repeats and time.perf_counter() - started < self._seconds:
            times.append(self._once_ms(work))
        return _Timing(statistics.median(times), min(times))

    def _once_ms(self, work: Work) -> float:
        with self._turn():
            self._wait()
            start = time.perf_counter()
            work()
            self._wait()
            return (time.perf_counter() - start) * 1e3

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _medians(timings: Sequence[_Timing]) -> tuple[float, ...]:
    return tuple(timing.median_ms for timing in timings)


def _scaled(table: MeasuredTable, factor: float) -> MeasuredTable:
    def scaled(part: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(value * factor for value in part)

    return MeasuredTable(fixed=table.fixed * factor, modalities={
        m: MeasuredModality(controller=scaled(c.controller), embedding=scaled(c.embedding), layer=scaled(c.layer))
        for m, c in table.modalities.items()})
