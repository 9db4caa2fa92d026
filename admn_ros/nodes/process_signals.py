# SPDX-License-Identifier: Apache-2.0
"""Start of a node's process, and Ctrl-C from its first second to its last.

Importing the libraries takes seconds on a busy machine. There is nothing to clean up then, so a signal ends the
process at once. Later the node cleans up, within a limit: launch sends harder signals after five seconds.
"""

from __future__ import annotations

import importlib
import os
import signal
import threading
from types import FrameType

PROGRAMS = {"feed": "trials.feed", "governor": "governor.node", "perception": "perception.node",
            "replay": "apps.replay", "simulator": "apps.simulator", "watch": "apps.watch"}
"""Module below `admn_ros.nodes` of each node that `ros2 run` starts by name."""
SHUTDOWN_LIMIT_S = 1.5
"""Longest time for the clean-up after a signal, in seconds."""


def start(program: str) -> int:
    """Import the module of one of `PROGRAMS`, run it, and return its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit)
    run = importlib.import_module(f"admn_ros.nodes.{PROGRAMS[program]}").main
    return int(run())


def handle_signals() -> None:
    """Raise KeyboardInterrupt on Ctrl-C, also in a process that a shell started in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def limit_shutdown(exit_code: int) -> threading.Timer:
    """Start a timer that ends the process after `SHUTDOWN_LIMIT_S`, unless it is cancelled."""
    timer = threading.Timer(SHUTDOWN_LIMIT_S, os._exit, (exit_code,))
    timer.daemon = True
    timer.start()
    return timer


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(0)
