# SPDX-License-Identifier: Apache-2.0
"""Commands that compare methods: tables."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from admn_ros.cli.command import CONSOLE, Commands, add_command

if TYPE_CHECKING:
    from admn_ros.benchmark.tables.config import Cell, TablesConfig
    from admn_ros.benchmark.tables.scoring import CellResult


def add_commands(commands: Commands) -> None:
    """Add the command that makes the result tables."""
    tables = add_command(commands, "tables",
                         "compare ADMN with other methods: run missing cells and write the result tables", _tables)
    tables.add_argument("config", type=Path,
                        help="grid of methods, budgets and corruptions, such as config/tables/small.yaml")
    tables.add_argument("--data", type=Path, metavar="DIR", help="dataset folder of `admn simulate --dataset`")
    tables.add_argument("--work", type=Path, metavar="DIR", help="folder for training runs; may be deleted afterwards")
    tables.add_argument("--out", type=Path, required=True, metavar="DIR",
                        help="results folder: tables.md, tables.png and one JSON file per cell")
    tables.add_argument("--only", action="append", default=[], metavar="TEXT",
                        help="run only cells whose name contains this, such as gaussian-admn-L06; may be repeated")
    tables.add_argument("--list", action="store_true", help="print the cells and their state, and exit")
    tables.add_argument("--render", action="store_true", help="write the tables from existing results; run nothing")
    tables.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"),
                        help="device; auto takes a GPU if there is one (default: auto)")
    tables.add_argument("--threads", type=int, default=0, metavar="N",
                        help="CPU threads; 0 for one per core (default: 0)")


def _tables(options: argparse.Namespace) -> None:
    from admn_ros.benchmark.tables.config import TablesConfig, only, plan
    from admn_ros.benchmark.tables.run import Place, missing, run_cells
    from admn_ros.config import load_config
    from admn_ros.errors import ConfigError
    from admn_ros.inference.hardware import pick_device, use_threads

    config = load_config(TablesConfig, options.config)
    cells = only(plan(config), options.only)
    left = missing(config, cells, options.out)
    if options.list:
        for cell in cells:
            print(f"{cell.name}  {'not run' if cell in left else 'run'}")
        return
    if left and not options.render:
        for name in ("data", "work"):
            if getattr(options, name) is None:
                raise ConfigError(f"--{name}", "nothing", "a folder, as there are cells to run")
        use_threads(options.threads)
        with _Watch.over(len(left)) as watch:
            run_cells(config, cells, Place(options.data, options.work, options.out),
                      command=f"admn tables {options.config} --data DATASET --work DIR --out {options.out}",
                      device=pick_device(options.device), told=watch.told,
                      done=lambda result: watch.done(result, config, options.out))
    print(_render(config, options.out))


def _render(config: TablesConfig, out: Path) -> Path:
    """Write tables.md and tables.png from the results that are there."""
    from admn_ros.benchmark.tables.figure import draw
    from admn_ros.benchmark.tables.run import RESULTS
    from admn_ros.benchmark.tables.scoring import read_results
    from admn_ros.benchmark.tables.text import render
    from admn_ros.errors import InputError

    results = read_results(out / RESULTS, config.fingerprint)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "tables.md").write_text(render(config, results), encoding="utf-8")
    except OSError as error:
        raise InputError(str(out), error.strerror or "unwritable", "a folder that can be written") from error
    if results:
        draw(results, out / "tables.png")
    return out / "tables.md"


class _Watch:
    """Shows how far the cells are: a bar on a terminal, a line for each cell elsewhere."""

    def __init__(self, total: int, bar: Progress | None) -> None:
        self._total, self._bar, self._done, self._began = total, bar, 0, time.monotonic()
        self._task = None if bar is None else bar.add_task("cells", total=total, step="")
        self._what = ""

    @classmethod
    @contextmanager
    def over(cls, total: int) -> Iterator[_Watch]:
        """For the duration of a run."""
        if not CONSOLE.is_terminal:
            yield cls(total, None)
            return
        with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                      TimeRemainingColumn(), TextColumn("{task.fields[step]}"), console=CONSOLE) as bar:
            yield cls(total, bar)

    def told(self, what: str, at: int, of: int) -> None:
        """Show what is being done within a cell."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, step=f"{what} {at}/{of}")
        elif what != self._what:
            print(f"  {self._minutes():6.1f} min  {what}", file=sys.stderr, flush=True)
        self._what = what

    def done(self, result: CellResult, config: TablesConfig, out: Path) -> None:
        """Count a cell, and make the tables anew."""
        self._done += 1
        cell: Cell = result.cell
        line = f"{cell.name}: {result.errors.mean_cm:.1f} cm"
        left = self._minutes() / self._done * (self._total - self._done)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done)
            self._bar.console.print(line)
        else:
            print(f"{self._done}/{self._total} {line}  at this pace {left:.0f} min more", file=sys.stderr, flush=True)
        _render(config, out)

    def _minutes(self) -> float:
        return (time.monotonic() - self._began) / 60
