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
    """

    name: str
    active: bool
    now_s: float
    frames: FrameStream
    topics: Mapping[SensorKey, str]
    mismatches: Mapping[str, str]


def input_statuses(state: NodeState) -> list[DiagnosticStatus]:
    """Return one status for each input."""
    return [_input_status(state, key) for key in state.frames.inputs]


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
