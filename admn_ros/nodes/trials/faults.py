# SPDX-License-Identifier: Apache-2.0
"""Tries to break the perception node, and writes down what came of it: a table of faults.

The node runs in a process of its own; made-up sensors of the deployment publish over real DDS, and each fault is put
into them while it works. Exit code 1 when any row failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rclpy.node import Node

from admn_ros.config import ModelConfig, load_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import AdmnError, InputError
from admn_ros.model.presets import preset
from admn_ros.nodes.processes import machine
from admn_ros.nodes.trials.fault_rows import Injector, Limits, Row
from admn_ros.nodes.trials.fault_system import SystemFaults
from admn_ros.nodes.trials.feed import PLAIN, Feed, made_up
from admn_ros.nodes.trials.perception_under_test import Bench
from admn_ros.nodes.trials.synthetic_messages import Sizes, image_size
from admn_ros.sample import Modality
from admn_ros.share import find_shipped

BUDGET_EVERY_S = 0.4
GROUPS = (*(str(m) for m in Modality), "budget", "flood", "governor", "node")


def parse(args: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for faults.md and faults.json")
    parser.add_argument("--model", default="gdtm", help="model folder or name (default: the shipped gdtm)")
    parser.add_argument("--sensors", default="gdtm", help="deployment file or its name in config/ (default: gdtm)")
    parser.add_argument("--images", type=image_size, default=Sizes.rgb,
                        help="WIDTHxHEIGHT of the made-up images (default: 640x480)")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, help="groups of faults (default: all)")
    parser.add_argument("--fault-seconds", type=float, default=3.0, help="how long a fault lasts (default: 3)")
    parser.add_argument("--flood-seconds", type=float, default=60.0, help="how long the flood lasts (default: 60)")
    parser.add_argument("--gap-seconds", type=float, default=2.0,
                        help="longest gap in the output that passes (default: 2)")
    parser.add_argument("--patience-seconds", type=float, default=20.0,
                        help="what has not come by then will never come (default: 20)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the network (default: node's choice)")
    return parser.parse_args(args)


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros faults`."""
    options = parse(args)
    try:
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
        rows = []
        for row in inject(options):
            rows.append(row)
            print(f"{row.fault}: {row.verdict}", flush=True)
    except (AdmnError, RuntimeError, OSError) as error:
        print(f"faults: {error}", file=sys.stderr)
        return 2
    table = markdown(rows)
    print(f"\n{table}")
    if options.out is not None:
        (options.out / "faults.md").write_text(_page(options, table), encoding="utf-8")
        (options.out / "faults.json").write_text(json.dumps(
            {"model": str(options.model), "sensors": str(options.sensors), "machine": machine(),
             "rows": [asdict(r) | {"verdict": r.verdict} for r in rows]}, indent=2) + "\n", encoding="utf-8")
    return 1 if any(r.broken for r in rows) else 0


def inject(options: argparse.Namespace) -> Iterator[Row]:
    """One fault after another; their rows as they are done.

    Raises:
        AdmnError: the model or the deployment cannot be used.
        RuntimeError: the perception node did not come up.
    """
    deployment = load_config(DeploymentConfig, find_shipped(options.sensors, "config", ".yaml"))
    odd = [f"{key} ({kind})" for key, entry in deployment.inputs.items()
           if (kind := entry.kind_of(key.modality)) not in PLAIN]
    if odd:
        raise InputError("sensors", ", ".join(odd), f"inputs of type {' and '.join(PLAIN)}, to be broken in every way")
    model = find_shipped(options.model, "models")
    layers = _layers(str(model))
    sizes = Sizes(options.images, options.images)
    limits = Limits(fault_s=options.fault_seconds, gap_s=options.gap_seconds,
                    patience_s=options.patience_seconds)
    with Bench(model=model, sensors=find_shipped(options.sensors, "config", ".yaml"), threads=options.threads) as bench:
        node = Node("made_up_sensors", context=bench.context)
        feed = Feed(node, made_up(deployment, sizes))
        feed.start()
        try:
            injector = Injector(bench, feed, sizes, limits)
            if not injector.settle():
                raise InputError("frames", "not one with every input", "a model and sensors that fit each other")
            yield from _all(options, injector, SystemFaults(bench, feed, injector, limits), model, layers)
        finally:
            feed.close()
            node.destroy_node()


def _all(options: argparse.Namespace, injector: Injector, system: SystemFaults, model: Path,
         layers: int) -> Iterator[Row]:
    """The rows in the order of the table; those that kill something come last."""
    with _Budgets(injector, layers):
        for modality in Modality:
            if str(modality) in options.only and injector.feed.of(modality):
                yield from injector.stop_and_return(modality)
                for fault in (injector.lag, injector.double, injector.not_finite, injector.other_encoding,
                              injector.unknown_encoding, injector.jump_back):
                    yield fault(modality)
    if "budget" in options.only:
        yield system.restless_budget(layers, options.fault_seconds)
    if "flood" in options.only:
        yield system.flood(options.flood_seconds)
    if "governor" in options.only:
        yield system.governor_dies(model, layers)
    if "node" in options.only:
        yield system.node_dies()


class _Budgets:
    """Asks for another number of layers now and then, for as long as the context holds."""

    def __init__(self, injector: Injector, layers: int) -> None:
        self._listener, self._layers = injector.bench.listener, layers
        self._least = len({k.modality for k in injector.feed.streams})  # below, whole modalities are dropped
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="budgets", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._listener.budget(self._layers)

    def _run(self) -> None:
        rng = np.random.default_rng(1)
        while not self._stopping.wait(BUDGET_EVERY_S):
            self._listener.budget(int(rng.integers(self._least, self._layers + 1)))


def _layers(model: str) -> int:
    kind, _, name = model.partition(":")
    config = preset(name) if kind == "untrained" else load_config(ModelConfig, Path(model) / "config.yaml")
    return config.layers_total


def markdown(rows: list[Row]) -> str:
    """The table."""
    lines = ["| fault | frames in | frames out | longest gap s | noticed after s | recovered after s | refused "
             "| violations | what happened | verdict |", "|---|" + "---:|" * 7 + "---|---|"]
    lines += [f"| {r.fault} | {r.frames_in} | {r.frames_out} | {_seconds(r.longest_gap_s)} | {_seconds(r.noticed_s)} "
              f"| {_seconds(r.recovery_s)} | {r.refused} | {r.violations} | {r.said} | {r.verdict} |" for r in rows]
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _page(options: argparse.Namespace, table: str) -> str:
    about = machine()
    return (f"# Faults\n\n`ros2 run admn_ros faults --out DIR`: model `{options.model}`, sensors `{options.sensors}`; "
            f"{about['processors']} processors, load {about['load'][1]} (5 min).\n\n"
            "Frames in: measurements of the leading camera. Frames out: frames that the node reported. Noticed: from "
            "the fault until the output told of it. Recovered: from the end of the fault until a frame of "
            "afterwards had the input from all its sensor nodes. Violations: frames that spent more than their budget, "
            "which changes all the time.\n\n" + table + "\n")


if __name__ == "__main__":
    sys.exit(main())
