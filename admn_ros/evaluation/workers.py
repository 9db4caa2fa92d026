# SPDX-License-Identifier: Apache-2.0
"""Pieces of an evaluation, done here or in processes; neither their number nor their order changes a figure."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from admn_ros.evaluation.bag_replay import BagReplay
from admn_ros.evaluation.dataset_replay import DatasetReplay
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.results_folder import ResultsFolder
from admn_ros.evaluation.work_units import Replay, Told, Unit

LOOK_EVERY_S = 0.2


def open_replay(plan: EvaluationPlan) -> Replay:
    """The replay of a plan.

    Raises:
        InputError: a source or the model cannot be used.
    """
    return BagReplay(plan) if plan.kind == "bag" else DatasetReplay(plan)


def do_unit(replay: Replay, unit: Unit, folder: ResultsFolder, told: Told) -> None:
    """Do a piece and write it.

    Raises:
        InputError: a source cannot be used, or the folder not written.
    """
    started_s = time.monotonic()
    folder.write_unit(unit.name, replay.run(unit, told), lambda: {
        "said": replay.said(unit), "wall_s": round(time.monotonic() - started_s, 3)})


def do_units(plan: EvaluationPlan, folder: ResultsFolder, replay: Replay, todo: Sequence[Unit], jobs: int,
             told: Told) -> None:
    """Do pieces, in this process or in several.

    Raises:
        AdmnError: the first one of any piece; the others are given up.
    """
    if jobs == 1 or len(todo) < 2:
        for unit in todo:
            do_unit(replay, unit, folder, told)
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

    replay: Replay
    folder: ResultsFolder
    done: Synchronized[int]


def _start(plan: EvaluationPlan, folder: ResultsFolder, done: Any) -> None:
    _Process.replay, _Process.folder, _Process.done = open_replay(plan), folder, done


def _do(unit: Unit) -> None:
    do_unit(_Process.replay, unit, _Process.folder, _count)


def _count(frames: int) -> None:
    with _Process.done.get_lock():
        _Process.done.value += frames
