# SPDX-License-Identifier: Apache-2.0
"""The demo: a recording through DDS into the perception node, watched live; ends by itself.

Starts the same nodes as `launch/gdtm.launch.py`, on machines that have no `launch`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor

from admn_ros import __version__
from admn_ros.config import ModelConfig, load_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import AdmnError, InputError
from admn_ros.model.presets import preset
from admn_ros.nodes.apps.watch import Display, WatchNode
from admn_ros.nodes.processes import NodeProcess
from admn_ros.nodes.run_node import prepare_process
from admn_ros.recordings.bags import BagReader
from admn_ros.sensing.preprocess.preprocessor import check_inputs
from admn_ros.share import find_shipped
from admn_ros.simulation.plain.recording import record
from admn_ros.views.timeline import FrameRecord, draw_timeline

DOMAIN = "87"  # away from the default, so that a demo does not talk to a robot
START_TIMEOUT_S = 60.0


def parse(args: list[str] | None) -> argparse.Namespace:
    """Command line of the demo."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "admn_ros"
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.splitlines()[0])
    parser.add_argument("--bag", type=Path, help="recording to replay (default: one made on the spot, and kept)")
    parser.add_argument("--model", default="gdtm", help="model folder or name (default: the shipped gdtm)")
    parser.add_argument("--sensors", default="gdtm", help="deployment file or its name in config/ (default: gdtm)")
    parser.add_argument("--rate", type=float, default=1.0, help="recorded seconds per second (default: 1)")
    parser.add_argument("--cache", type=Path, default=cache, help="where the recording is kept")
    parser.add_argument("--out", type=Path, default=Path("out"), help="where demo.png and demo.json go (default: out)")
    return parser.parse_args(args)


def main(args: list[str] | None = None) -> int:
    """Entry point of `make demo`."""
    options = parse(args)
    try:
        bag = options.bag or _recording(options.cache)
        model = find_shipped(options.model, "models")
        _check(options, model)
        with BagReader(bag) as reader:
            print(f"recording: {bag} ({reader.message_count} messages, "
                  f"{(reader.end_ns - reader.start_ns) * 1e-9:.1f} s)")
    except AdmnError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    watched = _run(bag, model, options)
    if not watched.records:
        print("demo: the perception node reported no frame; its own messages are above", file=sys.stderr)
        return 1
    return _report(watched, _inputs(bag, options.sensors, watched.accepted), options.out)


def _check(options: argparse.Namespace, model: str | Path) -> None:
    """Find out now what the perception node would only tell its log."""
    deployment = load_config(DeploymentConfig, find_shipped(options.sensors, "config", ".yaml"))
    kind, _, name = str(model).partition(":")
    config = preset(name) if kind == "untrained" else load_config(ModelConfig, Path(model) / "config.yaml")
    check_inputs(config, deployment.inputs)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(error.filename), error.strerror, "a folder that can be written") from error


def _recording(cache: Path) -> Path:
    folder = cache / f"demo_recording_{__version__}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(cache), error.strerror, "a folder that can be written") from error
    if not (folder / "metadata.yaml").is_file():
        print("making a recording (a car that four modalities see from three sensor nodes), once ...", flush=True)
        started_s = time.monotonic()
        # In a process of its own: what a broken OpenGL library does to it is not done to us.
        done = subprocess.run(
            [sys.executable, "-m", "admn_ros.cli", "simulate", "--bag", str(folder), "--frames", "180", "--quality",
             "medium", "--target", "red_car"], capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["it gave no reason"]
            print(f"  the simulated room cannot be rendered here ({said[-1]}); a plainer one is drawn instead")
            shutil.rmtree(folder, ignore_errors=True)
            record(folder)
        print(f"  {time.monotonic() - started_s:.1f} s")
    return folder


def _run(bag: Path, model: Path, options: argparse.Namespace) -> WatchNode:
    """Start both nodes as processes and watch until the replay ends; returns the watcher, destroyed."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", DOMAIN)
    prepare_process()
    rclpy.init()
    node = WatchNode()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    display: Display | None = None
    perception = NodeProcess("perception", log_level="warn", autostart=True, model=model, use_sim_time=True,
                             sensors=find_shipped(options.sensors, "config", ".yaml"))
    replay: NodeProcess | None = None
    try:
        _spin_until(executor, lambda: node.connected or not perception.running, START_TIMEOUT_S)
        replay = NodeProcess("replay", log_level="warn", bag=bag, rate=float(options.rate),
                             wait_for_subscribers_s=START_TIMEOUT_S)
        display = Display(node)
        while replay.running and perception.running:
            executor.spin_once(timeout_sec=0.1)
        _spin_until(executor, lambda: False, 1.5)  # the last diagnostics
    except KeyboardInterrupt:
        pass
    finally:
        if display is not None:
            display.close()
        for process in (replay, perception):
            if process is not None:
                process.stop()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    return node


def _spin_until(executor: SingleThreadedExecutor, condition: Callable[[], bool], timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s and not condition():
        executor.spin_once(timeout_sec=0.1)


def _inputs(bag: Path, sensors: str, received: dict[str, int]) -> dict[str, dict[str, int]]:
    """Messages in the recording and messages that the node took, per input."""
    deployment = load_config(DeploymentConfig, find_shipped(sensors, "config", ".yaml"))
    with BagReader(bag) as reader:
        recorded = {str(key): reader.topics[entry.topic].count if entry.topic in reader.topics else 0
                    for key, entry in deployment.inputs.items()}
    return {key: {"recorded": count, "received": received.get(key, 0)} for key, count in recorded.items()}


def summarize(records: list[FrameRecord]) -> dict[str, float]:
    """Figures of a run."""
    latencies = sorted(r.latency_ms for r in records)
    return {
        "frames_watched": len(records),
        "frames_dropped": records[-1].dropped,
        "budget_violations": sum(r.spent > r.granted for r in records),
        "frames_without_estimate": sum(r.reason not in ("allocated", "degraded") for r in records),
        "frames_with_ground_truth": sum(not math.isnan(r.truth_m[0]) for r in records),
        "latency_p50_ms": round(statistics.median(latencies), 2),
        "latency_p95_ms": round(latencies[min(len(latencies) - 1, int(0.95 * len(latencies)))], 2),
        "seconds": round((records[-1].stamp_ns - records[0].stamp_ns) * 1e-9, 2),
    }


def _report(watched: WatchNode, inputs: dict[str, dict[str, int]], out: Path) -> int:
    records = list(watched.records)
    figures = {"frames_processed": watched.processed, **summarize(records)}
    (out / "demo.json").write_text(json.dumps({**figures, "inputs": inputs}, indent=2) + "\n", encoding="utf-8")
    draw_timeline(records, out / "demo.png", "layers run in each frame, and the budget that they never exceed")
    print(", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in figures.items()))
    recorded, received = (sum(i[k] for i in inputs.values()) for k in ("recorded", "received"))
    print(f"sensor messages: {recorded} in the recording, {received} received by the node")
    print(f"picture: {out / 'demo.png'}   figures: {out / 'demo.json'}")
    return 1 if figures["budget_violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
