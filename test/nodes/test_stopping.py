# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM end every program at any moment: cleanly, without a traceback. Real processes."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from admn_ros.nodes.process_signals import END_WITH_PARENT
from helpers.described_launch import describe

LAUNCH = Path(__file__).resolve().parents[2] / "launch" / "gdtm.launch.py"
MOMENTS = random.Random(5)
NODES = {"perception": ("-p", "autostart:=true", "-p", "model:=untrained:gdtm-tiny"),
         "governor": ("-p", "autostart:=true"), "simulator": ()}


def start(node: str, *arguments: str, ignoring: bool = False) -> subprocess.Popen[str]:
    """A node in its own process; `ignoring`: as shells start what runs in the background, which ignores Ctrl-C."""
    shell = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"] if ignoring else []
    return subprocess.Popen([*shell, sys.executable, "-m", "admn_ros.nodes", node, "--ros-args", *arguments],
                            stderr=subprocess.PIPE, text=True)


def ends_well(process: subprocess.Popen[str]) -> str:
    """Wait until it has ended, longer than launch would; return its standard error."""
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors, errors
    return errors


def handles_signals(number: int | str) -> bool:
    """Whether a process handles SIGTERM. Before our first line, while Python itself starts, signals are Python's."""
    status = Path(f"/proc/{number}/status").read_text()
    return bool(int(re.search(r"^SigCgt:\s*(\w+)", status, re.M).group(1), 16) & 1 << (signal.SIGTERM - 1))


def begun(process: subprocess.Popen[str]) -> None:
    """Wait for the first line of ours."""
    while process.poll() is None and not handles_signals(process.pid):
        time.sleep(0.005)


def _children(process: subprocess.Popen[str]) -> list[str]:
    """Wait for child processes, and return their numbers."""
    while not (found := Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()):
        assert process.poll() is None
        time.sleep(0.01)
    return found


@pytest.mark.parametrize(("node", "after_s"), [
    ("perception", 0.0), ("perception", MOMENTS.uniform(0.0, 1.0)), ("perception", MOMENTS.uniform(1.0, 3.0)),
    ("perception", MOMENTS.uniform(3.0, 6.0)), ("governor", MOMENTS.uniform(0.0, 3.0)),
    ("simulator", MOMENTS.uniform(0.0, 3.0))])
def test_ctrl_c_at_any_moment_of_the_start_ends_it(node: str, after_s: float) -> None:
    process = start(node, *NODES[node])
    begun(process)
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    ends_well(process)


def test_ctrl_c_ends_what_a_shell_started_in_the_background() -> None:
    process = start("governor", *NODES["governor"], ignoring=True)
    seen = ""
    while "active" not in seen:
        line = process.stderr.readline()
        assert line, f"it ended by itself: {seen}"
        seen += line
    process.send_signal(signal.SIGINT)
    ends_well(process)


BUSY = """
import time
from admn_ros.nodes.run_node import Program, run_node
from rclpy.node import Node

class Busy(Node):
    def __init__(self):
        super().__init__("busy")
        self.create_timer(0.01, self.work)

    def work(self):
        print("begun", flush=True)
        time.sleep(0.3)
        print("ended", flush=True)

    def destroy_node(self):
        print("clean", flush=True)
        super().destroy_node()

raise SystemExit(run_node(Busy, Program("busy", "", ()), []))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_callback_is_not_interrupted_and_further_signals_do_nothing(number: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    for _ in range(3):
        process.send_signal(number)
        time.sleep(0.05)
    seen, errors = process.communicate(timeout=60)
    assert (process.returncode, seen, errors) == (0, "ended\nclean\n", "")


@pytest.mark.slow
def test_a_command_passes_sigterm_on_to_its_node() -> None:
    process = subprocess.Popen([sys.executable, "-m", "admn_ros.cli", "watch"], stderr=subprocess.PIPE, text=True)
    (node,) = _children(process)
    while not handles_signals(node):
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    assert ends_well(process) == "" and not Path(f"/proc/{node}").exists()


PARENT = """
import subprocess, sys
print(subprocess.Popen([sys.executable, "-m", "admn_ros.nodes", "watch"]).pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_node_of_the_launch_file_does_not_outlive_launch(number: signal.Signals) -> None:
    assert describe(LAUNCH).nodes[0].additional_env == {END_WITH_PARENT: "1"}
    launch = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, END_WITH_PARENT: "1"})
    node = launch.stdout.readline().strip()
    while not handles_signals(node):
        time.sleep(0.005)
    launch.send_signal(number)
    launch.communicate(timeout=60)
    state = Path(f"/proc/{node}/stat")  # nobody collects the exit code in a container without an init process
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] not in "ZX":
        time.sleep(0.005)


@pytest.mark.slow
def test_a_trial_ends_and_stops_the_node_that_it_started(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "admn_ros.nodes", "faults", "--out", str(tmp_path)],
                               stderr=subprocess.PIPE, text=True)
    found = _children(process)
    process.send_signal(signal.SIGTERM)
    assert ends_well(process) == ""
    assert not any(Path(f"/proc/{child}").exists() for child in found)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_node_whose_autostart_fails_ends_with_an_exit_code() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "admn_ros.nodes", "governor", "--ros-args", "-p", "autostart:=true", "-p",
         "model:=nosuch"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "on_configure: nosuch" in done.stderr


def test_an_unknown_node_is_one_line() -> None:
    done = subprocess.run([sys.executable, "-m", "admn_ros.nodes", "nosuch"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 2 and "found nosuch; allowed: demo, faults, feed, governor" in done.stderr
    assert "Traceback" not in done.stderr
