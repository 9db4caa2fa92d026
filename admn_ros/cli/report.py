# SPDX-License-Identifier: Apache-2.0
"""Commands about finished evaluations: report make, report compare."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from admn_ros.cli.command import CONSOLE, Commands, add_command, add_family

if TYPE_CHECKING:
    from admn_ros.evaluation.report.compare import Change, Comparison

COMPARED = "compare.json"


def add_commands(commands: Commands) -> None:
    """Add the commands that write and compare reports."""
    parts = add_family(commands, "report", "write the report of an evaluation again, or compare two evaluations")
    make = add_command(parts, "make", "write the report of a finished evaluation again", _make)
    make.add_argument("results", type=Path, help="results folder of `admn evaluate`")
    compare = add_command(parts, "compare", "compare two evaluations; exit code 1 if a metric got worse",
                          _compare)
    compare.add_argument("old", type=Path, help="results folder of `admn evaluate`")
    compare.add_argument("new", type=Path, help="results folder to compare with it")
    compare.add_argument("--tolerance", nargs="+", action="extend", default=[], metavar="METRIC=VALUE",
                         help="allowed deterioration of a metric, in its unit or in %% of its old value (default: "
                              "error.mean=1 error.median=1 error.p95=5 (cm) nll=0.2 coverage=0.05 accuracy=0.02 "
                              "f1=0.05 qoi=0.05 layers=0.5 violations=0 unanswered=0)")
    compare.add_argument("--all", action="store_true", help="print all metrics, not only the mean error and changes")
    compare.add_argument("--out", type=Path, metavar="DIR", help=f"folder to write {COMPARED} to")


def _make(options: argparse.Namespace) -> None:
    from admn_ros.evaluation.report.make import make_report

    print(make_report(options.results))


def _compare(options: argparse.Namespace) -> int:
    from admn_ros.evaluation.report.compare import compare, read_tolerances
    from admn_ros.evaluation.report.data import read_evaluation
    from admn_ros.files import write_text

    tolerances = read_tolerances(options.tolerance)
    found = compare(read_evaluation(options.old), read_evaluation(options.new), tolerances)
    _print(found, found.changes if options.all else [
        change for change in found.changes if change.metric == "error.mean" or change.verdict != "same"])
    if options.out is not None:
        write_text(options.out / COMPARED, found.text())
        print(options.out / COMPARED)
    return 1 if found.worse else 0


def _print(found: Comparison, changes: Sequence[Change]) -> None:
    table = Table("corruption", "policy", "budget", "metric", "old", "new", "difference", "95 % interval", "tolerance",
                  "verdict", title="new against old, intervals over scenes", title_justify="left")
    for change in changes:
        metric = change.metric if change.metric == change.unit else f"{change.metric}, {change.unit}"
        table.add_row(change.corruption, change.policy, change.budget, metric,
                      _number(change.old), _number(change.new), _number(change.difference, signed=True),
                      "-" if change.interval is None else f"{change.interval[0]:+.3g} to {change.interval[1]:+.3g}",
                      change.tolerance, "" if change.verdict == "same" else change.verdict)
    Console(highlight=False, width=None if CONSOLE.is_terminal else 160).print(table)
    for note in found.notes:
        print(f"note: {note}")
    for which, cells in (("old", found.only_old), ("new", found.only_new)):
        for cell in cells:
            print(f"only in the {which} evaluation: {cell}")
    print(f"{len(found.changes)} metrics compared, {len(found.worse)} worse than tolerated")


def _number(value: float | None, *, signed: bool = False) -> str:
    return "-" if value is None else f"{value:+.4g}" if signed else f"{value:.4g}"
