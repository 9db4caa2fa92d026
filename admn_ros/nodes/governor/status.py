# SPDX-License-Identifier: Apache-2.0
"""Status of the governor node: requested layers, granted layers, and the reason."""

from __future__ import annotations

import math

from diagnostic_msgs.msg import DiagnosticStatus

from admn_ros.budget.refusals import Refusals
from admn_ros.governor.governor import Grant
from admn_ros.nodes.status import OK, STALE, WARN, make_status


def grant_status(node: str, grant: Grant | None, refusals: Refusals, now_s: float) -> DiagnosticStatus:
    """Return the status of a grant: WARN while a measurement is stale, and for a while after a refused message.

    Args:
        node: full name of the node.
        grant: latest grant; None while the node is not active.
        refusals: refused messages.
        now_s: time of the receive clock, in seconds.
    """
    if grant is None:
        return make_status(node, "grant", STALE, "not active", {})
    problems = [*grant.problems, *(f"ignored {r.count} of {r}" for r in refusals.recent(now_s))]
    further = [problem for problem in problems if problem != grant.text]
    text = "; ".join([f"{grant.granted} of {grant.requested} layers ({grant.reason.value}): {grant.text}", *further])
    # The governor reads /diagnostics, and so this status: no key may look like a temperature or a power.
    return make_status(node, "grant", WARN if problems else OK, text, {
        "requested": grant.requested, "granted": grant.granted, "reason": grant.reason.value, "text": grant.text,
        "ignored": refusals.total, "last_ignored": refusals.last or "", "hottest_c": _text(grant.temperature_c),
        "others_w": _text(grant.others_w), "limits": "; ".join(
            f"{c.layers:.1f} {c.reason.value} ({c.text})" for c in grant.caps if math.isfinite(c.layers))})


def _text(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
