# SPDX-License-Identifier: Apache-2.0
"""Runs the perception node for a long time and shows that nothing grows: memory, latency, drops, violations.

The node and its sensors run in processes of their own. The sensors are a recording of the simulated room that goes
round with the stamps of now, or made-up readings. The budget changes at random frames.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from admn_ros.config import ModelConfig, load_config
from admn_ros.errors import AdmnError, InputError
from admn_ros.nodes.processes import NodeProcess, keep_apart, machine
from admn_ros.nodes.trials.perception_under_test import Bench, Seen
from admn_ros.nodes.trials.soak_report import Span, draw, summarize, text
from admn_ros.share import find_shipped

CHANGE = 0.25  # chance that a frame is answered with another budget
FIRST_FRAME_S = 300.0


def parse(args: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default: 30)")
    parser.add_argument("--bag", type=Path, help="rosbag2 that goes round (default: made-up readings)")
    parser.add_argument("--model", default="gdtm", help="model folder or name (default: the shipped gdtm)")
    parser.add_argument("--sensors", default="gdtm", help="deployment file or its name in config/ (default: gdtm)")
    parser.add_argument("--span-seconds", type=float, default=10.0, help="how often figures are taken (default: 10)")
    parser.add_argument("--out", type=Path, help="folder for soak.json and soak.png")
    parsed = parser.parse_args(args)
    for name in ("minutes", "span_seconds"):
        if not 0 < getattr(parsed, name) < math.inf:
            parser.error(f"argument --{name.replace('_', '-')}: found {getattr(parsed, name)}; allowed: more than 0")
    return parsed


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros soak`."""
    options = parse(args)
    keep_apart()
    try:
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
        if not options.minutes > 0 or not options.span_seconds > 0:
            raise InputError("minutes, span-seconds", f"{options.minutes:g}, {options.span_seconds:g}", "more than 0")
        spans = run(options)
    except (AdmnError, RuntimeError, OSError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    result = {"model": str(options.model), "sensors": str(options.sensors), "recording": bool(options.bag),
              "machine": machine(), **summarize(spans)}
    print(text(result))
    if options.out is not None:
        (options.out / "soak.json").write_text(
            json.dumps({**result, "spans": [asdict(s) for s in spans]}, indent=1) + "\n", encoding="utf-8")
        draw(spans, options.out / "soak.png")
    return 1 if result["violations"] or result["failed"] else 0


def run(options: argparse.Namespace) -> list[Span]:
    """Soak; returns the figures of each span. Ctrl-C ends it early.

    Raises:
        RuntimeError: a node did not come up, or ended by itself.
    """
    layers = load_config(ModelConfig, Path(find_shipped(options.model, "models")) / "config.yaml").layers_total
    source = {} if options.bag is None else {"bag": options.bag.resolve()}
    spans: list[Span] = []
    with Bench(model=options.model, sensors=options.sensors, diagnostics_period_s=1.0) as bench:
        feed = NodeProcess("feed", sensors=options.sensors, **source)
        try:
            if not bench.wait(lambda: bench.listener.frames or not feed.running, FIRST_FRAME_S) or not feed.running:
                raise RuntimeError("no frame came; the nodes' own messages are above")
            bench.listener.on_frame = _Moody(bench, layers)
            begun_s = time.monotonic()
            while time.monotonic() < begun_s + 60.0 * options.minutes:
                spans.append(_span(bench, options.span_seconds, begun_s))
                print(spans[-1].line(), flush=True)
                if not bench.perception.running or not feed.running:
                    raise RuntimeError("a node ended by itself; its own messages are above")
        except KeyboardInterrupt:
            pass
        finally:
            bench.listener.on_frame = None
            feed.stop()
    return spans


class _Moody:
    """Answers some frames with another budget: from one layer to everything."""

    def __init__(self, bench: Bench, layers: int) -> None:
        self._listener, self._layers, self._rng = bench.listener, layers, np.random.default_rng(0)

    def __call__(self, frame: Seen) -> None:
        if self._rng.random() < CHANGE:
            self._listener.budget(int(self._rng.integers(1, self._layers + 1)))


def _span(bench: Bench, seconds: float, begun_s: float) -> Span:
    """Wait, then take the figures of what came meanwhile."""
    listener = bench.listener
    before = listener.last
    cpu_s, since_s = bench.perception.cpu_s(), time.monotonic()
    time.sleep(seconds)
    frames, listener.frames = listener.frames, []
    poses, listener.poses = listener.poses, []
    lasted_s = time.monotonic() - since_s
    memory = bench.perception.memory()
    return Span.of(since_s + lasted_s - begun_s, before, frames, poses, memory,
                   (bench.perception.cpu_s() - cpu_s) / lasted_s)


if __name__ == "__main__":
    sys.exit(main())
