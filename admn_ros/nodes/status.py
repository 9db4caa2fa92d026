# SPDX-License-Identifier: Apache-2.0
"""Statuses for /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

OK, WARN, ERROR, STALE = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE)


def make_status(name: str, hardware_id: str, level: bytes, text: str,
                values: Mapping[str, object]) -> DiagnosticStatus:
    """Return a status; values are formatted with `str`."""
    return DiagnosticStatus(name=name, hardware_id=hardware_id, level=level, message=text,
                            values=[KeyValue(key=k, value=str(v)) for k, v in values.items()])


def connections_status(node: str, mismatches: Mapping[str, str]) -> DiagnosticStatus:
    """Return the status of the connections: ERROR while the QoS of a peer is incompatible.

    Args:
        node: full name of the node.
        mismatches: descriptions by topic.
    """
    text = "; ".join(f"{topic}: {why}" for topic, why in mismatches.items()) or "no QoS mismatch"
    return make_status(f"{node}: connections", node, ERROR if mismatches else OK, text, mismatches)
