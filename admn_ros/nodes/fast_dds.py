# SPDX-License-Identifier: Apache-2.0
"""Settings of Fast DDS for images between processes."""

from __future__ import annotations

import fcntl
import os
import re
import sys
import time
from pathlib import Path

from admn_ros.share import share_directory

PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"
SHARED_MEMORY = Path("/dev/shm")
NEEDED_MIB = {"fastdds_large_images.xml": 100, "fastdds_small_shared_memory.xml": 28}
"""Free shared memory for the segments of three participants, by the profile that has them; the best one first."""
_SEGMENT = re.compile("fastrtps_[0-9a-f]{16}")
_STARTED_S = 10.0
"""Age in seconds from which on a segment without a lock is not one that a process is just creating."""


def use_large_segments() -> None:
    """Use shared-memory segments that hold several images, unless the user chose a profile.

    Call it before `rclpy.init()`. With the default segments of 512 KiB many best-effort images are lost between
    processes. After a receiver was killed, what it had not read can fragment such a segment for good, and larger
    messages are lost from then on. If /dev/shm is too small, a message is printed and the default stays.
    """
    folder = share_directory() / "config"
    if PROFILE in os.environ or not all((folder / name).is_file() for name in NEEDED_MIB):
        return
    remove_dead_segments()
    free_mib, needed_mib = _free_mib(), min(NEEDED_MIB.values())
    name = next((name for name, mib in NEEDED_MIB.items() if free_mib >= mib), None)
    if name is not None:
        os.environ[PROFILE] = str(folder / name)
    else:
        print(f"{SHARED_MEMORY}: found {free_mib} MiB free; required: {needed_mib} MiB, to pass images between "
              "processes without loss (docker: --shm-size=256m). Small segments are used.", file=sys.stderr)


def remove_dead_segments(folder: Path = SHARED_MEMORY) -> int:
    """Remove the segments of processes that were killed, as `fastdds shm clean` does, and return their number.

    The creator of a segment holds a lock on the file beside it for as long as it runs. Each segment that is left
    takes 33 MiB of /dev/shm. Segments of other users stay.

    Args:
        folder: folder of the segments.
    """
    removed = 0
    for segment in folder.glob("fastrtps_*"):
        lock = segment.with_name(f"{segment.name}_el")
        try:
            old = time.time() - segment.stat().st_mtime > _STARTED_S
            if not _SEGMENT.fullmatch(segment.name) or not old or not _is_free(lock):
                continue
            segment.unlink()
            lock.unlink()
        except OSError:  # another process was faster, or another user's
            continue
        removed += 1
    return removed


def _is_free(lock: Path) -> bool:
    """Return whether nobody holds the lock of a file."""
    file = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def _free_mib() -> int:
    try:
        space = os.statvfs(SHARED_MEMORY)
    except OSError:
        return 0
    return space.f_bavail * space.f_frsize >> 20
