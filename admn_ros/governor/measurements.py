# SPDX-License-Identifier: Apache-2.0
"""Latest values of one kind of measurement, with their age."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from admn_ros.budget.budget import MAX_SOURCES
from admn_ros.errors import InputError

V = TypeVar("V")


@dataclass(frozen=True)
class _Doubt:
    """Why a source has no usable value; `lasting` doubts outlive values in range."""

    error: InputError
    lasting: bool


class Measurements(Generic[V]):
    """Latest value of each source. A source is monitored from its first value, usable or not, until it is forgotten.

    Args:
        kind: kind of measurement, for messages ("temperature").
        worse: returns the value of two that allows fewer layers, for values of a source that arrive at the same time.
        each: whether every source without a usable value counts as stale; otherwise only if no source has a fresh one.
    """

    def __init__(self, kind: str, worse: Callable[[V, V], V], each: bool = True) -> None:
        self.kind, self._worse, self._each = kind, worse, each
        self._latest: dict[str, tuple[V, float]] = {}
        self._doubts: dict[str, _Doubt] = {}

    def put(self, name: str, value: V, now_s: float) -> None:
        """Store a value.

        Args:
            name: source of the value.
            value: the value.
            now_s: arrival time, in seconds.

        Raises:
            InputError: there are too many sources, or the source is not trusted any more.
        """
        doubt = self._doubts.get(name)
        if doubt is not None and doubt.lasting:
            raise InputError(f"{self.kind} of {name}", f"{doubt.error.found} earlier", doubt.error.allowed)
        if name not in self._latest and len(self._latest) >= MAX_SOURCES:
            raise InputError(self.kind, f"{name!r} as source {len(self._latest) + 1}", f"at most {MAX_SOURCES} sources")
        self._doubts.pop(name, None)
        last = self._latest.get(name)
        self._latest[name] = (self._worse(last[0], value) if last and last[1] == now_s else value, now_s)

    def doubt(self, name: str, error: InputError, lasting: bool = False) -> None:
        """Note a value that cannot be. The last usable value of the source stays until it is stale.

        Args:
            name: source of the value.
            error: what is wrong with it.
            lasting: whether the value shows that no value of this source can be trusted, earlier ones included.
        """
        known = self._doubts.get(name)
        if (known is not None and known.lasting) or (known is None and len(self._doubts) >= MAX_SOURCES):
            return
        self._doubts[name] = _Doubt(error, lasting)
        if lasting:
            self._latest.pop(name, None)

    def forget(self, name: str) -> None:
        """Stop monitoring a source, because its publisher reports it as off. A lasting doubt stays."""
        self._latest.pop(name, None)
        if name in self._doubts and not self._doubts[name].lasting:
            del self._doubts[name]

    def forget_where(self, ignored: Callable[[str], bool]) -> None:
        """Stop monitoring sources by name."""
        self._latest = {name: value for name, value in self._latest.items() if not ignored(name)}
        self._doubts = {name: doubt for name, doubt in self._doubts.items() if not ignored(name)}

    @property
    def monitored(self) -> bool:
        """Whether any source is monitored."""
        return bool(self._latest or self._doubts)

    def fresh(self, now_s: float, timeout_s: float) -> dict[str, V]:
        """Return the values younger than the timeout, by source."""
        return {name: value for name, (value, at_s) in self._latest.items() if now_s - at_s < timeout_s}

    def stale(self, now_s: float, timeout_s: float, required: bool) -> str:
        """Return what is stale, and why; empty without anything.

        Stale are monitored sources whose last usable value is older than the timeout, sources without a usable value
        (see `each`), and the kind itself if it is required and has no source.
        """
        old = sorted(name for name, (_, at_s) in self._latest.items() if now_s - at_s >= timeout_s)
        found = [f"{self.kind} {', '.join(old)}: no fresh reading"] if old else []
        if self._each or not self.fresh(now_s, timeout_s):
            found += [f"{self.kind} {name}: no usable reading, {doubt.error}"
                      for name, doubt in sorted(self._doubts.items()) if name not in self._latest]
        if required and not self._latest and not found:
            return f"{self.kind}: no fresh reading"
        return "; ".join(found)
