# SPDX-License-Identifier: Apache-2.0
"""Statuses of inference and of the budget on /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticStatus

from admn_ros.inference.health.frame_log import Processed, percentiles
from admn_ros.inference.health.output_health import OutputState, is_current, judge_budget, judge_inference
from admn_ros.nodes.status import make_status

NONE = "none"
"""Value of a figure that has nothing current to show."""


def output_statuses(node: str, state: OutputState, skipped: Mapping[str, int]) -> list[DiagnosticStatus]:
    """Return the statuses of inference and of the budget.

    Args:
        node: full name of the node.
        state: what decides about them.
        skipped: number of frames that the network did not take since activation, by the reason.
    """
    return [_inference_status(node, state, skipped), _budget_status(node, state)]


def _inference_status(node: str, state: OutputState, skipped: Mapping[str, int]) -> DiagnosticStatus:
    (level, text), log, stats = judge_inference(state), state.log, state.frames.synchronizer.stats()
    latest: list[Processed] = log.latest if state.active and not state.silent else []
    latency, run = (percentiles([f.latency_ms for f in latest]), percentiles([f.inference_ms for f in latest]))
    return make_status(node, "inference", bytes([level]), text, {
        "frames": log.frames,
        **skipped,
        "hurried": stats.hurried,
        "time_resets": stats.resets,
        "failed": log.failures.total,
        "failed_recently": log.failures.recent,
        "without_estimate_s": f"{log.without_estimate_s:.1f}" if state.active and not state.idle else NONE,
        "latency_p50_ms": _milliseconds(latency[0], latest), "latency_p95_ms": _milliseconds(latency[1], latest),
        "inference_p50_ms": _milliseconds(run[0], latest), "inference_p95_ms": _milliseconds(run[1], latest),
        "last_error": log.last_error,
    })


def _budget_status(node: str, state: OutputState) -> DiagnosticStatus:
    (level, text), log = judge_budget(state), state.log
    used = log.last.allocation if log.last is not None and is_current(state) else None
    return make_status(node, "budget", bytes([level]), text, {
        "in_force": f"{state.budget.limit:g} {state.budget.unit}", "in_force_source": state.budget.source,
        "violations": log.violations,
        "refused": log.refusals.total, "refused_recently": log.refusals.recent, "last_refusal": log.refusals.last,
        "pending": state.pending or NONE, "contest": state.contest or NONE, "refused_sources": state.refused or NONE,
        "requested": NONE if used is None else f"{used.requested.limit:g} {used.requested.unit}",
        "source": NONE if used is None else used.requested.source,
        "granted": NONE if used is None else f"{used.granted_limit:g} {used.granted_unit}",
        "spent": NONE if used is None else f"{used.spent:g}",
    })


def _milliseconds(value: float, of: list[Processed]) -> str:
    return f"{value:.1f}" if of else NONE
