# SPDX-License-Identifier: Apache-2.0
"""Commands about finished evaluations: report make, report compare; about those and recordings: why."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from admn_ros.cli.command import CONSOLE, Commands, add_command, add_family
from admn_ros.errors import InputError

if TYPE_CHECKING:
    from admn_ros.evaluation.report.compare import Change, Comparison
    from admn_ros.inference.decision import FrameDecision

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
    _add_why(commands)
    compare.add_argument("--out", type=Path, metavar="DIR", help=f"folder to write {COMPARED} to")


def _add_why(commands: Commands) -> None:
    why = add_command(commands, "why", "say which inputs of a frame ran, and why the others did not", _why)
    why.add_argument("source", type=Path, help="recording with ~/allocation, or results folder of `admn evaluate`")
    why.add_argument("--at", required=True, metavar="TIME",
                     help="local time of day (10:32:05), seconds since the first frame, or stamp in seconds")
    why.add_argument("--input", metavar="NODE/MODALITY", help="only this input, such as node2/depth, in one line")
    why.add_argument("--topic", help="recording: topic of the allocations (default: the only one)")
    why.add_argument("--corruption", metavar="NAME", help="results: injected corruption (default: the first one)")
    why.add_argument("--scene", metavar="NAME", help="results of a dataset: recording of the frame, where several "
                                                     "have a frame at that time")
    why.add_argument("--policy", metavar="NAME", help="results: policy (default: the first one)")
    why.add_argument("--budget", type=float, metavar="X", help="results: budget (default: the one of the timeline)")


def _why(options: argparse.Namespace) -> None:
    from admn_ros.evaluation.results_folder import RESULTS

    frame, when = (_evaluated if (options.source / RESULTS).is_file() else _recorded)(options)
    if not frame.inputs:
        raise InputError(str(options.source), f"no decision about inputs in that frame ({frame.reason})",
                         "a policy that allocates by input")
    names = [each.name for each in frame.inputs]
    if options.input not in (None, *names):
        raise InputError("--input", options.input, ", ".join(names))
    if options.input is None:
        print(f"{when} {frame.text()}")
    for each in frame.inputs:
        if options.input in (None, each.name):
            print(f"{when} {each.text(frame.unit)}")


def _recorded(options: argparse.Namespace) -> tuple[FrameDecision, str]:
    """Return the decision about a frame of a recording, and when it was."""
    from admn_ros.replay.instants import nearest_frame, time_text
    from admn_ros.replay.recorded_decisions import recorded_decisions

    for name in ("corruption", "scene", "policy", "budget"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name}", getattr(options, name), f"none: {options.source} is no results folder")
    frames = sorted(recorded_decisions(options.source, options.topic), key=lambda frame: frame.stamp_ns)
    frame = frames[nearest_frame([frame.stamp_ns for frame in frames], options.at)]
    return frame, time_text(frame.stamp_ns, frames[0].stamp_ns)


def _evaluated(options: argparse.Namespace) -> tuple[FrameDecision, str]:
    """Return the decision about a frame of an evaluation, and when and, in a dataset, where it was."""
    from admn_ros.evaluation.report.data import read_evaluation
    from admn_ros.evaluation.report.decisions import evaluated_decision, find_row, find_variant
    from admn_ros.replay.instants import time_text

    if options.topic is not None:
        raise InputError("--topic", options.topic, f"none: {options.source} is a results folder")
    evaluation = read_evaluation(options.source)
    corruption = options.corruption or evaluation.corruptions[0]
    if corruption not in evaluation.corruptions:
        raise InputError("--corruption", corruption, ", ".join(evaluation.corruptions))
    variant = find_variant(evaluation, options.policy, options.budget)
    columns = evaluation.records[corruption]
    row = find_row(evaluation, corruption, options.at, options.scene)
    where = columns["scene"] == columns["scene"][row] if options.scene else slice(None)
    when = time_text(int(columns["stamp_ns"][row]), int(columns["stamp_ns"][where].min()))
    return (evaluated_decision(evaluation, corruption, variant, row),
            when if evaluation.is_of_bags else f"{when} {columns['scene'][row]}")


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
