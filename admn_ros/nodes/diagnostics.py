# SPDX-License-Identifier: Apache-2.0
"""/diagnostics: one status for each input, one for inference, budget, connections and the process."""

from __future__ import annotations

import os
import resource
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from admn_ros.inference.latest_only_queue import LatestOnlyQueue
from admn_ros.inference.pipeline import Pipeline
from admn_ros.model.allocation import Allocation
from admn_ros.sample import SensorKey
from admn_ros.sensing.preprocess.camera_calibration import CameraCalibration
from admn_ros.sensing.sync.clock_watch import FORGIVEN_S

OK, WARN, ERROR, STALE = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE)


@dataclass
class FrameLog:
    """What happened to the frames since the node was configured; latencies of the last 300."""

    frames: int = 0
    violations: int = 0
    failures: int = 0
    budgets_refused: int = 0
    last_error: str = ""
    last: Allocation | None = None
    latency_ms: deque[float] = field(default_factory=lambda: deque(maxlen=300))
    inference_ms: deque[float] = field(default_factory=lambda: deque(maxlen=300))

    def add(self, allocation: Allocation, latency_ms: float, inference_ms: float) -> None:
        """Note a finished frame."""
        self.frames += 1
        self.violations += allocation.spent > allocation.granted_limit
        self.last = allocation
        self.latency_ms.append(latency_ms)
        self.inference_ms.append(inference_ms)


@dataclass(frozen=True)
class Connections:
    """How the node stands in the graph.

    topics: full name of each input's topic.
    mismatches: what is wrong with topics on which somebody's QoS does not match, by full name.
    """

    topics: Mapping[SensorKey, str]
    mismatches: Mapping[str, str]


def percentiles(values: deque[float]) -> tuple[float, float]:
    """p50 and p95; zeros where there is nothing yet."""
    kept = list(values)
    if len(kept) < 2:
        return (kept[0], kept[0]) if kept else (0.0, 0.0)
    cuts = quantiles(kept, n=20, method="inclusive")
    return cuts[9], cuts[18]


def resident_mib() -> float:
    """Memory of this process that is in RAM, in MiB; the highest so far where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def diagnostics_message(node: str, stamp: Time, pipeline: Pipeline, log: FrameLog, worker: LatestOnlyQueue | None,
                        now_s: float, connections: Connections) -> DiagnosticArray:
    """Everything an operator needs to see why the output is as it is."""
    message = DiagnosticArray()
    message.header.stamp = stamp
    message.status = [_input_status(node, pipeline, key, worker is not None, now_s, connections)
                      for key in pipeline.frames.inputs]
    message.status += [_inference_status(node, log, worker, pipeline), _budget_status(node, log),
                       connections_status(node, connections.mismatches), _process_status(node)]
    return message


def _status(name: str, hardware: str, level: bytes, text: str, values: Mapping[str, object]) -> DiagnosticStatus:
    return DiagnosticStatus(name=name, hardware_id=hardware, level=level, message=text,
                            values=[KeyValue(key=k, value=str(v)) for k, v in values.items()])


def _input_status(node: str, pipeline: Pipeline, key: SensorKey, active: bool, now_s: float,
                  connections: Connections) -> DiagnosticStatus:
    health, stats = pipeline.frames.health[key], pipeline.frames.synchronizer.stats().inputs[key]
    age_s = None if stats.last_arrival_s is None else now_s - stats.last_arrival_s
    topic, camera = connections.topics[key], pipeline.frames.cameras.get(key)
    if not active:
        state, level, text = "not active", STALE, "not active"
    elif topic in connections.mismatches:
        state, level, text = "mismatched", ERROR, f"{topic}: {connections.mismatches[topic]}"
    elif stats.wandering:
        state, level, text = "ignored", ERROR, (
            f"ignored until its stamps are steady for {FORGIVEN_S:g} s: they jump back again and again while others "
            f"go on. Who publishes on {topic}?")
    elif age_s is None and health.refused:
        state, level, text = "refused", ERROR, "refused: " + health.last_error
    elif age_s is None:
        state, level, text = "never heard", ERROR, f"nothing received on {topic}"
    elif age_s > pipeline.frames.sync.silent_s:
        state, level, text = "silent", ERROR, f"silent for {age_s:.1f} s"
    elif health.refused:
        state, level, text = "receiving", WARN, f"{health.refused} messages refused, last: {health.last_error}"
    elif camera is not None and camera.problem:
        state, level, text = "receiving", WARN, camera.problem
    else:
        state, level, text = "receiving", OK, "receiving"
    return _status(f"{node}: input {key}", str(key), level, text, {
        "topic": topic,
        "state": state,
        "age_s": "never" if age_s is None else f"{age_s:.3f}",
        "rate_hz": f"{stats.rate_hz or 0.0:.1f}",
        "accepted": health.accepted,
        "refused": health.refused,
        "duplicates": stats.duplicates,
        "late": stats.late,
        "ignored": stats.ignored,
        "frames_fresh": stats.fresh, "frames_held": stats.held, "frames_missing": stats.missing,
        "last_error": health.last_error,
    } | ({} if camera is None else _camera_values(camera)))


def _camera_values(camera: CameraCalibration) -> dict[str, object]:
    seen_deg = camera.field_of_view_deg
    return {"camera_info": camera.topic, "calibration": camera.state, "calibration_problem": camera.problem,
            "field_of_view_deg": "not known" if seen_deg is None else f"{seen_deg:.1f}"}


def _inference_status(node: str, log: FrameLog, worker: LatestOnlyQueue | None, pipeline: Pipeline) -> DiagnosticStatus:
    (p50, p95), (run50, run95) = percentiles(log.latency_ms), percentiles(log.inference_ms)
    if worker is None:
        level, text = STALE, "not active"
    elif log.failures:
        level, text = WARN, f"{log.failures} frames failed, last: {log.last_error}"
    elif not log.frames:
        level, text = WARN, "no frame yet"
    else:
        level, text = OK, f"latency p50 {p50:.0f} ms, p95 {p95:.0f} ms"
    return _status(f"{node}: inference", node, level, text, {
        "frames": log.frames,
        "dropped": worker.dropped if worker else 0,
        "hurried": pipeline.frames.synchronizer.stats().hurried,
        "failed": log.failures,
        "latency_p50_ms": f"{p50:.1f}", "latency_p95_ms": f"{p95:.1f}",
        "inference_p50_ms": f"{run50:.1f}", "inference_p95_ms": f"{run95:.1f}",
        "last_error": log.last_error,
    })


def _budget_status(node: str, log: FrameLog) -> DiagnosticStatus:
    last = log.last
    if log.violations:
        level, text = ERROR, f"{log.violations} frames spent more than granted"
    elif last is None:
        level, text = OK, "no frame yet"
    else:
        level = OK if last.reason.name == "ALLOCATED" else WARN
        text = last.reason_text
    values: dict[str, object] = {"violations": log.violations, "refused": log.budgets_refused}
    if last is not None:
        values |= {"requested": f"{last.requested.limit:g} {last.requested.unit}", "source": last.requested.source,
                   "granted": f"{last.granted_limit:g} {last.granted_unit}", "spent": f"{last.spent:g}"}
    return _status(f"{node}: budget", node, level, text, values)


def connections_status(node: str, wrong: Mapping[str, str]) -> DiagnosticStatus:
    """ERROR while somebody's QoS does not match ours; `wrong` says what, by topic."""
    text = "; ".join(f"{topic}: {why}" for topic, why in wrong.items()) or "no QoS mismatch"
    return _status(f"{node}: connections", node, ERROR if wrong else OK, text, wrong)


def _process_status(node: str) -> DiagnosticStatus:
    now = resident_mib()
    return _status(f"{node}: process", node, OK, f"{now:.0f} MiB of memory", {
        "rss_mib": f"{now:.1f}",
        "peak_rss_mib": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.1f}",
        "threads": threading.active_count(),
    })
