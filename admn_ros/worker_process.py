# SPDX-License-Identifier: Apache-2.0
"""Worker processes of pools."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """End this worker process as soon as its parent process ends.

    The initializer of a pool. A worker holds the pipe of its tasks open itself, so it would wait for ever for the next
    task of a parent that was killed.
    """
    threading.Thread(target=_wait_and_end, name="end_with_parent", daemon=True).start()


def _wait_and_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
