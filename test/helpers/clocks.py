# SPDX-License-Identifier: Apache-2.0
"""Clocks for tests."""

from __future__ import annotations


class SteadyClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s
