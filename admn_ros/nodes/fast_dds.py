# SPDX-License-Identifier: Apache-2.0
"""Settings of Fast DDS for images between processes."""

from __future__ import annotations

import os
import sys

from admn_ros.share import share_directory

PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"
NEEDED_MIB = 100
"""Free shared memory for the segments of three participants."""


def use_large_segments() -> None:
    """Use shared-memory segments that hold several images, unless the user chose a profile.

    Call it before `rclpy.init()`. With the default segments of 512 KiB many best-effort images are lost between
    processes. If /dev/shm is too small, a message is printed and the default stays.
    """
    profile = share_directory() / "config" / "fastdds_large_images.xml"
    if PROFILE in os.environ or not profile.is_file():
        return
    free_mib = _free_mib()
    if free_mib >= NEEDED_MIB:
        os.environ[PROFILE] = str(profile)
    else:
        print(f"/dev/shm: found {free_mib} MiB free; required: {NEEDED_MIB} MiB, to pass images between processes "
              "without loss (docker: --shm-size=256m). Small segments are used.", file=sys.stderr)


def _free_mib() -> int:
    try:
        space = os.statvfs("/dev/shm")
    except OSError:
        return 0
    return space.f_bavail * space.f_frsize >> 20
