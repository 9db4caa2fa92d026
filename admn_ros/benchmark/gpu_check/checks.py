# SPDX-License-Identifier: Apache-2.0
"""The parts of the check. Each imports what it needs itself: a missing package fails one part only."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from admn_ros.benchmark.gpu_check.outcome import Device, Outcome, judged
from admn_ros.errors import AdmnError
from admn_ros.share import share_directory

if TYPE_CHECKING:
    from admn_ros.benchmark.latency.results import Latencies

LONGEST_TESTS_S = 240
PRECISIONS: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
MARK = re.compile(r"\bmark\.cuda\b")


def tests(device: Device) -> Iterator[Outcome]:
    """Run every test with the mark `cuda`."""
    folder = share_directory() / "test"
    files = sorted(str(p) for p in folder.rglob("test_*.py") if MARK.search(p.read_text(encoding="utf-8")))
    if device == "cpu" or not files:
        yield Outcome(name="tests", state="not run", detail="they need a GPU" if files else "only in a checkout")
        return
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-m", "cuda", "-p", "no:cacheprovider", *files]
    try:
        done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, timeout=LONGEST_TESTS_S,
                              check=False)
    except subprocess.TimeoutExpired:
        yield Outcome(name="tests", state="failed", detail=f"more than {LONGEST_TESTS_S} s")
        return
    lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
    failures = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    ran = not done.returncode and " passed" in lines[-1]  # all of them are skipped where PyTorch finds no GPU
    yield judged("tests", ran, "; ".join([lines[-1], *failures]))


def stages(device: Device) -> Iterator[Outcome]:
    """Train a few steps of every stage in each precision."""
    from admn_ros.benchmark.gpu_check.stages import STAGES, train_briefly  # noqa: PLC0415
    from admn_ros.model.presets import preset  # noqa: PLC0415

    model = preset("gdtm-room" if device == "cuda" else "table")
    batch, steps = (64, 6) if device == "cuda" else (4, 2)
    for stage in STAGES:
        for precision in PRECISIONS:
            name = f"{stage}, {precision}"
            with tempfile.TemporaryDirectory() as folder:
                try:
                    row = train_briefly(stage, model, Path(folder), device=device, precision=precision, batch=batch,
                                        steps=steps)
                except (AdmnError, RuntimeError) as error:
                    yield Outcome(name=name, state="failed", detail=str(error).splitlines()[0])
                    continue
            finite = all(math.isfinite(v) for v in row.values())
            yield judged(name, finite, f"{row['samples_per_s']:.0f} samples/s, loss {row['train/loss']:.4g}")


def latencies(device: Device) -> Latencies:
    """Run the latency benchmark at a reduced size."""
    from admn_ros.benchmark.gpu_check.targets import TARGETS  # noqa: PLC0415
    from admn_ros.benchmark.latency.plan import LatencyPlan, plans_for  # noqa: PLC0415
    from admn_ros.benchmark.latency.run import measure_latencies  # noqa: PLC0415

    if device == "cpu":
        return measure_latencies(plans_for("cpu", quick=True))
    layers: dict[str, list[int]] = {}
    for target in TARGETS:
        layers.setdefault(target.model, []).append(target.layers)
    return measure_latencies([LatencyPlan(
        device="cuda", models=(model,), layers=tuple(sorted(counts)), batches=(1, 8), precisions=PRECISIONS,
        repeats=50, seconds=2.0) for model, counts in layers.items()])


def targets(found: Latencies) -> Iterator[Outcome]:
    """Compare the latencies of the engines with the targets."""
    from admn_ros.benchmark.gpu_check.targets import check_targets  # noqa: PLC0415

    yield from check_targets(found)


def accuracy(device: Device) -> Iterator[Outcome]:
    """Compare the errors of the shipped model in each precision with those of a CPU."""
    from admn_ros.benchmark.gpu_check.accuracy import accuracy as errors  # noqa: PLC0415

    yield from errors(device)


def guarded(name: str, part: Callable[[], Iterator[Outcome]]) -> Iterator[Outcome]:
    """Yield the outcomes of a part; an error is one more outcome."""
    try:
        yield from part()
    except (AdmnError, ImportError, RuntimeError) as error:
        yield Outcome(name=name, state="failed", detail=str(error).splitlines()[0])
