# SPDX-License-Identifier: Apache-2.0
"""Nodes of this package in processes of their own, where faults and figures are real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process in MiB. shared: of it, segments that other processes made (images in transit)."""

    resident: float
    shared: float

    @property
    def own(self) -> float:
        """What the process itself allocated."""
        return self.resident - self.shared


class NodeProcess:
    """`python -m admn_ros.nodes MODULE` with parameters, running until it is stopped or killed."""

    def __init__(self, module: str, log_level: str = "error", **parameters: object) -> None:
        command = [sys.executable, "-m", "admn_ros.nodes", module, "--ros-args", "--log-level", log_level]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
        # In a session of its own: Ctrl-C is for who started it, and who started it ends it.
        self._process = subprocess.Popen(command, start_new_session=True)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """As of `subprocess`; None while it runs."""
        return self._process.poll()

    def memory(self) -> Memory:
        """What it holds now; zeros once it has ended."""
        try:
            lines = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii").splitlines()
        except OSError:
            return Memory(0.0, 0.0)
        kib = {name: float(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)
               if name in ("VmRSS", "RssShmem")}
        return Memory(kib.get("VmRSS", 0.0) / 1024, kib.get("RssShmem", 0.0) / 1024)

    def cpu_s(self) -> float:
        """Processor seconds that it has used, all threads; 0 once it has ended."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End it as a crash would: no tidying up."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End it as Ctrl-C would; returns its exit code."""
        if self.running:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.wait()


def keep_apart() -> None:
    """Stay on this machine, on a domain that robots and other runs do not use, unless the environment says else."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))


def machine() -> dict[str, object]:
    """What figures depend on: processors, and how much else ran (load averages of 1, 5 and 15 minutes)."""
    return {"processors": os.cpu_count(), "load": [round(x, 2) for x in os.getloadavg()]}
