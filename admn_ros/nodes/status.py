# SPDX-License-Identifier: Apache-2.0
"""Statuses for /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

OK, WARN, ERROR, STALE = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE)


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
