# SPDX-License-Identifier: Apache-2.0
"""Measure the latency that ROS adds to the network, from the stamp of a reading to the pose at a subscriber.

Sender, perception node and subscriber are processes of their own. The time from the reference stamp of a frame to its
pose has three parts: waiting for late inputs, inference, and the rest, which is transport, decoding, queueing and
publishing.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Sequence

import numpy as np

from admn_ros.errors import AdmnError, InputError
from admn_ros.files import write_json
from admn_ros.nodes.discovery import isolate_discovery
from admn_ros.nodes.processes import machine
from admn_ros.nodes.trials.options import check_durations, make_out_folder, trial_parser
from admn_ros.nodes.trials.perception_under_test import Interval, PerceptionUnderTest
from admn_ros.nodes.trials.synthetic_messages import Sizes, image_size

WARM_UP_S = 5.0
PARTS = ("end_to_end", "waiting", "inference", "added", "added_before_network", "added_around")


def parse(args: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = trial_parser("latency_benchmark", __doc__, "node_latency.json")
    for camera, default in (("rgb", Sizes.rgb), ("depth", Sizes.depth)):
        parser.add_argument(f"--{camera}", type=image_size, default=default, metavar="WxH",
                            help=f"size of {camera} images in pixels (default: 640x480)")
    parser.add_argument("--layers", type=float, default=-1.0, help="budget in layers; frames queue if the network is "
                        "slower than they come (default: that of the deployment)")
    parser.add_argument("--seconds", type=float, default=30.0, help="duration of a run (default: 30)")
    parser.add_argument("--runs", type=int, default=3, help="number of runs, of which the median is reported "
                        "(default: 3)")
    parsed = parser.parse_args(args)
    if parsed.runs < 1:
        parser.error(f"argument --runs: found {parsed.runs}; allowed: 1 or more")
    check_durations(parser, parsed, "seconds")
    if not math.isfinite(parsed.layers):
        parser.error(f"argument --layers: found {parsed.layers}; allowed: a finite number")
    return parsed


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros latency_benchmark`."""
    options = parse(args)
    isolate_discovery()
    try:
        make_out_folder(options.out)
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
        write_json(options.out / "node_latency.json", result)
    return 0


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Measure one run.

    Raises:
        InputError: there were too few frames.
        RuntimeError: a node did not start.
    """
    (rgb_height, rgb_width), (depth_height, depth_width) = options.rgb, options.depth
    with (PerceptionUnderTest(model=options.model, sensors=options.sensors, diagnostics_period_s=1.0,
                              budget_limit=options.layers) as subject,
          subject.fed(sensors=options.sensors, rgb_width=rgb_width, rgb_height=rgb_height, depth_width=depth_width,
                      depth_height=depth_height) as feed):
        subject.collect(min(WARM_UP_S, options.seconds))
        sender_cpu_s = feed.cpu_s()
        interval = subject.collect(options.seconds)
        sender_cores = (feed.cpu_s() - sender_cpu_s) / interval.seconds
        return {**parts(interval), "cores_node": round(interval.cores, 2), "cores_sender": round(sender_cores, 2),
                "machine": machine()}


def parts(interval: Interval) -> dict[str, object]:
    """Return percentiles of every part in milliseconds, over the frames with both pose and allocation.

    `added_before_network` is the time from the arrival of the newest input to the network (decoding, queueing);
    `added_around` is the rest of `added`: from the sender to the callback, and from the node to the subscriber.

    Raises:
        InputError: there are too few frames.
    """
    poses = {p.stamp_ns: p for p in interval.poses}
    frames = [f for f in interval.frames if f.stamp_ns in poses]
    if len(frames) < 2:
        raise InputError("poses", len(frames), "at least 2; the messages of the nodes are above")
    rows = np.array([(poses[f.stamp_ns].age_ms, f.waiting_ms, f.inference_ms, f.latency_ms) for f in frames])
    whole, waiting, inference, latency = rows.T
    added, before = whole - waiting - inference, latency - inference
    values = dict(zip(PARTS, (whole, waiting, inference, added, before, added - before), strict=True))
    dropped = interval.frames[-1].dropped - interval.frames[0].dropped
    return {**{name: _percentiles(v) for name, v in values.items()}, "frames": len(frames), "dropped": dropped}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(values, (50, 95))
    return {"p50_ms": round(float(p50), 2), "p95_ms": round(float(p95), 2)}


def text(result: dict[str, object]) -> str:
    """Format the figures as text."""
    names = {"end_to_end": "stamp to pose", "waiting": "  waiting for late inputs", "inference": "  inference",
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
