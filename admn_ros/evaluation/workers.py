# SPDX-License-Identifier: Apache-2.0
"""Units of an evaluation, run in this process or in several. Neither number nor order of processes changes a result."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from admn_ros.evaluation.bag_source import BagSource
from admn_ros.evaluation.contenders import policy_contenders, run_contenders
from admn_ros.evaluation.dataset_source import DatasetSource
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.results_folder import ResultsFolder
from admn_ros.evaluation.source import EvaluationSource, OnFrames, Unit
from admn_ros.worker_process import worker_pool

POLL_S = 0.2


def open_source(plan: EvaluationPlan) -> EvaluationSource:
    """Open the source of a plan.

    Raises:
        InputError: a source or the model cannot be used.
    """
    return BagSource(plan) if plan.kind == "bag" else DatasetSource(plan)


def run_unit(plan: EvaluationPlan, source: EvaluationSource, unit: Unit, folder: ResultsFolder,
             on_frames: OnFrames) -> None:
    """Read the frames of a unit, run all contenders on them, and write the records.

    Raises:
        InputError: a source cannot be used, or the folder cannot be written.
    """
    budgets = source.budgets(unit.source)
    contenders = policy_contenders(plan, source.engine, budgets)
    with folder.unit(unit.name) as writer:
        frames = source.frames(unit, budgets)
        for columns in run_contenders(frames, contenders, source.engine.config, on_frames):
            writer.add(columns)
        writer.describe(source.metadata(unit))


def run_units(plan: EvaluationPlan, source: EvaluationSource, todo: Sequence[Unit], folder: ResultsFolder, jobs: int,
              on_frames: OnFrames) -> None:
    """Run units, in this process or in `jobs` processes.

    Raises:
        AdmnError: the first error of any unit; the other units are cancelled.
    """
    if jobs == 1 or len(todo) < 2:
        for unit in todo:
            run_unit(plan, source, unit, folder, on_frames)
        return
    done = multiprocessing.get_context("spawn").Value("q", 0)
    with worker_pool(min(jobs, len(todo)), _start, plan, folder, done) as pool:
        waiting = {pool.submit(_run, unit) for unit in todo}
        reported = 0
        while waiting:
            finished, waiting = wait(waiting, POLL_S, FIRST_COMPLETED)
            for future in finished:
                future.result()
            now = done.value
            on_frames(now - reported)
            reported = now


class _Process:
    """State of a worker process between its units."""

    plan: EvaluationPlan
    source: EvaluationSource
    folder: ResultsFolder
    done: Synchronized[int]


def _start(plan: EvaluationPlan, folder: ResultsFolder, done: Any) -> None:
    _Process.plan, _Process.source, _Process.folder, _Process.done = plan, open_source(plan), folder, done


def _run(unit: Unit) -> None:
    run_unit(_Process.plan, _Process.source, unit, _Process.folder, _count)


def _count(frames: int) -> None:
    with _Process.done.get_lock():
        _Process.done.value += frames
