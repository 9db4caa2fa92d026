# SPDX-License-Identifier: Apache-2.0
"""Statuses of the perception node on /diagnostics: inputs and process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus

from admn_ros.inference.frame_stream import FrameStream
from admn_ros.inference.process_memory import peak_mib, resident_mib
from admn_ros.nodes.perception.target_frames import transform_class
from admn_ros.nodes.status import ERROR, OK, STALE, WARN, make_status
from admn_ros.sample import SensorKey
from admn_ros.sensing.preprocess.camera_calibration import CameraCalibration
from admn_ros.sensing.sync.clock_watch import STEADY_AFTER_S
from admn_ros.sensing.sync.input_health import WINDOW_S, InputProblem, leader, offset_ns
from admn_ros.sensing.sync.stamp_offset import describe_offset


@dataclass(frozen=True)
class NodeState:
    """State of the perception node that diagnostics report.

    Attributes:
        name: full name of the node.
        active: whether the node is active.
        now_s: time of the receive clock, in seconds.
        frames: frame stream.
        topics: full topic name by input.
        mismatches: QoS mismatches by full topic name.
        absent: what is known of inputs that receive nothing; see `Endpoints.on_the_graph`.
    """

    name: str
    active: bool
    now_s: float
    frames: FrameStream
    topics: Mapping[SensorKey, str]
    mismatches: Mapping[str, str]
    absent: Mapping[SensorKey, str]


def input_statuses(state: NodeState) -> list[DiagnosticStatus]:
    """Return one status for each input."""
    return [_input_status(state, key) for key in state.frames.inputs]


def _input_status(state: NodeState, key: SensorKey) -> DiagnosticStatus:
    health, stats = state.frames.health[key], state.frames.synchronizer.stats().inputs[key]
    age_s = None if stats.last_arrival_s is None else state.now_s - stats.last_arrival_s
    topic, camera = state.topics[key], state.frames.cameras.get(key)
    offset = offset_ns(state.frames.health, key, _reference(state), state.frames.sync)
    label, level, text = _judge(state, key, age_s)
    return make_status(state.name, f"input {key}", level, text, {
        "topic": topic,
        "state": label,
        "age_s": "never" if age_s is None else f"{age_s:.3f}",
        "rate_hz": f"{stats.rate_hz or 0.0:.1f}",
        "accepted": health.accepted,
        "refused": health.refused,
        "used": health.counts.used,
        "duplicates": stats.duplicates,
        "late": stats.late,
        "ignored": stats.ignored,
        "stamp_offset_s": "not known" if offset is None else f"{offset * 1e-9:.3f}",
        "frames_fresh": stats.fresh, "frames_held": stats.held, "frames_missing": stats.missing,
        "last_error": health.last_error,
    } | ({} if camera is None else _camera_values(camera)), hardware_id=str(key))


def _reference(state: NodeState) -> SensorKey | None:
    """Return the input whose stamps the frames of the last seconds had."""
    recent = state.frames.watch.recent
    return leader(recent) if recent else None


def _judge(state: NodeState, key: SensorKey, age_s: float | None) -> tuple[str, bytes, str]:
    """Return label, level and message of an input."""
    frames, topic = state.frames, state.topics[key]
    problem = frames.watch.problems.get(key)
    if not state.active:
        return "not active", STALE, "not active"
    if topic in state.mismatches:
        return "mismatched", ERROR, f"{topic}: {state.mismatches[topic]}"
    if frames.synchronizer.stats().inputs[key].wandering:
        return "ignored", ERROR, _why_ignored(state, key)
    if age_s is None or (problem is not None and problem.state == "refused"):
        return _judge_absent(state, key, problem)
    if age_s > frames.sync.silent_s:
        why = problem.text if problem is not None else state.absent.get(key)
        return "silent", ERROR, f"silent for {age_s:.1f} s" + (f": {why}" if why else "")
    return _judge_received(frames, key, problem)


def _judge_absent(state: NodeState, key: SensorKey, problem: InputProblem | None) -> tuple[str, bytes, str]:
    """Judge an input without a usable reading."""
    health = state.frames.health[key]
    if problem is not None:
        return problem.state, ERROR, problem.text
    if health.accepted:
        return "undecided", WARN, "its stamps jumped back; the other inputs decide within a second what that means"
    if health.refused:
        return "refused", ERROR, "refused: " + health.last_error
    return "never received", ERROR, state.absent.get(key) or f"nothing received on {state.topics[key]}"


def _judge_received(frames: FrameStream, key: SensorKey, problem: InputProblem | None) -> tuple[str, bytes, str]:
    """Judge an input that is live."""
    camera, recent = frames.cameras.get(key), frames.watch.recent.get(key)
    if problem is not None:
        return "unused", WARN, problem.text
    if recent is not None and recent.refused:
        return "receiving", WARN, (
            f"{recent.refused} of {recent.refused + recent.accepted} messages refused in the last {WINDOW_S:g} s, "
            f"last: {frames.health[key].last_error}")
    if camera is not None and camera.problem:
        return "receiving", WARN, camera.problem
    return "receiving", OK, "receiving"


def _why_ignored(state: NodeState, key: SensorKey) -> str:
    reference = _reference(state)
    offset = offset_ns(state.frames.health, key, reference, state.frames.sync)
    where = ""
    if offset is not None and reference is not None:
        newest_ns = state.frames.health[reference].newest_ns or 0
        where = f", and are {describe_offset(newest_ns + offset, newest_ns, str(reference))}"
    return (f"ignored: its stamps jumped back while the other inputs went on{where}. It is used again once they are "
            f"steady for {STEADY_AFTER_S:g} s and agree with the others. Synchronize its clock, or check for several "
            f"publishers on {state.topics[key]}")


def _camera_values(camera: CameraCalibration) -> dict[str, object]:
    seen_deg = camera.field_of_view_deg
    return {"camera_info": camera.topic, "calibration": camera.state, "calibration_problem": camera.problem,
            "field_of_view_deg": "not known" if seen_deg is None else f"{seen_deg:.1f}"}


def poses_status(state: NodeState) -> list[DiagnosticStatus]:
    """Return the status of the poses of the sensor nodes: WARN while TF does not give one; none without TF frames."""
    poses = state.frames.node_poses
    if poses is None:
        return []
    missing = poses.missing
    if not state.active:
        level, text = STALE, "not active"
    elif missing:
        level = WARN
        text = "; ".join(f"{node}: {why}" for node, why in missing.items())
        text += "; the poses in the model file are used"
        text += "" if transform_class() else " (tf2_msgs is not installed)"
    else:
        level, text = OK, "all poses are from TF"
    origins = {node: "TF" if node in poses.frames and node not in missing else "model file" for node in poses.poses}
    return [make_status(state.name, "sensor poses", level, text, origins)]


def process_status(node: str) -> DiagnosticStatus:
    """Return the status of the process: memory and threads."""
    now = resident_mib()
    return make_status(node, "process", OK, f"{now:.0f} MiB of memory", {
        "rss_mib": f"{now:.1f}", "peak_rss_mib": f"{peak_mib():.1f}", "threads": threading.active_count()})
