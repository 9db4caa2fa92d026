# SPDX-License-Identifier: Apache-2.0
"""A Dask cluster of real processes on this machine: a scheduler and workers that may die in the middle of a unit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

DEATH = "death"
"""File in the working directory of the command: the first worker that has evaluated frames takes it away and dies."""
PRELOAD = f"""
import os, signal
from admn_ros.evaluation import workers

def run_unit(plan, source, unit, folder, on_frames, run=workers.run_unit):
    def count(frames):
        try:
            os.unlink({DEATH!r})
        except FileNotFoundError:
            on_frames(frames)
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    run(plan, source, unit, folder, count)

workers.run_unit = run_unit
"""


class DaskCluster:
    """Processes of a cluster; their logs are in the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._processes = folder, list[subprocess.Popen[bytes]]()
        (folder / "preload.py").write_text(PRELOAD)
        file = folder / "scheduler.json"
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        while not file.exists() or not file.read_text().endswith("}"):   # it is written in steps
            assert self._processes[0].poll() is None, (folder / "0.log").read_text()
            time.sleep(0.02)
        self.address: str = json.loads(file.read_text())["address"]

    def add_worker(self, *options: str) -> None:
        """Start a worker, which joins later. It is not started again when it dies."""
        self._start("worker", self.address, "--no-nanny", "--local-directory", str(self._folder), *options)

    def add_mortal_worker(self) -> None:
        """Start a worker that kills itself where it finds the file `DEATH`."""
        self.add_worker("--nthreads", "1", "--preload", str(self._folder / "preload.py"))

    def _start(self, *words: str) -> None:
        with (self._folder / f"{len(self._processes)}.log").open("wb") as log:
            self._processes.append(subprocess.Popen(
                [sys.executable, "-m", "dask", *words, "--no-dashboard"], stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}))

    def close(self) -> None:
        """Kill all processes."""
        for process in self._processes:
            process.kill()
            process.wait()
