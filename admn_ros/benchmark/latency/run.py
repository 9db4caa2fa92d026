# SPDX-License-Identifier: Apache-2.0
"""Interleaved timing of all contenders: other load on the machine meets all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, islice, product
from typing import Any

import numpy as np
import torch

from admn_ros.benchmark.latency.case import Case
from admn_ros.benchmark.latency.contenders import CONTENDERS, OF_MIXED_BATCHES, Work
from admn_ros.benchmark.latency.plan import LatencyPlan, Precision, config_of
from admn_ros.benchmark.latency.results import Latencies, MixedTiming, Startup, Timing, fit_lines
from admn_ros.benchmark.latency.startup import measure_startup
from admn_ros.benchmark.latency.subject import Subject, subject
from admn_ros.config import ModelConfig
from admn_ros.errors import InputError
from admn_ros.inference.hardware import device_name, pick_device, use_threads

FEWEST_RUNS = 3
OnCase = Callable[[str, int, int], None]
"""Called before each case, with its description, what is done, and the whole."""
_Frames = tuple[int, ...]
"""Layers of each frame of a batch."""
_Group = tuple[Precision, int, list[_Frames]]
"""Precision, sensor nodes, and batches that are timed in turns."""


def measure_latencies(plans: Sequence[LatencyPlan], on_case: OnCase | None = None) -> Latencies:
    """Measure all cases of plans for one device.

    Raises:
        ModelError: there is no such model.
        InputError: the device is missing, or a model has fewer sensor nodes than asked for, or fewer layers.
    """
    device = pick_device(plans[0].device)
    for plan in plans:
        for name in plan.models:
            _check(plan, name, config_of(name))
    timings: list[Timing] = []
    mixed: list[MixedTiming] = []
    startups: list[Startup] = []
    left_out: list[str] = []
    subjects = [(plan, name) for plan in plans for name in plan.models]
    for number, (plan, name) in enumerate(subjects):
        threads = list(dict.fromkeys(use_threads(count) for count in plan.threads))
        with subject(name, plan.seed) as model:
            for turn, count in enumerate(threads):
                done = number + turn / len(threads)
                found = _measure(plan, model, count, _part_of(on_case, done, len(subjects), len(threads)))
                timings += found[0]
                mixed += found[1]
            startups += [measure_startup(name, folder, runtime, device=plan.device, threads=threads[0])
                         for runtime, folder in model.folders.items() if runtime not in model.left_out]
            left_out += [f"{name}, {runtime}: {why}" for runtime, why in model.left_out.items()]
    return Latencies(device=device_name(device), torch=torch.__version__, plans=tuple(plans), timings=tuple(timings),
                     mixed=tuple(mixed), startups=tuple(startups), lines=fit_lines(tuple(timings)),
                     left_out=tuple(left_out))


def _part_of(on_case: OnCase | None, before: float, subjects: int, parts: int) -> OnCase:
    """Return a function that reports the progress of one part of a subject. All subjects count alike.

    Args:
        on_case: takes the report.
        before: subjects that are done, and the share of this one.
        subjects: number of subjects.
        parts: number of parts of this subject.
    """
    def report(what: str, done: int, cases: int) -> None:
        if on_case is not None:
            on_case(what, round(100 * (before + done / cases / parts)), 100 * subjects)

    return report


def _measure(plan: LatencyPlan, model: Subject, threads: int,
             on_case: OnCase) -> tuple[list[Timing], list[MixedTiming]]:
    """Time the contenders in all cases of a model, with one number of threads."""
    use_threads(threads)
    timings: list[Timing] = []
    mixed: list[MixedTiming] = []
    engines = model.engines(plan.device, threads, [p for p in plan.precisions if p != "float32"])
    try:
        config = engines["torch"].config
        groups = [*_groups(plan, config), *_mixed_groups(plan, config)]
        for done, (precision, nodes, frames) in enumerate(groups):
            alike = len(set(frames[0])) == 1
            key: dict[str, Any] = {"model": model.name, "precision": precision, "nodes": nodes,
                                   "batch": len(frames[0]), "threads": threads}
            on_case(f"{', '.join(f'{name} {value}' for name, value in key.items())}{'' if alike else ', mixed'}", done,
                    len(groups))
            cases = [Case.of(engines, layers, nodes=nodes, precision=precision, seed=plan.seed) for layers in frames]
            found = _times(cases, plan, CONTENDERS if alike else OF_MIXED_BATCHES)
            if alike:
                timings += [Timing(**key, **times, layers=layers[0]) for layers, times in found]
            else:
                mixed += [MixedTiming(**key, **times, layers=layers) for layers, times in found]
    finally:
        for engine in engines.values():
            engine.close()
    return timings, mixed


def _check(plan: LatencyPlan, name: str, config: ModelConfig) -> None:
    total = len(config.sensor_nodes)
    if max(plan.nodes) > total:
        raise InputError("nodes", max(plan.nodes), f"at most {total}, the sensor nodes of {name}")
    deep = sum(config.depths.values())
    if min(plan.layers) > deep:
        raise InputError("layers", min(plan.layers), f"at most {deep}, the layers of {name}")


def _layers(plan: LatencyPlan, config: ModelConfig) -> list[int]:
    """Return the numbers of layers that a model can run."""
    return [count for count in plan.layers if count <= sum(config.depths.values())]


def _groups(plan: LatencyPlan, config: ModelConfig) -> Iterator[_Group]:
    """Yield the batches in which all frames have the same budget, for all budgets together."""
    for precision, nodes, batch in product(plan.precisions, plan.nodes, plan.batches):
        yield precision, nodes, [(layers,) * batch for layers in _layers(plan, config)]


def _mixed_groups(plan: LatencyPlan, config: ModelConfig) -> Iterator[_Group]:
    """Yield the batches in which frame after frame has another budget."""
    budgets = _layers(plan, config)
    if plan.mixed > 1 and len(budgets) > 1:
        for precision in plan.precisions:
            yield precision, max(plan.nodes), [tuple(islice(cycle(budgets), plan.mixed))]


def _times(cases: Sequence[Case], plan: LatencyPlan,
           contenders: Iterable[str]) -> Iterator[tuple[_Frames, dict[str, Any]]]:
    """Time all contenders in all cases in turns; a processor that slows down meanwhile bends no line.

    Yields:
        Layers of the frames, and the fields of `Times` that are measured.
    """
    works = {(case.layers, name): work for case in cases for name in contenders
             if (work := CONTENDERS[name](case)) is not None}
    device = cases[0].device
    peaks = {key: _warm_up(work, device) for key, work in works.items()}
    times: dict[tuple[_Frames, str], list[float]] = {key: [] for key in works}
    started = time.perf_counter()
    for turn in range(plan.repeats):
        if turn >= FEWEST_RUNS and time.perf_counter() - started > plan.seconds * len(cases):
            break
        for key, work in works.items():
            times[key].append(_once_ms(work, device))
    for key, found in times.items():
        layers, name = key
        yield layers, {"contender": name, "runs": len(found), "median_ms": float(np.median(found)),
                       "p95_ms": float(np.percentile(found, 95)), "shortest_ms": min(found), "peak_mib": peaks[key]}


def _warm_up(work: Work, device: torch.device) -> float | None:
    """Run once, and return the largest memory of the GPU meanwhile, in MiB."""
    if device.type != "cuda":
        work()
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) / 2**20


def _once_ms(work: Work, device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) * 1e3
