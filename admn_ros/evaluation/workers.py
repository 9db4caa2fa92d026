# SPDX-License-Identifier: Apache-2.0
"""Pieces of an evaluation, done here or in processes. Each is a function of the plan alone, so that neither their
number nor their order changes a figure."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from admn_ros.evaluation.budgets import ConstantBudget
from admn_ros.evaluation.dataset_replay import DatasetReplay
from admn_ros.evaluation.evaluator import Evaluator, Variant, variants_of
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.records import Columns, FrameRows
from admn_ros.evaluation.results_folder import ResultsFolder
from admn_ros.inference.engine import Engine

PIECE = 50
"""Samples in a piece: small enough that little is lost by an interruption."""
LOOK_EVERY_S = 0.2
Told = Callable[[int], None]


@dataclass(frozen=True)
class Unit:
    """A piece of work: samples of a dataset under one corruption."""

    name: str
    corruption: str
    indices: tuple[int, ...]


def dataset_units(corruptions: Sequence[str], indices: Sequence[int]) -> list[Unit]:
    """The pieces of a dataset, by corruption and in order."""
    return [Unit(f"{corruption}-{i // PIECE:05d}", corruption, tuple(indices[i:i + PIECE]))
            for corruption in corruptions for i in range(0, len(indices), PIECE)]


def plan_variants(plan: EvaluationPlan) -> list[Variant]:
    """Policies and budgets of a plan, in the order of the columns."""
    return variants_of(plan.policies, [ConstantBudget(limit, plan.unit) for limit in plan.budgets])


class Worker:
    """Does pieces: holds the model and the open dataset.

    Raises:
        InputError: the model or the dataset cannot be used.
    """

    def __init__(self, plan: EvaluationPlan) -> None:
        self._plan = plan
        self._data = DatasetReplay(plan)
        # One thread: sums in another order would differ in the last bits.
        self.engine = Engine(plan.model, plan.device, threads=1)
        self._evaluator = Evaluator(self.engine, plan_variants(plan), plan.rate_hz)
        self._data.check(self.engine.config)

    @property
    def frames_there(self) -> int:
        """Samples of the split."""
        return len(self._data)

    def units(self) -> list[Unit]:
        """All pieces."""
        return dataset_units(self._plan.corruptions, self._data.indices)

    def do(self, unit: Unit, folder: ResultsFolder, told: Told) -> None:
        """Do a piece and write it.

        Raises:
            InputError: a sample cannot be used, or the folder not written.
        """
        started_s = time.monotonic()

        def columns() -> Iterator[Columns]:
            rows = FrameRows(self.engine.config)
            for full in self._data.run(unit.corruption, list(unit.indices), self._evaluator, rows, told):
                yield full.take()

        folder.write_unit(unit.name, columns(), lambda: {
            "frames": len(unit.indices), "wall_s": round(time.monotonic() - started_s, 3)})


def run_units(plan: EvaluationPlan, folder: ResultsFolder, worker: Worker, todo: Sequence[Unit], jobs: int,
              told: Told) -> None:
    """Do pieces, in this process or in several.

    Raises:
        AdmnError: the first one of any piece; the others are given up.
    """
    if jobs == 1 or len(todo) < 2:
        for unit in todo:
            worker.do(unit, folder, told)
        return
    # Torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    done = context.Value("q", 0)
    with ProcessPoolExecutor(min(jobs, len(todo)), context, _start, (plan, folder, done)) as pool:
        waiting = {pool.submit(_do, unit) for unit in todo}
        reported = 0
        try:
            while waiting:
                finished, waiting = wait(waiting, LOOK_EVERY_S, FIRST_COMPLETED)
                for future in finished:
                    future.result()
                now = done.value
                told(now - reported)
                reported = now
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Process:
    """What a worker process holds between its pieces."""

    worker: Worker
    folder: ResultsFolder
    done: Synchronized[int]


def _start(plan: EvaluationPlan, folder: ResultsFolder, done: Any) -> None:
    _Process.worker, _Process.folder, _Process.done = Worker(plan), folder, done


def _do(unit: Unit) -> None:
    _Process.worker.do(unit, _Process.folder, _count)


def _count(frames: int) -> None:
    with _Process.done.get_lock():
        _Process.done.value += frames
