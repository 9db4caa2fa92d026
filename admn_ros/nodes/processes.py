# SPDX-License-Identifier: Apache-2.0
"""Nodes of this package as child processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from admn_ros.nodes.process_signals import SIGNALS, on_stop

STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process.

    Attributes:
        resident: resident memory, in MiB.
        shared: part of it in shared segments (images in transit), in MiB.
    """

    resident: float
    shared: float

    @property
    def own(self) -> float:
        """Memory that the process allocated itself, in MiB."""
        return self.resident - self.shared


class NodeProcess:
    """A node in a process of its own, until it is stopped or killed.

    Args:
        module: name of the node; see `process_signals.PROGRAMS`.
        log_level: least severe log messages shown.
        parameters: parameters of the node.
    """

    def __init__(self, module: str, log_level: str = "error", **parameters: object) -> None:
        command = [sys.executable, "-m", "admn_ros.nodes", module, "--ros-args", "--log-level", log_level]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
        # The process inherits the blocked signals and unblocks them when it handles them: one that comes earlier, while
        # Python starts, waits. In its own session, so that Ctrl-C reaches only this process, which passes it on.
        on_stop(lambda: None)  # a stop while the process starts leaves this program the time to pass it on
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._process = subprocess.Popen(command, start_new_session=True)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        on_stop(self._interrupt)

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Exit code as in `subprocess`; None while the process is running."""
        return self._process.poll()

    def memory(self) -> Memory:
        """Return the memory in use; zeros after the process has ended."""
        try:
            lines = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii").splitlines()
        except OSError:
            return Memory(0.0, 0.0)
        kib = {name: float(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)
               if name in ("VmRSS", "RssShmem")}
        return Memory(kib.get("VmRSS", 0.0) / 1024, kib.get("RssShmem", 0.0) / 1024)

    def cpu_s(self) -> float:
        """Return the CPU time of all threads, in seconds; 0 after the process has ended."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """Kill the process, as in a crash, without clean-up."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Stop the process as Ctrl-C does, and return its exit code."""
        if self.running:
            self._interrupt()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.wait()

    def _interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)


def machine() -> dict[str, object]:
    """Return the number of processors and the load averages of 1, 5 and 15 minutes, for reports."""
    return {"processors": os.cpu_count(), "load": [round(x, 2) for x in os.getloadavg()]}
