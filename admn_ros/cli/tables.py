# SPDX-License-Identifier: Apache-2.0
"""Command `tables`: compare ADMN with its baselines."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from admn_ros.cli.command import CONSOLE, MOST_JOBS, Commands, add_command, add_device, whole

if TYPE_CHECKING:
    from admn_ros.benchmark.tables.config import Cell, TablesConfig
    from admn_ros.benchmark.tables.results import CellResult


def add_commands(commands: Commands) -> None:
    """Add the command that makes the result tables."""
    tables = add_command(commands, "tables",
                         "compare ADMN with other methods: run missing cells and write the result tables", _tables)
    tables.add_argument("config", type=Path,
                        help="grid of methods, budgets and corruptions, such as config/tables/small.yaml")
    tables.add_argument("--data", type=Path, metavar="DIR", help="dataset folder, such as one of `admn simulate`")
    tables.add_argument("--work", type=Path, metavar="DIR", help="folder for training runs; may be deleted afterwards")
    tables.add_argument("--out", type=Path, required=True, metavar="DIR",
                        help="results folder: tables.md, tables.png and one JSON file per cell")
    tables.add_argument("--only", action="append", default=[], metavar="TEXT",
                        help="run only cells whose name contains this, such as gaussian-admn-L06; may be repeated")
    tables.add_argument("--list", action="store_true", help="print the cells and their state, and exit")
    tables.add_argument("--render", action="store_true", help="write the tables from existing results; run nothing")
    add_device(tables)
    tables.add_argument("--scheduler", metavar="ADDRESS",
                        help="scheduler of a Dask cluster whose workers run the cells, each those of one corruption")
    tables.add_argument("--threads", type=whole(0, MOST_JOBS), default=0, metavar="N",
                        help="CPU threads; 0 for one per core (default: 0)")


def _tables(options: argparse.Namespace) -> None:
    from admn_ros.benchmark.tables.config import TablesConfig, only, plan
    from admn_ros.benchmark.tables.run import Folders, missing, run_cells, run_on_cluster
    from admn_ros.config import load_config
    from admn_ros.errors import ConfigError
    from admn_ros.inference.hardware import pick_device, use_threads

    config = load_config(TablesConfig, options.config)
    cells = only(plan(config), options.only)
    left = missing(config, cells, options.out)
    if options.list:
        for cell in cells:
            print(f"{cell.name}  {'not run' if cell in left else 'done'}")
        return
    if left and not options.render:
        for name in ("data", "work"):
            if getattr(options, name) is None:
                raise ConfigError.missing(f"--{name}", "a folder, because some cells have no result yet")
        folders = Folders(options.data, options.work, options.out)
        command = f"admn tables {options.config} --data DATASET --work DIR --out {options.out}"
        with _CellProgress.open(len(left)) as progress:
            def on_result(result: CellResult) -> None:
                progress.on_result(result, config, options.out)

            if options.scheduler is not None:
                run_on_cluster(config, cells, folders, options.scheduler, threads=options.threads, command=command,
                               device=options.device, on_result=on_result)
            else:
                use_threads(options.threads)
                run_cells(config, cells, folders, command=command, device=pick_device(options.device),
                          on_step=progress.on_step, on_result=on_result)
    print(_render(config, options.out))


def _render(config: TablesConfig, out: Path) -> Path:
    """Write tables.md and tables.png from the existing results."""
    from admn_ros.benchmark.tables.figure import draw
    from admn_ros.benchmark.tables.results import read_results
    from admn_ros.benchmark.tables.run import RESULTS
    from admn_ros.benchmark.tables.text import render
    from admn_ros.files import write_text

    results = read_results(out / RESULTS, config.fingerprint)
    write_text(out / "tables.md", render(config, results))
    if results:
        draw(results, out / "tables.png", config.task)
    return out / "tables.md"


class _CellProgress:
    """Progress of the cells: a bar on a terminal, one line per cell elsewhere."""

    def __init__(self, total: int, bar: Progress | None) -> None:
        self._total, self._bar, self._done, self._began = total, bar, 0, time.monotonic()
        self._task = None if bar is None else bar.add_task("cells", total=total, step="")
        self._what = ""

    @classmethod
    @contextmanager
    def open(cls, total: int) -> Iterator[_CellProgress]:
        """Show the progress while the block runs."""
        if not CONSOLE.is_terminal:
            yield cls(total, None)
            return
        with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                      TimeRemainingColumn(), TextColumn("{task.fields[step]}"), console=CONSOLE) as bar:
            yield cls(total, bar)

    def on_step(self, what: str, at: int, of: int) -> None:
        """Show the progress within a cell."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, step=f"{what} {at}/{of}")
        elif what != self._what:
            print(f"  {self._minutes():6.1f} min  {what}", file=sys.stderr, flush=True)
        self._what = what

    def on_result(self, result: CellResult, config: TablesConfig, out: Path) -> None:
        """Count a finished cell and write the tables."""
        from admn_ros.benchmark.tables.measures import MEASURES

        self._done += 1
        cell: Cell = result.cell
        measure = MEASURES[config.task]
        line = f"{cell.name}: {measure.value(result.errors):.1f} {measure.unit}"
        left = self._minutes() / self._done * (self._total - self._done)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done)
            self._bar.console.print(line)
        else:
            print(f"{self._done}/{self._total} {line}  about {left:.0f} min left", file=sys.stderr, flush=True)
        _render(config, out)

    def _minutes(self) -> float:
        return (time.monotonic() - self._began) / 60
