# SPDX-License-Identifier: Apache-2.0
"""Deduplication of log messages."""

from __future__ import annotations


class SeenCauses:
    """Causes that were logged already.

    Args:
        limit: number of causes to remember. Later causes count as seen, so that a flood cannot fill log and memory.
    """

    def __init__(self, limit: int = 100) -> None:
        self._limit = limit
        self._seen: set[str] = set()

    def is_new(self, cause: str) -> bool:
        """Return True the first time that a cause is passed."""
        if cause in self._seen or len(self._seen) >= self._limit:
            return False
        self._seen.add(cause)
        return True
