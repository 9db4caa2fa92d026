# SPDX-License-Identifier: Apache-2.0
"""An evaluation from beginning to end: pieces, records, figures."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from admn_ros.errors import InputError
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.records import Columns, split_times, write_columns
from admn_ros.evaluation.results_folder import RECORDS, TIMES, ResultsFolder
from admn_ros.evaluation.summary import Cell, describe_model, describe_times
from admn_ros.evaluation.workers import Unit, Worker, plan_variants, run_units
from admn_ros.inference.hardware import device_name

Progress = Callable[[int, int], None]
"""Called with the frames done and the frames in all."""


def evaluate(plan: EvaluationPlan, out: Path, *, jobs: int = 1, resume: bool = False, force: bool = False,
             progress: Progress = lambda done, total: None) -> dict[str, Any]:
    """Evaluate a model; returns what results.json holds.

    The same plan gives the same results.json and records on CPU, byte for byte, with any number of jobs.

    Args:
        plan: what to evaluate.
        out: folder of the results.
        jobs: processes, each with a model of its own.
        resume: continue an interrupted evaluation of the same plan.
        force: replace another one.
        progress: told how far it is.

    Raises:
        InputError: something cannot be read or written.
        ModelError: the model cannot be used.
    """
    if jobs < 1:
        raise InputError("jobs", jobs, "1 or more")
    identity = plan.identity()
    worker = Worker(plan)
    folder = ResultsFolder(out, identity)
    folder.begin(resume=resume, force=force)
    if folder.is_complete:
        return folder.results()
    started_s = time.monotonic()
    units = worker.units()
    todo = [unit for unit in units if not folder.is_done(unit.name)]
    counted = _Counted(sum(len(u.indices) for u in units), sum(len(u.indices) for u in units if u not in todo),
                       progress)
    run_units(plan, folder, worker, todo, jobs, counted)
    wall_s = time.monotonic() - started_s
    return _finish(plan, folder, worker, units, identity, {
        "jobs": jobs, "wall_s": round(wall_s, 3), "frames_done": sum(len(u.indices) for u in todo)})


class _Counted:
    """Adds up frames for the progress."""

    def __init__(self, total: int, done: int, progress: Progress) -> None:
        self._total, self._done, self._progress = total, 0, progress
        self(done)

    def __call__(self, frames: int) -> None:
        self._done += frames
        self._progress(self._done, self._total)


def _finish(plan: EvaluationPlan, folder: ResultsFolder, worker: Worker, units: list[Unit],
            identity: dict[str, Any], speed: dict[str, Any]) -> dict[str, Any]:
    """Records, figures and times of an evaluation whose pieces are all there."""
    config, cells, times = worker.engine.config, [], []
    labels = [{"policy": v.policy, "budget": v.budget.label} for v in plan_variants(plan)]
    for corruption in plan.corruptions:
        columns, _ = folder.read_units([u.name for u in units if u.corruption == corruption])
        repeats, timed = split_times(columns)
        write_columns(folder.path / RECORDS / f"{corruption}.npz", repeats)
        write_columns(folder.path / TIMES / f"{corruption}.npz", timed)
        cells += [{"corruption": corruption, **label, **Cell(repeats, v, config, plan.seed).figures()}
                  for v, label in enumerate(labels)]
        times += [{"corruption": corruption, **entry} for entry in describe_times(timed, labels)]
    results = {**identity, "described_model": describe_model(config), "source": _source(plan, worker, columns),
               "cells": cells}
    folder.finish(results, {**speed, "frames_per_s": round(speed["frames_done"] / max(speed["wall_s"], 1e-9), 3),
                            "network": times, "machine": _machine(worker)})
    return folder.results()


def _source(plan: EvaluationPlan, worker: Worker, columns: Columns) -> dict[str, Any]:
    return {"kind": plan.kind, "split": plan.split, "frames_there": worker.frames_there,
            "frames_used": len(columns["index"]), "scenes": sorted(set(columns["scene"].tolist()))}


def _machine(worker: Worker) -> dict[str, Any]:
    peak_kb = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"device": device_name(worker.engine.device), "cores": os.cpu_count(), "threads": torch.get_num_threads(),
            "torch": torch.__version__, "python": platform.python_version(),
            "peak_memory_mb": round(peak_kb / 1024, 1)}
