# SPDX-License-Identifier: Apache-2.0
"""Queue of length one with a worker thread: a newer item replaces the one that waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestOnlyQueue(Generic[T]):
    """Worker thread that processes the newest item and counts the items it skips.

    Args:
        work: processes one item, on the worker thread.
        on_error: receives exceptions of `work`, on the worker thread; the worker continues with the next item.
        name: name of the worker thread.
    """

    def __init__(self, work: Callable[[T], None], on_error: Callable[[Exception], None],
                 name: str = "inference") -> None:
        self._work, self._on_error = work, on_error
        self._changed = threading.Condition()
        self._item: T | None = None
        self._stopping = False
        self._accepted = 0
        self._dropped = 0
        self._taken_s: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def accepted(self) -> int:
        """Number of items put."""
        return self._accepted

    @property
    def dropped(self) -> int:
        """Number of items that were replaced, or forgotten by `stop`, before the worker took them."""
        return self._dropped

    @property
    def busy_s(self) -> float:
        """Seconds for which the worker has processed its current item; 0 while it waits for one."""
        taken_s = self._taken_s
        return 0.0 if taken_s is None else time.monotonic() - taken_s

    def put(self, item: T) -> None:
        """Hand over an item without blocking. Items put after `stop` are ignored."""
        with self._changed:
            if self._stopping:
                return
            self._accepted += 1
            self._dropped += self._item is not None
            self._item = item
            self._changed.notify_all()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Finish the current item, drop the waiting one, and end the thread.

        Args:
            timeout_s: longest wait for the thread, in seconds.

        Returns:
            Whether the thread has ended.
        """
        with self._changed:
            self._stopping = True
            self._dropped += self._item is not None
            self._item = None
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._item is not None or self._stopping)
                if self._stopping:
                    return
                item, self._item = self._item, None
            self._taken_s = time.monotonic()
            try:
                if item is not None:
                    self._work(item)
            except Exception as error:
                self._on_error(error)
            finally:
                self._taken_s = None
