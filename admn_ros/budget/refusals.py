# SPDX-License-Identifier: Apache-2.0
"""Refused messages by source, and which of them are logged."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from admn_ros.budget.budget import MAX_SOURCES
from admn_ros.errors import InputError

LOG_EVERY_S: Final = 60.0
"""Shortest time between two log lines about the same field of the same source, in seconds."""
RECENT_S: Final = 30.0
"""Time for which diagnostics warn of a refused message, in seconds."""
MAX_FIELDS: Final = 16
"""Fields of one source that are logged apart."""
OTHERS: Final = "further sources"
"""Source of the refusals of all sources beyond `MAX_SOURCES`."""


@dataclass(frozen=True)
class Refusal:
    """Refused messages of one source.

    Attributes:
        source: name of the source.
        reason: why the latest one was refused.
        count: number of refused messages.
        at_s: arrival of the latest one, in seconds of a monotonic clock.
        standing: whether no later message of the source was accepted.
    """

    source: str
    reason: str
    count: int
    at_s: float
    standing: bool = True

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}" if self.source else self.reason


@dataclass
class _Entry:
    refusal: Refusal
    logged_s: dict[str, float] = field(default_factory=dict)


class Refusals:
    """Refused messages by source, in bounded memory.

    Attributes:
        total: number of refused messages.
        last: the latest one; None without one.
    """

    def __init__(self) -> None:
        self.total = 0
        self.last: Refusal | None = None
        self._entries: dict[str, _Entry] = {}

    def add(self, source: str, error: InputError, now_s: float) -> Refusal | None:
        """Note a refused message.

        Args:
            source: source of the message.
            error: why it was refused.
            now_s: time of a monotonic clock in seconds.

        Returns:
            The refusal if it belongs in the log: each field of each source once in `LOG_EVERY_S`, so that one source
            neither fills the log nor silences another.
        """
        source = self._admit(source, now_s)
        entry = self._entries.get(source)
        count = 1 if entry is None else entry.refusal.count + 1
        self.last = refusal = Refusal(source, str(error), count, now_s)
        self.total += 1
        if entry is None:
            entry = self._entries[source] = _Entry(refusal)
        entry.refusal = refusal
        cause = error.field if error.field in entry.logged_s or len(entry.logged_s) < MAX_FIELDS else ""
        if now_s - entry.logged_s.get(cause, now_s - LOG_EVERY_S) < LOG_EVERY_S:
            return None
        entry.logged_s[cause] = now_s
        return refusal

    def accept(self, source: str) -> None:
        """Note an accepted message: an earlier refusal of the source does not stand any more."""
        entry = self._entries.get(source)
        if entry is not None and entry.refusal.standing:
            self._entries[source] = replace(entry, refusal=replace(entry.refusal, standing=False))

    def recent(self, now_s: float) -> list[Refusal]:
        """Return the refusals of the last `RECENT_S`, one for each source, the latest first."""
        entries = [e.refusal for e in self._entries.values() if now_s - e.refusal.at_s < RECENT_S]
        return sorted(entries, key=lambda refusal: -refusal.at_s)

    @property
    def lines(self) -> list[str]:
        """One line for each source, in order of their names."""
        return [f"{e.refusal.count} messages refused, last {e.refusal}" for _, e in sorted(self._entries.items())]

    def standing(self) -> list[Refusal]:
        """Return the sources whose latest message was refused, in order of their names."""
        return sorted((e.refusal for e in self._entries.values() if e.refusal.standing), key=lambda r: r.source)

    def _admit(self, source: str, now_s: float) -> str:
        """Return the source to count for; sources that were quiet for long make room."""
        if source in self._entries:
            return source
        if len(self._entries) >= MAX_SOURCES:
            self._entries = {s: e for s, e in self._entries.items() if now_s - e.refusal.at_s < LOG_EVERY_S}
        return source if len(self._entries) < MAX_SOURCES else OTHERS
