# SPDX-License-Identifier: Apache-2.0
"""An evaluation from beginning to end: units of frames, records, figures."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path

import torch

from admn_ros.baselines.named import is_oracle, own_policy
from admn_ros.errors import InputError
from admn_ros.evaluation.contenders import policy_contenders
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.records import Columns, join, split_times, write_columns
from admn_ros.evaluation.results_folder import RECORDS, TIMES, ResultsFolder
from admn_ros.evaluation.source import EvaluationSource, Json, Unit
from admn_ros.evaluation.summary import ContenderSummary, describe_model, describe_times
from admn_ros.evaluation.workers import open_source, run_units
from admn_ros.inference.hardware import device_name

OnProgress = Callable[[int, int], None]
"""Called with the number of finished frames and the total number."""


def evaluate(plan: EvaluationPlan, out: Path, *, source: EvaluationSource | None = None, jobs: int = 1,
             scheduler: str | None = None, resume: bool = False, force: bool = False,
             progress: OnProgress = lambda done, total: None) -> Json:
    """Evaluate a model.

    On CPU, the same plan gives the same results.json and records, byte for byte, with any number of processes.

    Args:
        plan: what to evaluate.
        out: folder of the results.
        source: source of the plan, if it is open; opened here otherwise.
        jobs: number of processes, each with its own copy of the model.
        scheduler: address of the scheduler of a Dask cluster, whose workers take the place of the processes.
        resume: continue an interrupted evaluation of the same plan.
        force: replace another evaluation.
        progress: callback for the progress.

    Returns:
        Content of results.json.

    Raises:
        InputError: a source or the cluster cannot be used, or the folder cannot be written.
        ModelError: the model cannot be used.
    """
    if jobs < 1:
        raise InputError("jobs", jobs, "1 or more")
    source = source or open_source(plan)
    if not plan.policies:
        plan = plan.model_copy(update={"policies": (own_policy(source.engine.config),)})
    identity = plan.identity()
    labels = [dict(c.label) for c in policy_contenders(plan, source.engine, source.budgets(0))]
    measured = source.engine.costs.measured
    if plan.unit not in ("layers", "gflops") and measured is not None:
        identity["costs"] = measured.model_dump(mode="json")
    folder = ResultsFolder(out, identity)
    folder.begin(resume=resume, force=force)
    if folder.is_complete:
        return folder.results()
    started_s, units = time.monotonic(), source.units()
    todo = [unit for unit in units if not folder.is_done(unit.name)]
    counter = _FrameCounter(sum(u.frames for u in units), sum(u.frames for u in units if u not in todo), progress)
    processes = run_units(plan, source, todo, folder, jobs, counter, scheduler)
    wall_s = max(time.monotonic() - started_s, 1e-6)
    recorded_s = sum(folder.unit_metadata(unit.name).get("recorded_s", 0.0) for unit in todo)
    speed = {"jobs": processes, "wall_s": round(wall_s, 3), "frames_done": counter.now,
             "frames_per_s": round(counter.now / wall_s, 3), "variants_per_frame": len(labels),
             "times_real_time": round(recorded_s / wall_s, 3) if recorded_s else None}
    cells, times, pieces = _summarize(plan, folder, source, units, labels)
    results = {**identity, "described_model": describe_model(source.engine.config), "source": source.describe(),
               "pieces": pieces, "cells": cells}
    folder.finish(results, {**speed, "network": times, "machine": _machine(source)})
    return folder.results()


class _FrameCounter:
    """Sum of the finished frames, for the progress callback."""

    def __init__(self, total: int, before: int, progress: OnProgress) -> None:
        self._total, self._before, self._progress, self.now = total, before, progress, 0
        self(0)

    def __call__(self, frames: int) -> None:
        self.now += frames
        done = self._before + self.now
        self._progress(done, max(self._total, done))


def _summarize(plan: EvaluationPlan, folder: ResultsFolder, source: EvaluationSource, units: list[Unit],
               labels: list[Json]) -> tuple[list[Json], list[Json], Json]:
    """Write the records of finished units.

    Returns:
        Figures by corruption and contender, times likewise, and the metadata of each bag.
    """
    config = source.engine.config
    cells: list[Json] = []
    times: list[Json] = []
    pieces: Json = {}
    for corruption in plan.corruptions:
        parts: list[Columns] = []
        for unit in (u for u in units if u.corruption == corruption):
            parts.append(source.with_ground_truth(unit, folder.read_unit(unit.name)))
            if not unit.indices:
                pieces[unit.name] = folder.unit_metadata(unit.name)
        columns, timed = split_times(join(parts))
        write_columns(folder.path / RECORDS / f"{corruption}.npz", columns)
        write_columns(folder.path / TIMES / f"{corruption}.npz", timed)
        for v, label in enumerate(labels):
            summary = ContenderSummary(columns, v, config, plan.seed, *_yardsticks(plan, v, len(labels)))
            cells.append({"corruption": corruption, **label, **summary.figures()})
        times += [{"corruption": corruption, **entry} for entry in describe_times(timed, labels)]
    return cells, times, pieces


def _yardsticks(plan: EvaluationPlan, contender: int, contenders: int) -> tuple[int | None, int | None]:
    """Return the contenders with the same budget that one is compared with.

    Returns:
        Index of the first policy, None for that one itself; index of the first oracle, None without one.
    """
    budgets = contenders // len(plan.policies)
    same = range(contender % budgets, contenders, budgets)
    oracles = [v for v, name in zip(same, plan.policies, strict=True) if is_oracle(name)]
    return None if contender < budgets else same[0], oracles[0] if oracles else None


def _machine(source: EvaluationSource) -> Json:
    peak_kb = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"device": device_name(source.engine.device), "runtime": source.engine.runtime_name,
            "cores": os.cpu_count(), "threads": torch.get_num_threads(),
            "torch": torch.__version__, "python": platform.python_version(),
            "peak_memory_mb": round(peak_kb / 1024, 1)}
