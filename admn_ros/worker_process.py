# SPDX-License-Identifier: Apache-2.0
"""Worker processes of pools."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from admn_ros.cluster import cluster_pool, finishing
from admn_ros.errors import InputError


@contextmanager
def worker_pool(jobs: int, start: Callable[..., object] | None = None, *arguments: Any,
                scheduler: str | None = None) -> Iterator[Executor]:
    """Open a pool of worker processes: of this machine, which end with this process, or of a Dask cluster.

    When the block raises, tasks that have not begun are cancelled, and nothing waits for the others.

    Args:
        jobs: number of processes; a cluster uses all that it has.
        start: called in each process before its first task, with `arguments`.
        arguments: arguments of `start`; multiprocessing values are shared, on this machine only.
        scheduler: address of the scheduler of a cluster; None for this machine.

    Raises:
        AdmnError: the cluster cannot be used, see `cluster_pool`.
        InputError: a process of this machine was killed, mostly for its memory.
    """
    if scheduler is not None:
        with cluster_pool(scheduler, start, *arguments) as cluster:
            yield cluster
        return
    # Neither torch's threads nor OpenGL contexts survive a fork.
    context = multiprocessing.get_context("spawn")
    try:
        with finishing(ProcessPoolExecutor(jobs, context, _begin, (start, arguments))) as pool:
            yield pool
    except BrokenProcessPool as error:
        raise InputError("worker processes", f"one of {jobs} that was killed, perhaps for lack of memory",
                         "processes that end by themselves; use fewer") from error


def _begin(start: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    # A worker holds the pipe of its tasks open itself, so it would wait for ever for the next task of a parent that
    # was killed.
    threading.Thread(target=_wait_and_end, name="end_with_parent", daemon=True).start()
    if start is not None:
        start(*arguments)


def _wait_and_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
