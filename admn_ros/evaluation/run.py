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
from admn_ros.evaluation.records import Columns, join, split_times, write_columns
from admn_ros.evaluation.results_folder import RECORDS, TIMES, ResultsFolder
from admn_ros.evaluation.summary import Cell, describe_model, describe_times
from admn_ros.evaluation.work_units import Replay, Unit
from admn_ros.evaluation.workers import do_units, open_replay
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
    replay = open_replay(plan)
    folder = ResultsFolder(out, identity)
    folder.begin(resume=resume, force=force)
    if folder.is_complete:
        return folder.results()
    started_s, units = time.monotonic(), replay.units()
    todo = [unit for unit in units if not folder.is_done(unit.name)]
    counted = _Counted(sum(u.frames for u in units), sum(u.frames for u in units if u not in todo), progress)
    do_units(plan, folder, replay, todo, jobs, counted)
    wall_s = max(time.monotonic() - started_s, 1e-6)
    recorded_s = sum(folder.said_of(unit.name).get("recorded_s", 0.0) for unit in todo)
    return _finish(plan, folder, replay, units, identity, {
        "jobs": jobs, "wall_s": round(wall_s, 3), "frames_done": counted.now,
        "frames_per_s": round(counted.now / wall_s, 3), "variants_per_frame": len(replay.labels()),
        "times_real_time": round(recorded_s / wall_s, 3) if recorded_s else None})


class _Counted:
    """Adds up frames for the progress."""

    def __init__(self, total: int, before: int, progress: Progress) -> None:
        self._total, self._before, self._progress, self.now = total, before, progress, 0
        self(0)

    def __call__(self, frames: int) -> None:
        self.now += frames
        done = self._before + self.now
        self._progress(done, max(self._total, done))


def _finish(plan: EvaluationPlan, folder: ResultsFolder, replay: Replay, units: list[Unit],
            identity: dict[str, Any], speed: dict[str, Any]) -> dict[str, Any]:
    """Records, figures and times of an evaluation whose pieces are all there."""
    config, labels = replay.engine.config, replay.labels()
    cells: list[dict[str, Any]] = []
    times: list[dict[str, Any]] = []
    said: dict[str, Any] = {}
    for corruption in plan.corruptions:
        columns, about = _gather(folder, replay, [u for u in units if u.corruption == corruption])
        repeats, timed = split_times(columns)
        write_columns(folder.path / RECORDS / f"{corruption}.npz", repeats)
        write_columns(folder.path / TIMES / f"{corruption}.npz", timed)
        cells += [{"corruption": corruption, **label, **Cell(repeats, v, config, plan.seed, rival).figures()}
                  for v, (label, rival) in enumerate(zip(labels, _rivals(plan, labels), strict=True))]
        times += [{"corruption": corruption, **entry} for entry in describe_times(timed, labels)]
        said |= about
    results = {**identity, "described_model": describe_model(config), "source": replay.describe(), "pieces": said,
               "cells": cells}
    folder.finish(results, {**speed, "network": times, "machine": _machine(replay)})
    return folder.results()


def _rivals(plan: EvaluationPlan, labels: list[dict[str, Any]]) -> list[int | None]:
    """For each variant the first policy's with the same budget."""
    budgets = len(labels) // len(plan.policies)
    return [None if v < budgets else v % budgets for v in range(len(labels))]


def _gather(folder: ResultsFolder, replay: Replay, units: list[Unit]) -> tuple[Columns, dict[str, Any]]:
    """Columns of a corruption with the truth in them, and what was said of its bags."""
    parts: list[Columns] = []
    said: dict[str, Any] = {}
    for unit in units:
        parts.append(replay.with_truth(unit, folder.read_unit(unit.name)))
        if not unit.indices:
            said[unit.name] = folder.said_of(unit.name)
    return join(parts), said


def _machine(replay: Replay) -> dict[str, Any]:
    peak_kb = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"device": device_name(replay.engine.device), "cores": os.cpu_count(), "threads": torch.get_num_threads(),
            "torch": torch.__version__, "python": platform.python_version(),
            "peak_memory_mb": round(peak_kb / 1024, 1)}
