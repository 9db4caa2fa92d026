# SPDX-License-Identifier: Apache-2.0
"""Replay a recording through ROS 2 into the perception node, show its work live, and write a picture and figures.

It starts the same nodes as `launch/gdtm.launch.py`, also where `launch` is not installed, and ends with the recording.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from admn_ros.cli.command import number
from admn_ros.deployment import find_deployment, load_deployment
from admn_ros.errors import AdmnError
from admn_ros.files import write_errors, write_json
from admn_ros.inference.model import load_model_config
from admn_ros.nodes.apps.watch import Display, WatchNode
from admn_ros.nodes.process_signals import pause, stop_requested
from admn_ros.nodes.processes import NodeProcess
from admn_ros.nodes.run_node import prepare_process
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.replay.bag_frames import absolute
from admn_ros.sensing.preprocess.preprocessor import check_inputs
from admn_ros.share import find_shipped, share_directory
from admn_ros.views.timeline import FrameRecord, draw_timeline

DOMAIN = "87"  # other than the default, so that a demo never reaches a robot
START_TIMEOUT_S = 60.0
BUNDLED = "demo"
"""Name of the recording in `config/` and of its deployment file."""


def parse(args: list[str] | None) -> argparse.Namespace:
    """Parse the command line of the demo."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.splitlines()[0])
    parser.add_argument("--bag", type=Path, help="recording to replay (default: the bundled one)")
    parser.add_argument("--model", default="gdtm", help="model folder or name (default: the shipped gdtm)")
    parser.add_argument("--sensors", help="deployment file or its name in config/ (default: gdtm; demo for the bundled "
                        "recording)")
    parser.add_argument("--rate", type=number(0.01, 100.0), default=1.0,
                        help="replay speed as a multiple of real time (default: 1)")
    parser.add_argument("--out", type=Path, default=Path("out"),
                        help="folder for demo.png and demo.json (default: out)")
    options = parser.parse_args(args)
    options.sensors = options.sensors or ("gdtm" if options.bag else BUNDLED)
    return options


def main(args: list[str] | None = None) -> int:
    """Entry point of `make demo`."""
    options = parse(args)
    try:
        bag = options.bag or share_directory() / "config" / BUNDLED
        model = find_shipped(options.model, "models")
        _check(options)
        with BagReader(bag) as reader:
            print(f"recording: {bag} ({reader.message_count} messages, "
                  f"{(reader.end_ns - reader.start_ns) * 1e-9:.1f} s)"
                  + ("" if options.bag else "; bundled, `admn simulate --bag BAG` records another for --bag BAG"))
            print("starting the perception node and the replay; a slow computer takes a minute", flush=True)
    except AdmnError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    watched = _run(bag, model, options)
    if not watched.records and stop_requested():
        return 0
    if not watched.records:
        print("demo: the perception node reported no frame; its own messages are above", file=sys.stderr)
        return 1
    return _report(watched, _inputs(bag, options.sensors, watched.accepted), options.out)


def _check(options: argparse.Namespace) -> None:
    """Check the arguments here, because the perception node reports errors to its log alone.

    Raises:
        AdmnError: an argument cannot be used.
    """
    deployment = load_deployment(options.sensors)
    check_inputs(load_model_config(options.model), deployment.inputs)
    with write_errors(options.out):
        options.out.mkdir(parents=True, exist_ok=True)


def _run(bag: Path, model: Path, options: argparse.Namespace) -> WatchNode:
    """Run both nodes as processes until the replay ends. Returns the watching node, destroyed, with its records."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", DOMAIN)
    prepare_process()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = WatchNode()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    display: Display | None = None
    perception = NodeProcess("perception", log_level="warn", autostart=True, model=model, use_sim_time=True,
                             sensors=find_deployment(options.sensors))
    replay: NodeProcess | None = None
    try:
        # Both start at once, in the time of the slower one; the replay waits for the subscribers.
        replay = NodeProcess("replay", log_level="warn", bag=bag, rate=float(options.rate),
                             wait_for_subscribers_s=START_TIMEOUT_S)
        _spin_until(executor, lambda: node.connected or not perception.running, START_TIMEOUT_S)
        display = Display(node)
        _spin_until(executor, lambda: not (replay.running and perception.running), math.inf)
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
        pause(0.0)
        executor.spin_once(timeout_sec=0.1)


def _inputs(bag: Path, sensors: str, received: dict[str, int]) -> dict[str, dict[str, int]]:
    """Return the number of messages in the recording and of messages that the node accepted, by input."""
    deployment = load_deployment(sensors)
    with BagReader(bag) as reader:
        topics = {str(key): absolute(entry.topic) for key, entry in deployment.inputs.items()}
        recorded = {key: reader.topics[topic].count if topic in reader.topics else 0 for key, topic in topics.items()}
    return {key: {"recorded": count, "received": received.get(key, 0)} for key, count in recorded.items()}


def summarize(records: list[FrameRecord]) -> dict[str, float]:
    """Return the figures of a run; `median_error_cm` only where there is ground truth."""
    latencies = sorted(r.latency_ms for r in records)
    errors_cm = [e for r in records if not math.isnan(e := r.error_cm)]
    return {
        "frames_watched": len(records),
        "frames_dropped": records[-1].dropped,
        "budget_violations": sum(r.spent > r.granted for r in records),
        "frames_without_estimate": sum(r.reason not in ("allocated", "degraded") for r in records),
        "frames_with_ground_truth": sum(not math.isnan(r.truth_m[0]) for r in records),
        **({"median_error_cm": round(statistics.median(errors_cm), 1)} if errors_cm else {}),
        "latency_p50_ms": round(statistics.median(latencies), 2),
        "latency_p95_ms": round(latencies[min(len(latencies) - 1, int(0.95 * len(latencies)))], 2),
        "seconds": round((records[-1].stamp_ns - records[0].stamp_ns) * 1e-9, 2),
    }


def _report(watched: WatchNode, inputs: dict[str, dict[str, int]], out: Path) -> int:
    records = watched.frames()
    figures = {"frames_processed": watched.processed, **summarize(records)}
    write_json(out / "demo.json", {**figures, "inputs": inputs})
    draw_timeline(records, out / "demo.png", "layers run in each frame, and the budget that they never exceed")
    print(", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in figures.items()))
    recorded, received = (sum(i[k] for i in inputs.values()) for k in ("recorded", "received"))
    print(f"sensor messages: {recorded} in the recording, {received} received by the node")
    print(f"picture: {out / 'demo.png'}   figures: {out / 'demo.json'}")
    return 1 if figures["budget_violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
