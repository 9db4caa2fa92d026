# SPDX-License-Identifier: Apache-2.0
"""Inject faults into a running perception node and write a table of the results.

The node runs in a process of its own. Synthetic sensors of the deployment publish over DDS, and each fault changes them
while the node works. The exit code is 1 if a fault failed.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rclpy.node import Node

from admn_ros.deployment import CAMERAS, find_deployment, load_deployment
from admn_ros.errors import AdmnError, InputError
from admn_ros.files import write_json, write_text
from admn_ros.inference.model import load_model_config
from admn_ros.nodes.processes import machine
from admn_ros.nodes.trials.fault_result import FaultResult, FaultSetup, Limits
from admn_ros.nodes.trials.feed import BASIC_TYPES, SensorFeed, synthetic_streams
from admn_ros.nodes.trials.options import check_durations, make_out_folder, trial_parser
from admn_ros.nodes.trials.perception_under_test import PerceptionUnderTest
from admn_ros.nodes.trials.sensor_faults import SensorFaults
from admn_ros.nodes.trials.synthetic_messages import Sizes, image_size
from admn_ros.nodes.trials.system_faults import SystemFaults
from admn_ros.sample import Modality
from admn_ros.share import find_shipped

BUDGET_EVERY_S = 0.4
GROUPS = (*(str(m) for m in Modality), "all", "budget", "flood", "governor", "node")


def parse(args: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = trial_parser("faults", __doc__, "faults.md and faults.json")
    parser.add_argument("--images", type=image_size, default=Sizes.rgb, metavar="WxH",
                        help="size of the synthetic images in pixels (default: 640x480)")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, help="groups of faults (default: all)")
    parser.add_argument("--fault-seconds", type=float, default=3.0, help="duration of a fault (default: 3)")
    parser.add_argument("--flood-seconds", type=float, default=60.0, help="duration of the flood (default: 60)")
    parser.add_argument("--gap-seconds", type=float, default=2.0,
                        help="longest gap in the output that passes (default: 2)")
    parser.add_argument("--patience-seconds", type=float, default=20.0,
                        help="longest wait for a reaction (default: 20)")
    parser.add_argument("--threads", type=int, default=0,
                        help="CPU threads of the network; 0 is the node's default (default: 0)")
    parsed = parser.parse_args(args)
    check_durations(parser, parsed, "fault_seconds", "flood_seconds", "gap_seconds", "patience_seconds")
    return parsed


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros faults`."""
    options = parse(args)
    try:
        make_out_folder(options.out)
        results = []
        for result in inject(options):
            results.append(result)
            print(f"{result.fault}: {result.verdict}", flush=True)
        table = markdown(results)
        print(f"\n{table}")
        if options.out is not None:
            write_text(options.out / "faults.md", _page(options, table))
            write_json(options.out / "faults.json", {
                "model": str(options.model), "sensors": str(options.sensors), "machine": machine(),
                "rows": [asdict(r) | {"verdict": r.verdict} for r in results]})
    except (AdmnError, RuntimeError) as error:
        print(f"faults: {error}", file=sys.stderr)
        return 2
    return 1 if any(r.failures for r in results) else 0


def inject(options: argparse.Namespace) -> Iterator[FaultResult]:
    """Inject one fault after another.

    Yields:
        Result of each fault.

    Raises:
        AdmnError: the model or the deployment cannot be used.
        RuntimeError: the perception node did not start.
    """
    sensors = find_deployment(options.sensors)
    deployment = load_deployment(sensors)
    other = [f"{key} ({kind})" for key, entry in deployment.inputs.items()
             if (kind := entry.kind_of(key.modality)) not in BASIC_TYPES]
    if other:
        raise InputError("sensors", ", ".join(other), f"inputs of type {' and '.join(BASIC_TYPES)}")
    layers = load_model_config(options.model).layers_total
    model = find_shipped(options.model, "models")
    sizes = Sizes(options.images, options.images)
    limits = Limits(fault_s=options.fault_seconds, gap_s=options.gap_seconds, patience_s=options.patience_seconds)
    with PerceptionUnderTest(model=model, sensors=sensors, threads=options.threads) as subject:
        node = Node("synthetic_sensors", context=subject.context)
        feed = SensorFeed(node, synthetic_streams(deployment, sizes))
        feed.start()
        try:
            setup = FaultSetup(subject, feed, limits)
            if not setup.wait_for_inputs():
                raise InputError("frames", "none with every input", "a model and sensors that fit each other")
            yield from _all(options, setup, sizes, model, layers)
        finally:
            feed.close()
            node.destroy_node()


def _all(options: argparse.Namespace, setup: FaultSetup, sizes: Sizes, model: Path,
         layers: int) -> Iterator[FaultResult]:
    """Inject the faults in the order of the table; those that kill a process come last."""
    sensor, system = SensorFaults(setup, sizes), SystemFaults(setup)
    with _RandomBudgets(setup, layers):
        for modality in Modality:
            if str(modality) in options.only and setup.feed.streams_of(modality):
                yield from sensor.stop_and_return(modality)
                for fault in (sensor.lag, sensor.double_rate, sensor.not_finite, sensor.other_encoding,
                              sensor.unknown_encoding, sensor.jump_back):
                    yield fault(modality)
                if modality in CAMERAS:
                    yield sensor.tai(modality)
    if "all" in options.only:
        yield system.stop_all_sensors()
        yield sensor.all_behind()
    if "budget" in options.only:
        yield system.alternate_budget(layers, options.fault_seconds)
        yield system.contradict(layers, options.fault_seconds)
    if "flood" in options.only:
        yield system.flood(options.flood_seconds)
    if "governor" in options.only:
        yield system.kill_governor(model, layers)
    if "node" in options.only:
        yield system.kill_node()


class _RandomBudgets:
    """A context manager that changes the budget from a thread."""

    def __init__(self, setup: FaultSetup, layers: int) -> None:
        self._listener, self._layers = setup.subject.listener, layers
        self._least = len({k.modality for k in setup.feed.streams})  # whole modalities are dropped below
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="budgets", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._listener.request_budget(self._layers)

    def _run(self) -> None:
        rng = np.random.default_rng(1)
        while not self._stopping.wait(BUDGET_EVERY_S):
            self._listener.request_budget(int(rng.integers(self._least, self._layers + 1)))


def markdown(results: list[FaultResult]) -> str:
    """Format the results as a Markdown table."""
    lines = ["| fault | frames in | frames out | longest gap s | noticed after s | recovered after s | refused "
             "| violations | what happened | verdict |", "|---|" + "---:|" * 7 + "---|---|"]
    lines += [f"| {r.fault} | {r.frames_in} | {r.frames_out} | {_seconds(r.longest_gap_s)} | {_seconds(r.noticed_s)} "
              f"| {_seconds(r.recovery_s)} | {r.refused} | {r.violations} | {r.outcome} | {r.verdict} |"
              for r in results]
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _page(options: argparse.Namespace, table: str) -> str:
    about = machine()
    return (f"# Faults\n\n`ros2 run admn_ros faults --out DIR`: model `{options.model}`, sensors `{options.sensors}`; "
            f"{about['processors']} processors, load {about['load'][1]} (5 min).\n\n"
            "Frames in: measurements of the reference camera. Frames out: frames that the node reported. Noticed: time "
            "from the fault until the output reflects it. Recovered: time from the end of the fault until a later "
            "frame has the input from all its sensor nodes. Violations: frames that exceeded their budget, which "
            "changes all the time.\n\n" + table + "\n")


if __name__ == "__main__":
    sys.exit(main())
