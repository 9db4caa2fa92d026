# SPDX-License-Identifier: Apache-2.0
"""Time frames of the engine here beside those of an earlier commit, with a model of that commit.

    python build_support/compare_commit.py 0788cf4

Needs the git history and the installed packages. Both engines run in turns, each in its own process, so that other load
on the machine meets both alike. Prints median (shortest) times of a frame, controller included and preprocessing not,
their ratios, and the largest difference between the estimates of both.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch

from admn_ros.budget.budget import Budget
from admn_ros.inference.engine import Engine
from admn_ros.sample import MultimodalSample

ROOT = Path(__file__).resolve().parents[1]
FRAMES, UNTIMED = 8, 3
"""Timed frames of an engine in a turn, and frames before them that fill the processor's caches again."""
PAUSE_S = 0.02
"""Time in which the threads of one engine fall asleep before the other's turn, in seconds."""


class Turn(TypedDict):
    """Times of frames in milliseconds, and position, covariance and class probabilities of each."""

    wall_ms: list[float]
    cpu_ms: list[float]
    estimates: list[list[float]]


def work(folder: str, threads: int) -> None:
    """Run frames for each line `LAYERS` of the standard input, with the package of PYTHONPATH."""
    engine, draws = Engine(folder, "cpu", threads), torch.Generator().manual_seed(0)
    config = engine.config
    nodes = len(config.sensor_nodes)
    samples = [MultimodalSample(
        {m: torch.randn(nodes, *c.input.shape, generator=draws) for m, c in config.modalities.items()},
        {m: torch.ones(nodes, dtype=torch.bool) for m in config.modalities}) for _ in range(UNTIMED + FRAMES)]
    for line in sys.stdin:
        budget, found = Budget(int(line), "layers"), Turn(wall_ms=[], cpu_ms=[], estimates=[])
        for sample in samples:
            start, used = time.perf_counter(), time.process_time()
            estimate = engine.infer(sample, budget)
            found["cpu_ms"].append((time.process_time() - used) * 1e3)
            found["wall_ms"].append((time.perf_counter() - start) * 1e3)
            assert estimate.mean_m is not None and estimate.covariance_m2 is not None and estimate.scores is not None
            found["estimates"].append([*estimate.mean_m, *estimate.covariance_m2.ravel(), *estimate.scores])
        print(json.dumps(found), flush=True)


class Process:
    """An engine in its own process."""

    def __init__(self, tree: Path, folder: Path, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--work", str(folder), "--threads", str(threads)], cwd=tree, text=True,
            env={**os.environ, "PYTHONPATH": str(tree)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, layers: int) -> Turn:
        """Run frames with a budget of layers."""
        time.sleep(PAUSE_S)
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(f"{layers}\n")
        stdin.flush()
        turn: Turn = json.loads(stdout.readline() or sys.exit("an engine stopped"))
        return turn

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def export(commit: str, out: Path) -> Path:
    """Write the tree of a commit to a folder."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(out, filter="data")
    return out


def compare(processes: tuple[Process, Process], layers: int, turns: int) -> str:
    """Return times of then and now, their ratios, and the largest difference of the estimates, as cells of a table."""
    found: list[tuple[Turn, Turn]] = []
    for _ in range(turns):
        then, now = (process.run(layers) for process in processes)
        found.append((then, now))
    estimates = [np.array([turn["estimates"] for turn in each]) for each in zip(*found, strict=True)]
    difference = np.abs(estimates[1] - estimates[0]).max() / np.abs(estimates[0]).max()
    wall, cpu = (np.array([[each[key][UNTIMED:] for each in pair] for pair in found]).transpose(1, 0, 2).reshape(2, -1)
                 for key in ("wall_ms", "cpu_ms"))
    cells = [f"{np.median(times):.2f} ({times.min():.2f})" for times in wall]
    ratios = [f"{first / second:.2f}" for times in (wall, cpu)
              for first, second in (np.median(times, axis=1), times.min(axis=1))]
    return " | ".join([*cells, *ratios, f"{difference:.0e}"])


def main() -> None:
    """Print a table, or run frames for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", help="earlier commit")
    parser.add_argument("--model", default="models/gdtm", help="model folder of that commit (%(default)s)")
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2, 4], help="budgets in layers (%(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads (%(default)s)")
    parser.add_argument("--turns", type=int, default=15, help=f"turns of {FRAMES} frames (%(default)s)")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work, args.threads[0])
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = export(args.commit or parser.error("a commit is needed"), Path(folder))
        print(f"| threads | layers | {args.commit}, ms | here, ms | ratio | of shortest | CPU time | of shortest | "
              "difference |\n" + "|---" * 9 + "|")
        for threads in args.threads:
            processes = Process(tree, tree / args.model, threads), Process(ROOT, tree / args.model, threads)
            for layers in args.layers:
                print(f"| {threads} | {layers} | {compare(processes, layers, args.turns)} |", flush=True)
            for process in processes:
                process.close()


if __name__ == "__main__":
    main()
