# SPDX-License-Identifier: Apache-2.0
"""Workers of a pool, without and with a parent."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from admn_ros.errors import InputError
from admn_ros.worker_process import worker_pool

PARENT = """
import os, time
from admn_ros.worker_process import worker_pool

if __name__ == "__main__":
    with worker_pool(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        WAIT
"""


def start(tmp_path: Path, wait: str) -> tuple[subprocess.Popen[str], int]:
    """Start a parent; returns it and the process of its idle worker."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT.replace("WAIT", wait))
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent, worker = start(tmp_path, "time.sleep(600)")
    os.kill(worker, 0)  # it lives
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline_s = time.monotonic() + 60
    while Path(f"/proc/{worker}/stat").exists() and Path(f"/proc/{worker}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline_s, "the worker lives on"
        time.sleep(0.05)


def test_a_pool_ends_as_ever(tmp_path: Path) -> None:
    parent, _ = start(tmp_path, "pass")
    assert parent.wait(timeout=60) == 0


def test_after_an_error_no_further_task_begins(tmp_path: Path) -> None:
    files = [tmp_path / str(number) for number in range(40)]
    with pytest.raises(ZeroDivisionError), worker_pool(1) as pool:
        tasks = [pool.submit(file.touch) for file in files]
        tasks[0].result()
        raise ZeroDivisionError
    for task in tasks:
        assert task.cancelled() or task.result() is None
    assert sum(file.exists() for file in files) < len(files)


def test_each_process_starts_with_its_arguments(tmp_path: Path) -> None:
    with worker_pool(1, os.chdir, tmp_path) as pool:
        assert pool.submit(os.getcwd).result() == str(tmp_path)


@pytest.mark.parametrize("program", sorted((Path(__file__).parents[1] / "scripts").iterdir()), ids=lambda p: p.name)
def test_a_worker_of_an_installed_program_does_not_run_it_again(program: Path) -> None:
    runpy.run_path(str(program), run_name="__mp_main__")  # what a spawned process does first


def test_a_worker_that_is_killed_is_one_line() -> None:
    with pytest.raises(InputError, match="worker processes: found one of 1 that was killed"), \
            worker_pool(1) as pool:
        pool.submit(os._exit, 1).result()
