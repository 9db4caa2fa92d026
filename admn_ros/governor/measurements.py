# SPDX-License-Identifier: Apache-2.0
"""The latest values of one kind of measurement, by name, and how old they are."""

from __future__ import annotations

from typing import Generic, TypeVar

from admn_ros.budget.budget import MAX_SOURCES
from admn_ros.errors import InputError

V = TypeVar("V")


class Measurements(Generic[V]):
    """One value per name. A name is watched from its first value on, until it is forgotten.

    Args:
        kind: for errors ("temperature").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._latest: dict[str, tuple[V, float]] = {}

    def put(self, name: str, value: V, now_s: float) -> None:
        """Note the value of a name.

        Raises:
            InputError: too many names.
        """
        if name not in self._latest and len(self._latest) >= MAX_SOURCES:
            raise InputError(self.kind, f"{name!r} as source {len(self._latest) + 1}", f"at most {MAX_SOURCES} sources")
        self._latest[name] = (value, now_s)

    def forget(self, name: str) -> None:
        """Stop watching a name, because its publisher says that it is off."""
        self._latest.pop(name, None)

    def fresh(self, now_s: float, timeout_s: float) -> dict[str, V]:
        """Values younger than the timeout."""
        return {name: value for name, (value, at_s) in self._latest.items() if now_s - at_s < timeout_s}

    def stale(self, now_s: float, timeout_s: float, required: bool) -> str:
        """What is missing: the watched names that are too old, the kind where one is required; else empty."""
        old = [name for name, (_, at_s) in self._latest.items() if now_s - at_s >= timeout_s]
        if old:
            return f"{self.kind} {', '.join(sorted(old))}"
        return self.kind if required and not self._latest else ""
