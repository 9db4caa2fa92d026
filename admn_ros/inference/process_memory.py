# SPDX-License-Identifier: Apache-2.0
"""Memory of the process: allocator settings and resident size."""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

_MALLOC = {-3: 32 << 20, -1: 512 << 20, -2: 64 << 20}
"""mallopt(3) parameters M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD, in bytes."""


def keep_pages() -> None:
    """Let the C library keep image-sized blocks on the heap.

    By default each image is a new mapping, and faulting in its pages costs as much as receiving it. Without effect on
    C libraries other than glibc.
    """
    try:
        libc = ctypes.CDLL(None)
        for parameter, value in _MALLOC.items():
            libc.mallopt(parameter, value)
    except (OSError, AttributeError):
        pass


def resident_mib() -> float:
    """Return the resident memory of the process in MiB; its peak on systems without /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_mib()
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mib() -> float:
    """Return the peak resident memory of the process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
