# SPDX-License-Identifier: Apache-2.0
"""DDS domains of this machine alone, so that runs side by side do not meet each other or a robot."""

from __future__ import annotations

import fcntl
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TextIO

DOMAINS = 100
"""Domains that are tried: 1 to 100. The ports of higher ones may be in use by other programs on Linux."""


def isolate_discovery() -> None:
    """Limit discovery to this machine and to a domain of this process, unless the environment sets them.

    To be called before a node is made; child processes share the domain.
    """
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    if "ROS_DOMAIN_ID" not in os.environ:
        os.environ["ROS_DOMAIN_ID"] = str(_own_domain()[0])


def reserve_domain(first: int, folder: Path | None = None) -> tuple[int, TextIO | None]:
    """Reserve a domain until the returned file is closed or the process ends.

    Args:
        first: domain that is tried first, 1 to `DOMAINS`; the others follow in turn.
        folder: folder of the lock files; None for that of temporary files.

    Returns:
        Domain, and its locked file; `first` and None if all are taken.
    """
    folder = folder or Path(tempfile.gettempdir())
    for domain in ((first - 1 + k) % DOMAINS + 1 for k in range(DOMAINS)):
        try:
            file = (folder / f"admn_ros-domain-{domain}.lock").open("a")
        except OSError:   # that of another user
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        return domain, file
    return first, None


@cache   # keeps the file open
def _own_domain() -> tuple[int, TextIO | None]:
    return reserve_domain(1 + os.getpid() % DOMAINS)
