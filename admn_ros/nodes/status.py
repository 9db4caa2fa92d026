# SPDX-License-Identifier: Apache-2.0
"""Statuses for /diagnostics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

OK, WARN, ERROR, STALE = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE)

LASTING_S = 10.0
"""Time that an error lasts before it is logged, in seconds: drivers, simulators and players start slowly."""
_TOLD = 3


class LastingErrors:
    """Statuses that are errors for some time, for the log: each one when it has lasted, and when it ends."""

    def __init__(self) -> None:
        self._since_s: dict[str, float] = {}
        self._told: set[str] = set()

    def begun(self, statuses: Iterable[DiagnosticStatus], now_s: float) -> str:
        """Return the first of the errors that have lasted now, with the number of the others; empty without one.

        Args:
            statuses: all statuses to watch. An error that lasts is returned once, until its status was no error.
            now_s: time of a steady clock, in seconds.
        """
        errors = {s.name: s.message for s in statuses if s.level == ERROR}
        self._since_s = {name: self._since_s.get(name, now_s) for name in errors}
        new = [name for name, since_s in self._since_s.items()
               if now_s - since_s >= LASTING_S and name not in self._told]
        self._told |= set(new)
        more = f"; and {len(new) - _TOLD} more in /diagnostics" if len(new) > _TOLD else ""
        return "; ".join(f"{_part(name)}: {errors[name]}" for name in new[:_TOLD]) + more

    def ended(self, statuses: Iterable[DiagnosticStatus]) -> str:
        """Return the parts whose errors were returned by `begun` and are over; empty without one."""
        over = [s for s in statuses if s.name in self._told and s.level != ERROR]
        self._told -= {s.name for s in over}
        return ", ".join(_part(s.name) for s in over if s.level != STALE)


def _part(name: str) -> str:
    """Return what a status is about; the reverse of `status_name`."""
    return name.partition(": ")[2]


def status_name(node: str, part: str) -> str:
    """Return the name of a status, as `admn: inference`.

    There is no leading slash: the standard aggregator (`diagnostic_aggregator`) matches the start of names, and its
    paths begin with a slash of their own.

    Args:
        node: full name of the node, `/robot/admn`.
        part: what the status is about.
    """
    return f"{node.removeprefix('/')}: {part}"


def make_status(node: str, part: str, level: bytes, text: str, values: Mapping[str, object], *,
                hardware_id: str | None = None) -> DiagnosticStatus:
    """Return a status of a node; values are formatted with `str`.

    Args:
        node: full name of the node.
        part: what the status is about; see `status_name`.
        level: level of the status.
        text: its message.
        values: its values by key.
        hardware_id: what the status concerns; None for the node.
    """
    return DiagnosticStatus(name=status_name(node, part), hardware_id=node if hardware_id is None else hardware_id,
                            level=level, message=text,
                            values=[KeyValue(key=k, value=str(v)) for k, v in values.items()])


def connections_status(node: str, mismatches: Mapping[str, str]) -> DiagnosticStatus:
    """Return the status of the connections: ERROR while the QoS of a peer is incompatible.

    Args:
        node: full name of the node.
        mismatches: descriptions by topic.
    """
    text = "; ".join(f"{topic}: {why}" for topic, why in mismatches.items()) or "no QoS mismatch"
    return make_status(node, "connections", ERROR if mismatches else OK, text, mismatches)


def clock_status(node: str, problems: Sequence[str]) -> DiagnosticStatus:
    """Return the status of the clock: WARN while `/clock` stands still, or the stamps of messages differ from it.

    Args:
        node: full name of the node.
        problems: what is wrong, one line each.
    """
    return make_status(node, "clock", WARN if problems else OK, "; ".join(problems) or "no problem", {})
