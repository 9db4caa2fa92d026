# SPDX-License-Identifier: Apache-2.0
"""Run the perception node for a long time and measure memory, latency, drops and budget violations.

The node and its sensors run in processes of their own. The sensors are synthetic, or a recording that is repeated with
current stamps. The budget changes at random frames.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from admn_ros.errors import AdmnError
from admn_ros.files import write_json
from admn_ros.inference.model import load_model_config
from admn_ros.nodes.discovery import isolate_discovery
from admn_ros.nodes.processes import machine
from admn_ros.nodes.trials.options import check_durations, make_out_folder, trial_parser
from admn_ros.nodes.trials.perception_under_test import Listener, PerceptionUnderTest, ReportedFrame
from admn_ros.nodes.trials.soak_report import Span, draw, summarize, text

BUDGET_CHANGE = 0.25
"""Probability that a frame is answered with another budget."""


def parse(args: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = trial_parser("soak", __doc__, "soak.json and soak.png")
    parser.add_argument("--minutes", type=float, default=30.0, help="duration (default: 30)")
    parser.add_argument("--bag", type=Path, help="rosbag2 to repeat (default: synthetic messages)")
    parser.add_argument("--span-seconds", type=float, default=10.0, help="time between two measurements (default: 10)")
    parsed = parser.parse_args(args)
    check_durations(parser, parsed, "minutes", "span_seconds")
    return parsed


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros soak`."""
    options = parse(args)
    isolate_discovery()
    try:
        make_out_folder(options.out)
        spans = run(options)
        result = {"model": str(options.model), "sensors": str(options.sensors), "recording": bool(options.bag),
                  "machine": machine(), **summarize(spans)}
        print(text(result))
        if options.out is not None:
            write_json(options.out / "soak.json", {**result, "spans": [asdict(s) for s in spans]})
            draw(spans, options.out / "soak.png")
    except (AdmnError, RuntimeError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    return 1 if result["violations"] or result["failed"] else 0


def run(options: argparse.Namespace) -> list[Span]:
    """Run the soak and return the figures of each span. Ctrl-C ends it early.

    Raises:
        ConfigError: the model cannot be used.
        RuntimeError: a node did not start, or ended by itself.
    """
    layers = load_model_config(options.model).layers_total
    source = {} if options.bag is None else {"bag": options.bag.resolve()}
    spans: list[Span] = []
    with (PerceptionUnderTest(model=options.model, sensors=options.sensors, diagnostics_period_s=1.0) as subject,
          subject.fed(sensors=options.sensors, **source) as feed):
        subject.listener.on_frame = _RandomBudgets(subject.listener, layers)
        start_s = time.monotonic()
        try:
            while time.monotonic() < start_s + 60.0 * options.minutes:
                before = subject.listener.last
                interval = subject.collect(options.span_seconds)
                spans.append(Span.of(time.monotonic() - start_s, before, interval, subject.process.memory()))
                print(spans[-1].line(), flush=True)
                if not subject.process.running or not feed.running:
                    raise RuntimeError("a node ended by itself; its own messages are above")
        except KeyboardInterrupt:
            pass
        finally:
            subject.listener.on_frame = None
    return spans


class _RandomBudgets:
    """Answers some frames with another budget, from one layer to all."""

    def __init__(self, listener: Listener, layers: int) -> None:
        self._listener, self._layers, self._rng = listener, layers, np.random.default_rng(0)

    def __call__(self, frame: ReportedFrame) -> None:
        if self._rng.random() < BUDGET_CHANGE:
            self._listener.request_budget(int(self._rng.integers(1, self._layers + 1)))


if __name__ == "__main__":
    sys.exit(main())
