# SPDX-License-Identifier: Apache-2.0
"""Worker processes of a Dask cluster, in the place of those of this machine.

Each task runs in one process at a time and reads and writes files, so the workers need the same file system under the
same paths. The task of a worker that dies is run again by another one.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from admn_ros import __version__
from admn_ros.errors import AdmnError, InputError
from admn_ros.optional import optional

P = ParamSpec("P")
T = TypeVar("T")
ANSWER_S, WORKER_S = 10.0, 60.0
"""Longest waits for an answer of the scheduler, and then for a first worker."""


@contextmanager
def finishing(pool: Executor) -> Iterator[Executor]:
    """Wait at the end for the tasks of a pool; when the block raises, cancel those that have not begun instead.

    `with pool` would take back that tasks are cancelled.
    """
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


@contextmanager
def cluster_pool(scheduler: str, start: Callable[..., object] | None = None, *arguments: Any) -> Iterator[Executor]:
    """Open a pool of all workers of a cluster, also those that join later.

    When the block raises, tasks that have not begun are cancelled; a worker ends the task that it is at.

    Args:
        scheduler: address of the scheduler, such as `tcp://10.0.0.1:8786`.
        start: called in each process before its first task, with `arguments`.
        arguments: arguments of `start`; they are pickled.

    Raises:
        ConfigError: Dask is not installed.
        InputError: nothing answers at this address, or a worker cannot be used.
        AdmnError: the scheduler is lost, or a task has ended several workers.
    """
    distributed = optional("distributed")
    client = _connect(distributed, scheduler)
    try:
        _check_workers(client, scheduler)
        with finishing(_ClusterPool(client, _Job(uuid.uuid4().hex, Path.cwd(), start, arguments))) as pool:
            yield pool
    except distributed.scheduler.KilledWorker as error:
        raise AdmnError(f"scheduler {scheduler}: {error.allowed_failures + 1} workers have died at the same task, the "
                        f"last one {error.last_worker.address}; its log may say why") from error
    except CancelledError as error:
        raise AdmnError(f"scheduler {scheduler}: the connection is lost; what is finished is kept") from error
    finally:
        client.close()


@dataclass(frozen=True)
class _Job:
    """What a process needs before its first task of a pool.

    Attributes:
        name: unique name of the pool.
        folder: working directory that relative paths are meant from.
        start, arguments: see `cluster_pool`.
    """

    name: str
    folder: Path
    start: Callable[..., object] | None
    arguments: tuple[Any, ...]


class _ClusterPool(Executor):
    """Executor of Dask whose tasks are preceded by the start of their process."""

    def __init__(self, client: Any, job: _Job) -> None:
        # Not pure: two tasks with equal arguments are two tasks.
        self._executor, self._job = client.get_executor(pure=False), job

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        found: Future[T] = Future()
        # Dask repeats also a finished task of a worker that dies, for as long as its own future exists.
        self._executor.submit(_run, self._job, function, args, kwargs).add_done_callback(partial(_pass_on, found))
        return found

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._executor.shutdown(wait=wait and not cancel_futures)


def _pass_on(found: Future[T], ended: Future[T]) -> None:
    """Give a future the outcome of another one."""
    if ended.cancelled():
        found.cancel()
        found.set_running_or_notify_cancel()
    elif (error := ended.exception()) is not None:
        found.set_exception(error)
    else:
        found.set_result(ended.result())


class _Process:
    """State of a worker process."""

    job = ""
    one_at_a_time = threading.Lock()


def _run(job: _Job, function: Callable[..., T], arguments: tuple[Any, ...], named: dict[str, Any]) -> T:
    """Run a task in a worker process, after its start."""
    with _Process.one_at_a_time:
        if _Process.job != job.name:
            _Process.job = ""
            try:
                os.chdir(job.folder)
            except OSError as error:
                raise InputError(str(job.folder), f"{error.strerror} on a worker",
                                 "a folder that this machine and all workers share") from error
            if job.start is not None:
                job.start(*job.arguments)
            _Process.job = job.name
        return function(*arguments, **named)


def _connect(distributed: Any, scheduler: str) -> Any:
    # A worker that dies is no matter, and a lost scheduler becomes one line of ours.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        distributed.comm.get_address_host_port(scheduler)   # a client that was refused its address prints a traceback
        return distributed.Client(scheduler, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError("scheduler", scheduler, "the address of a Dask scheduler that answers, such as "
                                                 f"tcp://10.0.0.1:8786 ({error})") from error


def _check_workers(client: Any, scheduler: str) -> None:
    """Raise an `InputError` unless there are workers, each with one thread and with this version of the package."""
    try:
        client.wait_for_workers(1, timeout=WORKER_S)
    except TimeoutError as error:
        raise InputError("scheduler", f"{scheduler} without workers",
                         f"one with workers (dask worker {scheduler} --nthreads 1)") from error
    for address, threads in client.nthreads().items():
        if threads != 1:
            raise InputError(f"worker {address}", f"{threads} threads", "1 (--nthreads 1); start more workers instead")
    for address, found in client.run(_version, on_error="return").items():
        if found != __version__:
            raise InputError(f"worker {address}", f"admn_ros {found}", f"admn_ros {__version__}, as here")


def _version() -> str:
    return __version__
