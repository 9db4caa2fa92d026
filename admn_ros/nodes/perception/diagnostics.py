# SPDX-License-Identifier: Apache-2.0
"""Statuses of the perception node on /diagnostics: inputs, inference, budget and process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus

from admn_ros.budget.budget import Budget
from admn_ros.inference.frame_log import FrameLog, percentiles
from admn_ros.inference.frame_stream import FrameStream
from admn_ros.inference.process_memory import peak_mib, resident_mib
from admn_ros.nodes.status import ERROR, OK, STALE, WARN, make_status
from admn_ros.sample import SensorKey
from admn_ros.sensing.preprocess.camera_calibration import CameraCalibration
from admn_ros.sensing.sync.clock_watch import STEADY_AFTER_S


@dataclass(frozen=True)
class NodeState:
    """State of the perception node that diagnostics report.

    Attributes:
        name: full name of the node.
        active: whether the node is active.
        now_s: time of the receive clock, in seconds.
        frames: frame stream.
        log: counters and latencies.
        dropped: number of frames replaced by a newer one before the network could take them.
        budget: budget in force.
        topics: full topic name by input.
        mismatches: QoS mismatches by full topic name.
    """

    name: str
    active: bool
    now_s: float
    frames: FrameStream
    log: FrameLog
    dropped: int
    budget: Budget
    topics: Mapping[SensorKey, str]
    mismatches: Mapping[str, str]


def perception_statuses(state: NodeState) -> list[DiagnosticStatus]:
    """Return one status for each input, and one each for inference, budget and process."""
    return [*(_input_status(state, key) for key in state.frames.inputs), _inference_status(state),
            _budget_status(state), _process_status(state.name)]


def _input_status(state: NodeState, key: SensorKey) -> DiagnosticStatus:
    health, stats = state.frames.health[key], state.frames.synchronizer.stats().inputs[key]
    age_s = None if stats.last_arrival_s is None else state.now_s - stats.last_arrival_s
    topic, camera = state.topics[key], state.frames.cameras.get(key)
    if not state.active:
        label, level, text = "not active", STALE, "not active"
    elif topic in state.mismatches:
        label, level, text = "mismatched", ERROR, f"{topic}: {state.mismatches[topic]}"
    elif stats.wandering:
        label, level, text = "ignored", ERROR, (
            f"ignored until its stamps are steady for {STEADY_AFTER_S:g} s: they jump back repeatedly while other "
            f"inputs go on. Check for several publishers on {topic}.")
    elif age_s is None and health.refused:
        label, level, text = "refused", ERROR, "refused: " + health.last_error
    elif age_s is None:
        label, level, text = "never received", ERROR, f"nothing received on {topic}"
    elif age_s > state.frames.sync.silent_s:
        label, level, text = "silent", ERROR, f"silent for {age_s:.1f} s"
    elif health.refused:
        label, level, text = "receiving", WARN, f"{health.refused} messages refused, last: {health.last_error}"
    elif camera is not None and camera.problem:
        label, level, text = "receiving", WARN, camera.problem
    else:
        label, level, text = "receiving", OK, "receiving"
    return make_status(state.name, f"input {key}", level, text, {
        "topic": topic,
        "state": label,
        "age_s": "never" if age_s is None else f"{age_s:.3f}",
        "rate_hz": f"{stats.rate_hz or 0.0:.1f}",
        "accepted": health.accepted,
        "refused": health.refused,
        "duplicates": stats.duplicates,
        "late": stats.late,
        "ignored": stats.ignored,
        "frames_fresh": stats.fresh, "frames_held": stats.held, "frames_missing": stats.missing,
        "last_error": health.last_error,
    } | ({} if camera is None else _camera_values(camera)), hardware_id=str(key))


def _camera_values(camera: CameraCalibration) -> dict[str, object]:
    seen_deg = camera.field_of_view_deg
    return {"camera_info": camera.topic, "calibration": camera.state, "calibration_problem": camera.problem,
            "field_of_view_deg": "not known" if seen_deg is None else f"{seen_deg:.1f}"}


def _inference_status(state: NodeState) -> DiagnosticStatus:
    log, stats = state.log, state.frames.synchronizer.stats()
    (p50, p95), (run50, run95) = percentiles(log.latency_ms), percentiles(log.inference_ms)
    if not state.active:
        level, text = STALE, "not active"
    elif log.failures:
        level, text = WARN, f"{log.failures} frames failed, last: {log.last_error}"
    elif not log.frames:
        level, text = WARN, "no frame yet"
    else:
        level, text = OK, f"latency p50 {p50:.0f} ms, p95 {p95:.0f} ms"
    return make_status(state.name, "inference", level, text, {
        "frames": log.frames,
        "dropped": state.dropped,
        "hurried": stats.hurried,
        "time_resets": stats.resets,
        "failed": log.failures,
        "latency_p50_ms": f"{p50:.1f}", "latency_p95_ms": f"{p95:.1f}",
        "inference_p50_ms": f"{run50:.1f}", "inference_p95_ms": f"{run95:.1f}",
        "last_error": log.last_error,
    })


def _budget_status(state: NodeState) -> DiagnosticStatus:
    log, last = state.log, state.log.last
    if log.violations:
        level, text = ERROR, f"{log.violations} frames spent more than granted"
    elif last is None:
        level, text = OK, "no frame yet"
    else:
        level = OK if last.reason.name == "ALLOCATED" else WARN
        text = last.reason_text
    values: dict[str, object] = {
        "in_force": f"{state.budget.limit:g} {state.budget.unit}", "in_force_source": state.budget.source,
        "violations": log.violations, "refused": log.budgets_refused}
    if last is not None:
        values |= {"requested": f"{last.requested.limit:g} {last.requested.unit}", "source": last.requested.source,
                   "granted": f"{last.granted_limit:g} {last.granted_unit}", "spent": f"{last.spent:g}"}
    return make_status(state.name, "budget", level, text, values)


def _process_status(node: str) -> DiagnosticStatus:
    now = resident_mib()
    return make_status(node, "process", OK, f"{now:.0f} MiB of memory", {
        "rss_mib": f"{now:.1f}", "peak_rss_mib": f"{peak_mib():.1f}", "threads": threading.active_count()})
