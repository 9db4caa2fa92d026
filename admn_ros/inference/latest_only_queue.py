# SPDX-License-Identifier: Apache-2.0
"""The newest frame wins: a queue of one between the synchronizer and the network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Holds at most one item for a worker thread; a newer item replaces it and is counted.

    `work` runs on the worker thread, one item at a time. Exceptions go to `failed` and the worker
    lives on.
    """

    def __init__(self, work: Callable[[T], None], failed: Callable[[Exception], None], name: str = "inference") -> None:
        self._work, self._failed = work, failed
        self._changed = threading.Condition()
        self._item: T | None = None
        self._stopping = False
        self._busy = False
        self._accepted = 0
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def accepted(self) -> int:
        """Items put in so far."""
        return self._accepted

    @property
    def dropped(self) -> int:
        """Items replaced by a newer one before the worker could take them."""
        return self._dropped

    def put(self, item: T) -> None:
        """Hand over an item; never blocks on the work."""
        with self._changed:
            if self._stopping:
                return
            self._accepted += 1
            self._dropped += self._item is not None
            self._item = item
            self._changed.notify_all()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is held or worked on; False when that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._item is None and not self._busy, timeout_s)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Let the current item finish, forget a held one (counted as dropped), end the thread."""
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
                self._busy = True
            try:
                if item is not None:
                    self._work(item)
            except Exception as error:
                self._failed(error)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
