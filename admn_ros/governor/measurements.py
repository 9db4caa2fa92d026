# SPDX-License-Identifier: Apache-2.0
"""Latest values of one kind of measurement, with their age."""

from __future__ import annotations

from typing import Generic, TypeVar

from admn_ros.budget.budget import MAX_SOURCES
from admn_ros.errors import InputError

V = TypeVar("V")


class Measurements(Generic[V]):
    """Latest value of each source. A source is monitored from its first value until it is forgotten.

    Args:
        kind: kind of measurement, for messages ("temperature").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._latest: dict[str, tuple[V, float]] = {}

    def put(self, name: str, value: V, now_s: float) -> None:
        """Store a value.

        Args:
            name: source of the value.
            value: the value.
            now_s: arrival time, in seconds.

        Raises:
            InputError: there are too many sources.
        """
        if name not in self._latest and len(self._latest) >= MAX_SOURCES:
            raise InputError(self.kind, f"{name!r} as source {len(self._latest) + 1}", f"at most {MAX_SOURCES} sources")
        self._latest[name] = (value, now_s)

    def forget(self, name: str) -> None:
        """Stop monitoring a source, because its publisher reports it as off."""
        self._latest.pop(name, None)

    def fresh(self, now_s: float, timeout_s: float) -> dict[str, V]:
        """Return the values younger than the timeout, by source."""
        return {name: value for name, (value, at_s) in self._latest.items() if now_s - at_s < timeout_s}

    def stale(self, now_s: float, timeout_s: float, required: bool) -> str:
        """Return what is stale: monitored sources older than the timeout, or the kind if it is required; else empty."""
        old = [name for name, (_, at_s) in self._latest.items() if now_s - at_s >= timeout_s]
        if old:
            return f"{self.kind} {', '.join(sorted(old))}"
        return self.kind if required and not self._latest else ""
