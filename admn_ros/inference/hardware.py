# SPDX-License-Identifier: Apache-2.0
"""Device and threads of a network."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from admn_ros.budget.costs import MeasuredCosts
from admn_ros.errors import InputError


def pick_device(name: str) -> torch.device:
    """Return the device for `auto` (a GPU if there is one), `cpu` or `cuda`.

    Raises:
        InputError: the name is another one, or there is no GPU for `cuda`.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError("device", repr(name), "auto, cpu, cuda")
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise InputError("device", "cuda, which PyTorch does not find", "auto, cpu")
    return torch.device("cuda" if found and name != "cpu" else "cpu")


def cpu_precisions() -> tuple[Literal["float32", "bfloat16"], ...]:
    """Return the precisions in which this processor has matrix products: bfloat16 by AVX-512 or AMX."""
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    return ("float32", "bfloat16") if has else ("float32",)


def use_threads(threads: int) -> int:
    """Set the number of CPU threads for networks in this process, and return it.

    On a machine with other load, more threads wait for each other, and frames are dropped. Matrix products of NumPy,
    which are small in preprocessing, use one thread.

    Args:
        threads: number of threads; 0 for half of the cores, at most 4.
    """
    chosen = threads or max(1, min(4, (os.cpu_count() or 1) // 2))
    torch.set_num_threads(chosen)
    for library in _openblas():
        library(1)
    return chosen


def _openblas() -> list[Callable[[int], None]]:
    """Return the functions that set the threads of each OpenBLAS in this process, such as that of NumPy's wheels."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return []
    found = []
    for path in {line.split(maxsplit=5)[-1] for line in maps if "openblas" in line}:
        try:
            library = ctypes.CDLL(path)
        except OSError:  # deleted since, by an update
            continue
        names = (f"{start}openblas_set_num_threads{end}" for start in ("scipy_", "") for end in ("64_", ""))
        found += [getattr(library, name) for name in names if hasattr(library, name)]
    return found


def mismatch(measured: MeasuredCosts | None, device: torch.device, runtime: str = "torch") -> str:
    """Describe how the machine and the runtime of measured costs differ from those here; empty if they do not."""
    if measured is None:
        return ""
    differences = []
    if measured.runtime != runtime:
        differences.append(f"with {measured.runtime}, not with {runtime}")
    if measured.device != device_name(device):
        differences.append(f"on {measured.device}, not on {device_name(device)}")
    if device.type == "cpu" and measured.threads != torch.get_num_threads():
        differences.append(f"with {measured.threads} threads, not {torch.get_num_threads()}")
    return f"costs.yaml was measured {' and '.join(differences)}: run `admn profile` here" if differences else ""


def device_name(device: torch.device) -> str:
    """Return the name of the processor as in costs.yaml."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"CPU {_cpu_model() or platform.machine()}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
