# SPDX-License-Identifier: Apache-2.0
"""What an evaluation costs as its recordings and its processes grow, with processes of this machine and with Dask."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from admn_ros.config import Count, Positive, Strict, parse_config
from admn_ros.deployment import load_deployment
from admn_ros.evaluation.plan import BagPlan, EvaluationPlan
from admn_ros.evaluation.run import evaluate
from admn_ros.files import read_json
from admn_ros.optional import optional
from admn_ros.recordings.cut import cut_bag
from admn_ros.share import find_shipped, share_directory

BUDGETS = (1.0, 2.0, 4.0)
"""Budgets of every frame, in layers."""
Pool = Literal["jobs", "scheduler"]


class ScaleRun(Strict):
    """One evaluation.

    Attributes:
        pool: option that gave the processes.
        bags: number of recordings.
        workers: number of processes.
        frames: frames of all recordings.
        seconds: wall time, the start of the processes and the summary included.
    """

    pool: Pool
    bags: Count
    workers: Count
    frames: Count
    seconds: Positive


class Scale(Strict):
    """Content of the JSON file.

    Attributes:
        command: command that measured.
        cores: number of CPU cores.
        bag_s: length of a recording in seconds.
        runs: evaluations.
    """

    command: str
    cores: Count
    bag_s: Positive
    runs: tuple[ScaleRun, ...]


def measure_scale(bags: Sequence[int], workers: Sequence[int], *, bag_s: float = 1.0, pools: Sequence[Pool] = ("jobs",),
                  command: str = "", on_run: Callable[[int, int], None] = lambda done, total: None) -> Scale:
    """Evaluate the shipped model on copies of the beginning of the bundled recording.

    Args:
        bags: numbers of recordings.
        workers: numbers of processes. A cluster of Dask starts before the clock does, as a cluster would be there.
        bag_s: length of a recording in seconds.
        pools: what gives the processes: option --jobs, or --scheduler with a cluster on this machine.
        command: command line, for the file.
        on_run: called with the number of finished evaluations, and of all.

    Raises:
        ConfigError: Dask is not installed.
        AdmnError: an evaluation fails.
    """
    runs = list[ScaleRun]()
    with TemporaryDirectory() as made:
        folder = Path(made)
        source = cut_bag(share_directory() / "config" / "demo", folder / "drive", bag_s)
        sources = [folder / f"drive-{number:03d}" for number in range(max(bags))]
        for link in sources:
            link.symlink_to(source, target_is_directory=True)
        for pool, count in itertools.product(pools, workers):
            with _local_cluster(count) if pool == "scheduler" else nullcontext() as scheduler:
                for number in bags:
                    out = folder / f"{pool}-{count}-{number}"
                    began = time.monotonic()
                    results = evaluate(_plan(sources[:number]), out, jobs=count, scheduler=scheduler)
                    seconds = round(time.monotonic() - began, 2)
                    runs.append(ScaleRun(pool=pool, bags=number, workers=count, seconds=seconds,
                                         frames=results["cells"][0]["frames"]["n"]))
                    on_run(len(runs), len(pools) * len(workers) * len(bags))
    return Scale(command=command, cores=os.cpu_count() or 1, bag_s=bag_s, runs=tuple(runs))


def render(found: Scale) -> str:
    """Return a table in Markdown: seconds, and frames per second."""
    bags = list(dict.fromkeys(run.bags for run in found.runs))
    lines = ["| processes | " + " | ".join(f"{number} bag{'s' * (number > 1)}" for number in bags) + " |",
             "|---" * (len(bags) + 1) + "|"]
    rows: dict[tuple[str, int], list[str]] = {}
    for run in found.runs:
        shown = f"{run.seconds:.1f} s, {run.frames / run.seconds:.0f} frames/s"
        rows.setdefault((run.pool, run.workers), []).append(shown)
    return "\n".join([*lines, *(f"| {_name(*key)} | {' | '.join(cells)} |" for key, cells in rows.items())])


def read_scale(file: Path) -> Scale:
    """Read the JSON file.

    Raises:
        InputError: it is missing or broken.
    """
    return parse_config(Scale, read_json(file), str(file))


def _name(pool: str, workers: int) -> str:
    return f"`--jobs {workers}`" if pool == "jobs" else f"`--scheduler`, {workers} worker{'s' * (workers > 1)}"


def _plan(sources: Sequence[Path]) -> EvaluationPlan:
    return EvaluationPlan(sources=tuple(map(str, sources)), kind="bag", model=str(find_shipped("gdtm", "models")),
                          budgets=BUDGETS, bag=BagPlan(deployment=load_deployment("demo")))


@contextmanager
def _local_cluster(workers: int) -> Iterator[str]:
    """Start a cluster on this machine; yields the address of its scheduler."""
    distributed = optional("distributed")
    with distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None,
                                  memory_limit=None) as cluster:
        yield cluster.scheduler_address
