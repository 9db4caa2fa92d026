# SPDX-License-Identifier: Apache-2.0
"""What a network runs on: device, threads, and whether measured costs were measured there."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable
from pathlib import Path

import torch

from admn_ros.budget.costs import MeasuredCosts
from admn_ros.errors import InputError


def pick_device(name: str) -> torch.device:
    """The device of `auto`, `cpu` or `cuda`.

    Raises:
        InputError: another name, or `cuda` where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError("device", repr(name), "auto, cpu, cuda")
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise InputError("device", "cuda, which PyTorch does not find", "auto, cpu")
    return torch.device("cuda" if found and name != "cpu" else "cpu")


def use_threads(threads: int) -> int:
    """Set this process's CPU threads for networks; 0 takes half the cores, at most four. Returns the number.

    On a machine that does other work too, more threads wait for one another, and
    frames are dropped meanwhile. NumPy's products, of which preprocessing has small ones, get one thread.
    """
    chosen = threads or max(1, min(4, (os.cpu_count() or 1) // 2))
    torch.set_num_threads(chosen)
    for library in _openblas():
        library(1)
    return chosen


def _openblas() -> list[Callable[[int], None]]:
    """What sets the threads of each OpenBLAS in this process, such as the one in NumPy's wheels."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return []
    found = []
    for path in {line.split(maxsplit=5)[-1] for line in maps if "openblas" in line}:
        try:
            library = ctypes.CDLL(path)
        except OSError:  # deleted meanwhile, by an update
            continue
        names = (f"{start}openblas_set_num_threads{end}" for start in ("scipy_", "") for end in ("64_", ""))
        found += [getattr(library, name) for name in names if hasattr(library, name)]
    return found


def mismatch(measured: MeasuredCosts | None, device: torch.device) -> str:
    """How the place where costs were measured differs from here, in one sentence; empty if it does not."""
    if measured is None:
        return ""
    differences = []
    if measured.device != device_name(device):
        differences.append(f"on {measured.device}, not on {device_name(device)}")
    if device.type == "cpu" and measured.threads != torch.get_num_threads():
        differences.append(f"with {measured.threads} threads, not {torch.get_num_threads()}")
    return f"costs.yaml was measured {' and '.join(differences)}: run `admn profile` here" if differences else ""


def device_name(device: torch.device) -> str:
    """Name of the processor, as costs.yaml records it."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"CPU {_cpu_model() or platform.machine()}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
