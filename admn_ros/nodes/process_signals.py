# SPDX-License-Identifier: Apache-2.0
"""Start of a program of this package, and Ctrl-C and SIGTERM from its first line to its last.

No signal raises an exception, because a KeyboardInterrupt in the middle of rclpy's C++ code becomes another error. A
signal writes a byte to a pipe instead. A thread reads it, whatever the main thread is busy with, and calls the stop
actions. Importing the libraries takes seconds on a busy machine; there is nothing to clean up then, and the process
ends at once. Later signals do nothing more.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from admn_ros.errors import AdmnError
from admn_ros.requirements import check_requirements

PROGRAMS = {"demo": "apps.demo", "faults": "trials.faults", "feed": "trials.feed", "governor": "governor.node",
            "latency_benchmark": "trials.latency_benchmark", "perception": "perception.node", "replay": "apps.replay",
            "simulator": "apps.simulator", "soak": "trials.soak", "sync_benchmark": "trials.sync_benchmark",
            "watch": "apps.watch"}
"""Module below `admn_ros.nodes` of each program that `ros2 run` starts by name."""
END_WITH_PARENT = "ADMN_END_WITH_PARENT"
"""Environment variable that the launch file sets for its nodes. launch leaves its processes behind when it gets SIGTERM
or is killed, where a supervisor stops launch alone."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
PR_SET_PDEATHSIG = 1  # linux/prctl.h
SHUTDOWN_LIMIT_S = 1.5
"""Longest time for the clean-up after a signal, in seconds. launch sends harder signals after five."""

_caught = threading.Event()
_requested = threading.Event()
_unlimited = threading.Event()
_lock = threading.Lock()
_actions: list[Callable[[], None]] = []


def start(program: str) -> int:
    """Import the module of one of `PROGRAMS`, run it, and end the process with its exit code.

    The process ends without the destructors of the libraries, which can take long or crash, so this does not return.
    """
    if os.environ.get(END_WITH_PARENT) == "1":
        _end_with_parent()
    catch_signals()
    code = 0
    try:
        check_requirements()
        code = int(importlib.import_module(f"admn_ros.nodes.{PROGRAMS[program]}").main() or 0)
    except AdmnError as error:
        print(error, file=sys.stderr)
        code = 2
    except KeyboardInterrupt:  # `pause` was interrupted, and all is cleaned up
        pass
    except SystemExit as end:  # of argparse
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:  # the reader of a pipe has ended, such as head
        code = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    _end(code)
    return code


def catch_signals() -> None:
    """Turn SIGINT and SIGTERM into a request to stop, also where a shell or a parent process ignores or blocks them.

    Call it on the main thread. Until the first call of `on_stop` a signal ends the process at once, with exit code 0.
    """
    if _caught.is_set():
        return
    _caught.set()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, _ignore)
    threading.Thread(target=_watch, args=(reader,), name="signals", daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def on_stop(action: Callable[[], None]) -> None:
    """Call a function once when a stop is requested, on another thread; at once if it was requested already.

    From then on a signal leaves `SHUTDOWN_LIMIT_S` to the program to end by itself.
    """
    with _lock:
        late = _requested.is_set()
        if not late:
            _actions.append(action)
    if late:
        action()


def stop_requested() -> bool:
    """Return whether a signal has arrived."""
    return _requested.is_set()


def pause(seconds: float) -> None:
    """Sleep.

    Raises:
        KeyboardInterrupt: a signal has arrived. The caller has the time that it needs to write its results.
    """
    if _requested.wait(seconds):
        lift_limit()
        raise KeyboardInterrupt


def lift_limit() -> None:
    """Give the program the time that it needs to end after a signal."""
    _unlimited.set()


def _end_with_parent() -> None:
    """Ask Linux for a SIGTERM when the parent process ends, however it ends."""
    with contextlib.suppress(AttributeError):  # another system
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _watch(reader: int) -> None:
    while not _requested.is_set():
        if not any(number in SIGNALS for number in os.read(reader, 64)):
            continue
        with _lock:
            _requested.set()
            actions = list(_actions)
        if not actions:
            _end(0)
        for action in actions:
            action()
    if not _unlimited.wait(SHUTDOWN_LIMIT_S):
        _end(0)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing in the main thread: the pipe has the signal."""


def _end(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # a closed pipe
    os._exit(code)
