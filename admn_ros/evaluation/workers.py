# SPDX-License-Identifier: Apache-2.0
"""Units of an evaluation, run in this process or in several. Neither number nor order of processes changes a result."""

from __future__ import annotations

import multiprocessing
import os
import platform
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
              on_frames: OnFrames, scheduler: str | None = None) -> int:
    """Run units, in this process, in `jobs` processes, or in those of the Dask cluster of a scheduler.

    Returns:
        Number of processes.

    Raises:
        AdmnError: the first error of any unit; the other units are cancelled.
    """
    if scheduler is None and (jobs == 1 or len(todo) < 2):
        for unit in todo:
            run_unit(plan, source, unit, folder, on_frames)
        return 1
    jobs = min(jobs, len(todo))
    # Processes of other machines share no memory with this one: their frames are counted unit by unit.
    counter = multiprocessing.get_context("spawn").Value("q", 0) if scheduler is None else None
    with worker_pool(jobs, _start, plan, folder, counter, scheduler=scheduler) as pool:
        waiting = {pool.submit(_run, unit) for unit in todo}
        reported, finished_frames, processes = 0, 0, set[str]()
        while waiting:
            finished, waiting = wait(waiting, POLL_S, FIRST_COMPLETED)
            for future in finished:
                frames, process = future.result()
                finished_frames += frames
                processes.add(process)
            now = finished_frames if counter is None else counter.value
            on_frames(now - reported)
            reported = now
    return jobs if scheduler is None else len(processes)


class _Process:
    """State of a worker process between its units."""

    plan: EvaluationPlan
    source: EvaluationSource
    folder: ResultsFolder
    counter: Synchronized[int] | None


def _start(plan: EvaluationPlan, folder: ResultsFolder, counter: Any) -> None:
    _Process.plan, _Process.source, _Process.folder, _Process.counter = plan, open_source(plan), folder, counter


def _run(unit: Unit) -> tuple[int, str]:
    """Run a unit; return its number of frames, and the name of this process among all machines."""
    counted = 0

    def count(frames: int) -> None:
        nonlocal counted
        counted += frames
        if _Process.counter is not None:
            with _Process.counter.get_lock():
                _Process.counter.value += frames

    run_unit(_Process.plan, _Process.source, unit, _Process.folder, count)
    return counted, f"{platform.node()}:{os.getpid()}"
