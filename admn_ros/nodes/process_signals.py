# SPDX-License-Identifier: Apache-2.0
"""The first and the last seconds of a node's process: Ctrl-C is obeyed in them, too.

Importing the libraries takes seconds on a busy machine. There is nothing to tidy up then, so the process just ends.
Later on the node tidies up, but not for ever: who started it sends harder signals after five seconds.
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
LEAVE_S = 1.5
"""Tidying up is over after this."""


def start(program: str) -> int:
    """Import the module of one of `PROGRAMS` and run it; returns its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    run = importlib.import_module(f"admn_ros.nodes.{PROGRAMS[program]}").main
    return int(run())


def obey_signals() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt, also for a process that was started in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def leave_soon(exit_code: int) -> threading.Timer:
    """End the process in `LEAVE_S`, whatever still runs then, unless the timer is cancelled."""
    timer = threading.Timer(LEAVE_S, os._exit, (exit_code,))
    timer.daemon = True
    timer.start()
    return timer


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(0)
