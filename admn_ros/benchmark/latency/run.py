# SPDX-License-Identifier: Apache-2.0
"""Interleaved timing of all contenders: other load on the machine meets all of them alike."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch

from admn_ros.benchmark.latency.case import Case
from admn_ros.benchmark.latency.contenders import CONTENDERS, ENGINES, Work
from admn_ros.benchmark.latency.plan import WIDTHS, LatencyPlan, Precision, open_network
from admn_ros.benchmark.latency.results import Latencies, Startup, Timing, fit_lines
from admn_ros.benchmark.latency.startup import measure_startup
from admn_ros.errors import InputError
from admn_ros.inference.hardware import device_name, pick_device, use_threads
from admn_ros.model.checkpoint import save_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.share import find_shipped

FEWEST_RUNS = 3
OnCase = Callable[[str, int, int], None]
"""Called before each case, with its description, the number of finished cases, and that of all."""


def measure_latencies(plan: LatencyPlan, on_case: OnCase | None = None) -> Latencies:
    """Measure all cases of a plan.

    Raises:
        ModelError: there is no such model.
        InputError: the device is missing, or a model has fewer sensor nodes than asked for, or fewer layers.
    """
    device, threads = pick_device(plan.device), use_threads(plan.threads)
    timings: list[Timing] = []
    startups: list[Startup] = []
    for number, name in enumerate(plan.models):
        network = open_network(name, plan.seed, device)
        _check(plan, name, network)
        cases = list(_cases(plan, network))
        for k, (precision, nodes, batch, layers) in enumerate(cases):
            if on_case is not None:
                on_case(f"{name}, {precision}, {nodes} nodes, batch {batch}, {layers} layers",
                        number * len(cases) + k, len(plan.models) * len(cases))
            case = Case.of(network, layers=layers, batch=batch, nodes=nodes, precision=precision, seed=plan.seed)
            timings += _timings(name, case, plan)
        startups += [_startup(name, network, runtime, plan, threads) for runtime in ENGINES]
    return Latencies(device=device_name(device), torch=torch.__version__, threads=threads, plan=plan,
                     timings=tuple(timings), startups=tuple(startups), lines=fit_lines(tuple(timings)))


def _check(plan: LatencyPlan, name: str, network: AdmnNetwork) -> None:
    total = len(network.config.sensor_nodes)
    if max(plan.nodes) > total:
        raise InputError("nodes", max(plan.nodes), f"at most {total}, the sensor nodes of {name}")
    deep = sum(network.config.depths.values())
    if min(plan.layers) > deep:
        raise InputError("layers", min(plan.layers), f"at most {deep}, the layers of {name}")


def _cases(plan: LatencyPlan, network: AdmnNetwork) -> Iterator[tuple[Precision, int, int, int]]:
    """Yield precision, sensor nodes, batch and layers of each case; layers vary fastest."""
    deep = sum(network.config.depths.values())
    layers = [count for count in plan.layers if count <= deep]
    yield from product(plan.precisions, plan.nodes, plan.batches, layers)


def _timings(name: str, case: Case, plan: LatencyPlan) -> list[Timing]:
    """Time all contenders in turns."""
    works = {contender: work for contender, make in CONTENDERS.items() if (work := make(case)) is not None}
    peaks = {contender: _warm_up(work, case.device) for contender, work in works.items()}
    times: dict[str, list[float]] = {contender: [] for contender in works}
    started = time.perf_counter()
    for turn in range(plan.repeats):
        if turn >= FEWEST_RUNS and time.perf_counter() - started > plan.seconds:
            break
        for contender, work in works.items():
            times[contender].append(_once_ms(work, case.device))
    return [Timing(model=name, precision=case.precision, nodes=case.nodes, batch=len(case.samples),
                   layers=case.layers, contender=contender, runs=len(found), median_ms=float(np.median(found)),
                   p95_ms=float(np.percentile(found, 95)), shortest_ms=min(found), peak_mib=peaks[contender])
            for contender, found in times.items()]


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


def _startup(name: str, network: AdmnNetwork, runtime: str, plan: LatencyPlan, threads: int) -> Startup:
    if name not in WIDTHS:
        return measure_startup(name, find_shipped(name, "models"), runtime, device=plan.device, threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        save_model(network, Path(folder) / name)
        return measure_startup(name, Path(folder) / name, runtime, device=plan.device, threads=threads)
