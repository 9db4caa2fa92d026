# SPDX-License-Identifier: Apache-2.0
"""Command `worth`: what a budget buys with a model."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from admn_ros.cli.command import CONSOLE, LARGEST_SEED, MOST_JOBS, Commands, Parser, add_command, whole

if TYPE_CHECKING:
    from admn_ros.benchmark.worth.plan import WorthPlan
    from admn_ros.benchmark.worth.results import Worth


def add_commands(commands: Commands) -> None:
    """Add the command that shows what a budget buys."""
    add_command(commands, "worth", "compare a model's allocation with other policies within budgets of every unit, and "
                                   "on data that training has not seen", _worth, derive=_add_options)


def _add_options(new: Parser) -> None:
    from admn_ros.benchmark.worth.plan import WorthPlan

    default = {name: field.default for name, field in WorthPlan.model_fields.items()}
    new.add_argument("dataset", type=Path, help="dataset folder of `admn simulate --dataset`")
    new.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder")
    new.add_argument("--out", type=Path, required=True, metavar="DIR",
                     help="folder for worth.md, worth.png and worth.json")
    new.add_argument("--work", type=Path, metavar="DIR",
                     help="folder of the evaluations; may be deleted afterwards (default: runs in --out)")
    new.add_argument("--before", type=Path, metavar="DIR",
                     help="earlier model; the new one is also run within the milliseconds of its frame of one layer")
    shown = " ".join(map(str, default["budgets"]))
    new.add_argument("--budgets", type=whole(1), nargs="+", default=default["budgets"], metavar="N",
                     help=f"budgets in layers (default: {shown})")
    new.add_argument("--limit", type=whole(1), default=default["limit"], metavar="N",
                     help=f"largest number of frames of each run (default: {default['limit']})")
    new.add_argument("--validation-limit", type=whole(1), default=default["validation_limit"], metavar="N",
                     help=f"largest number of frames of the validation split (default: {default['validation_limit']})")
    new.add_argument("--seed", type=whole(0, LARGEST_SEED), default=default["seed"], metavar="N",
                     help=f"random seed (default: {default['seed']})")
    new.add_argument("--jobs", type=whole(1, MOST_JOBS), default=os.cpu_count() or 1, metavar="N",
                     help="number of processes (default: one per core)")
    new.add_argument("--resume", action="store_true", help="continue an interrupted run")
    new.add_argument("--render", action="store_true",
                     help="write worth.md and worth.png from worth.json; run nothing")


def _worth(options: argparse.Namespace) -> None:
    from admn_ros.benchmark.worth.results import FILE, read_worth

    found = read_worth(options.out / FILE) if options.render else _run(options)
    for path in _write(found, options.out):
        print(path)


def _run(options: argparse.Namespace) -> Worth:
    from admn_ros.benchmark.worth.plan import WorthPlan
    from admn_ros.benchmark.worth.run import WorthRunner

    plan = WorthPlan(dataset=str(options.dataset), model=str(options.model), budgets=tuple(options.budgets),
                     limit=options.limit, validation_limit=options.validation_limit, seed=options.seed,
                     before=None if options.before is None else str(options.before))
    with _progress() as on_step:
        runner = WorthRunner(plan, options.work or options.out / "runs", jobs=options.jobs, resume=options.resume,
                             on_step=on_step)
        return runner.run(_command(plan))


def _command(plan: WorthPlan) -> str:
    """Return the command line without folders and default values."""
    from admn_ros.benchmark.worth.plan import WorthPlan

    changed = [f"--{name.replace('_', '-')} " + (" ".join(map(str, value)) if isinstance(value, tuple) else str(value))
               for name in ("budgets", "limit", "validation_limit", "seed")
               if (value := getattr(plan, name)) != WorthPlan.model_fields[name].default]
    return " ".join(["admn worth DATASET --model MODEL --out DIR", *changed,
                     *(["--before EARLIER"] if plan.before else [])])


def _write(found: Worth, out: Path) -> list[Path]:
    from admn_ros.benchmark.worth.figure import draw
    from admn_ros.benchmark.worth.results import FILE
    from admn_ros.benchmark.worth.run import write_worth
    from admn_ros.benchmark.worth.text import render
    from admn_ros.files import write_text

    paths = [out / name for name in (FILE, "worth.md", "worth.png")]
    write_worth(found, paths[0])
    write_text(paths[1], render(found))
    draw(found, paths[2])
    return paths


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show the progress: a bar on a terminal, one line for each run elsewhere."""
    shown: set[str] = set()

    def line(what: str, done: int, total: int) -> None:
        if what not in shown:
            shown.add(what)
            print(f"  {what}", file=sys.stderr, flush=True)

    if not CONSOLE.is_terminal:
        yield line
        return
    with Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} frames"),
                  TimeElapsedColumn(), console=CONSOLE, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
