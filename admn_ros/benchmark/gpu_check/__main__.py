# SPDX-License-Identifier: Apache-2.0
"""Acceptance on a machine with a GPU: `python -m admn_ros.benchmark.gpu_check`. Needs neither ROS nor a network."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch

from admn_ros.benchmark.gpu_check import checks
from admn_ros.benchmark.gpu_check.outcome import Device, Outcome
from admn_ros.config import Strict
from admn_ros.errors import AdmnError
from admn_ros.files import write_text
from admn_ros.inference.hardware import device_name, pick_device


class Report(Strict):
    """Everything that the check found.

    Attributes:
        device: name of the GPU or processor.
        torch: version of PyTorch.
        cuda: version of CUDA; None without.
        state: passed if nothing failed and everything ran.
        seconds: duration of each part.
        outcomes: all checks.
        latencies: results of the latency benchmark, as in `latency.json`; None if it failed.
    """

    device: str
    torch: str
    cuda: str | None
    state: Literal["passed", "failed", "incomplete"]
    seconds: dict[str, float]
    outcomes: tuple[Outcome, ...]
    latencies: Any = None


def main(args: list[str] | None = None) -> int:
    """Run all parts, print the outcomes, write one JSON file; return 0 if nothing failed."""
    parser = argparse.ArgumentParser(prog="gpu_check", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda",
                        help="cpu runs everything that needs no GPU (default: cuda)")
    parser.add_argument("--out", type=Path, default=Path("out/gpu-check.json"), metavar="FILE",
                        help="file to write (default: out/gpu-check.json)")
    options = parser.parse_args(args)
    try:
        report = run(options.device)
        write_text(options.out, report.model_dump_json(indent=1) + "\n")
    except AdmnError as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return 2
    print(render(report), options.out, sep="\n")
    return int(report.state == "failed")


def run(device: Device) -> Report:
    """Run all parts, and print each outcome as it comes.

    Raises:
        InputError: there is no GPU for `cuda`.
    """
    place = pick_device(device)
    outcomes: list[Outcome] = []
    seconds: dict[str, float] = {}
    latency: list[Any] = []

    def latencies() -> Iterator[Outcome]:
        from admn_ros.benchmark.latency.text import render as tables  # noqa: PLC0415

        found = checks.latencies(device)
        latency.append(found.model_dump(mode="json"))
        print(tables(found), flush=True)
        yield Outcome(name="latency", state="passed", detail=f"{len(found.timings)} timings")
        yield from checks.targets(found)

    parts: dict[str, Callable[[], Iterator[Outcome]]] = {
        "tests": functools.partial(checks.tests, device), "latency": latencies,
        "accuracy": functools.partial(checks.accuracy, device), "stages": functools.partial(checks.stages, device)}
    for name, part in parts.items():
        started = time.monotonic()
        for outcome in checks.guarded(name, part):
            outcomes.append(outcome)
            print(line(outcome), flush=True)
        seconds[name] = round(time.monotonic() - started, 1)
    states = {outcome.state for outcome in outcomes}
    state: Literal["passed", "failed", "incomplete"] = (
        "failed" if "failed" in states else "incomplete" if "not run" in states else "passed")
    return Report(device=device_name(place), torch=torch.__version__, cuda=torch.version.cuda, state=state,
                  seconds=seconds, outcomes=tuple(outcomes), latencies=next(iter(latency), None))


def line(outcome: Outcome) -> str:
    """Return an outcome as one line."""
    return f"{outcome.state:8} {outcome.name}: {outcome.detail}"


def render(report: Report) -> str:
    """Return the end of the output: what did not pass, and one line about everything."""
    open_points = [line(outcome) for outcome in report.outcomes if outcome.state != "passed"]
    passed = len(report.outcomes) - len(open_points)
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report.seconds.items())
    return "\n".join(["", *open_points, f"{report.state.upper()}: {passed} of {len(report.outcomes)} checks passed on "
                      f"{report.device}, PyTorch {report.torch}, CUDA {report.cuda or 'none'} ({took})"])


if __name__ == "__main__":
    sys.exit(main())
