# SPDX-License-Identifier: Apache-2.0
"""What ROS adds to the network: from the stamp of a reading to the pose that a subscriber holds.

Sender, perception node and subscriber are processes of their own. Of the time from the reference stamp of a frame
to its pose, three parts are told apart: waiting for inputs that had not come, inference, and the rest, which is
transport, decoding, queueing and publishing.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from admn_ros.errors import AdmnError, InputError
from admn_ros.nodes.processes import NodeProcess, keep_apart, machine
from admn_ros.nodes.trials.perception_under_test import Bench, Listener
from admn_ros.nodes.trials.synthetic_messages import Sizes, image_size

WARM_UP_S = 5.0
PARTS = ("end_to_end", "waiting", "inference", "added", "added_before_network", "added_around")


def parse(args: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="latency_benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="gdtm", help="model folder or name (default: the shipped gdtm)")
    parser.add_argument("--sensors", default="gdtm", help="deployment file or its name in config/ (default: gdtm)")
    parser.add_argument("--rgb", type=image_size, default=Sizes.rgb, help="WIDTHxHEIGHT (default: 640x480)")
    parser.add_argument("--depth", type=image_size, default=Sizes.depth, help="WIDTHxHEIGHT (default: 640x480)")
    parser.add_argument("--layers", type=float, default=-1.0, help="budget; a network that is slower than its frames "
                        "makes them queue (default: the deployment's)")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a run (default: 30)")
    parser.add_argument("--runs", type=int, default=3, help="runs; the median of them counts (default: 3)")
    parser.add_argument("--out", type=Path, help="folder for latency.json")
    parsed = parser.parse_args(args)
    if parsed.runs < 1:
        parser.error(f"argument --runs: found {parsed.runs}; allowed: 1 or more")
    if not 0 < parsed.seconds < math.inf:
        parser.error(f"argument --seconds: found {parsed.seconds}; allowed: more than 0")
    return parsed


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros latency_benchmark`."""
    options = parse(args)
    keep_apart()
    try:
        runs = [measure(options) for _ in range(options.runs)]
    except (AdmnError, RuntimeError) as error:
        print(f"latency_benchmark: {error}", file=sys.stderr)
        return 2
    result = {
        "rgb_height_width": options.rgb, "depth_height_width": options.depth, "seconds": options.seconds,
        "layers": options.layers if options.layers >= 0 else "of the deployment",
        "median_of_runs": {part: {q: statistics.median(run[part][q] for run in runs) for q in ("p50_ms", "p95_ms")}
                           for part in PARTS},
        "runs": runs,
    }
    print(text(result))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "latency.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(options: argparse.Namespace) -> dict[str, object]:
    """One run.

    Raises:
        RuntimeError: a node did not come up, or no pose came.
    """
    (rgb_height, rgb_width), (depth_height, depth_width) = options.rgb, options.depth
    with Bench(model=options.model, sensors=options.sensors, diagnostics_period_s=1.0,
               budget_limit=options.layers) as bench:
        feed = NodeProcess("feed", sensors=options.sensors, rgb_width=rgb_width, rgb_height=rgb_height,
                           depth_width=depth_width, depth_height=depth_height)
        try:
            bench.wait(lambda: bench.listener.poses or not feed.running, 60.0)
            time.sleep(min(WARM_UP_S, options.seconds))
            bench.listener.frames.clear()
            bench.listener.poses.clear()
            before, begun_s = (bench.perception.cpu_s(), feed.cpu_s()), time.monotonic()
            time.sleep(options.seconds)
            lasted_s = time.monotonic() - begun_s
            used = bench.perception.cpu_s() - before[0], feed.cpu_s() - before[1]
        finally:
            feed.stop()
        return {**parts(bench.listener), "cores_node": round(used[0] / lasted_s, 2),
                "cores_sender": round(used[1] / lasted_s, 2), "machine": machine()}


def parts(listener: Listener) -> dict[str, object]:
    """Percentiles of every part, over the frames whose pose and allocation both came, in milliseconds.

    added_before_network: from the arrival of the newest input to the network (decoding, queueing).
    added_around: the rest of what is added: from the sender to the callback, and from the node to the subscriber.

    Raises:
        InputError: too few frames.
    """
    poses = {p.stamp_ns: p for p in listener.poses}
    frames = [f for f in listener.frames if f.stamp_ns in poses]
    if len(frames) < 2:
        raise InputError("poses", len(frames), "at least 2; see the messages of the nodes above")
    rows = np.array([(poses[f.stamp_ns].age_ms, f.waiting_ms, f.inference_ms, f.latency_ms) for f in frames])
    whole, waiting, inference, latency = rows.T
    added, before = whole - waiting - inference, latency - inference
    values = dict(zip(PARTS, (whole, waiting, inference, added, before, added - before), strict=True))
    dropped = listener.frames[-1].dropped - listener.frames[0].dropped
    return {**{name: _percentiles(v) for name, v in values.items()}, "frames": len(frames), "dropped": dropped}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(values, (50, 95))
    return {"p50_ms": round(float(p50), 2), "p95_ms": round(float(p95), 2)}


def text(result: dict[str, object]) -> str:
    """The figures for people."""
    names = {"end_to_end": "stamp to pose", "waiting": "  waiting for other inputs", "inference": "  inference",
             "added": "  added by ROS", "added_before_network": "    decoding, queueing",
             "added_around": "    transport in, publishing"}
    lines = [f"{'median of ' + str(len(result['runs'])) + ' runs':30}   p50 ms   p95 ms"]
    lines += [f"{names[part]:30} {q['p50_ms']:8.1f} {q['p95_ms']:8.1f}"
              for part, q in result["median_of_runs"].items()]
    lines += [f"run: {run['frames']} frames, {run['dropped']} dropped, added p95 {run['added']['p95_ms']:.1f} ms, "
              f"cores: node {run['cores_node']}, sender {run['cores_sender']}; load {run['machine']['load'][0]} on "
              f"{run['machine']['processors']} processors" for run in result["runs"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
