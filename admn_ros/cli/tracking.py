# SPDX-License-Identifier: Apache-2.0
"""Commands that evaluate the tracker: tracking."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from admn_ros.cli.command import CONSOLE, Commands, Parser, add_command
from admn_ros.cli.plan_options import add_plan_options, given_values, parse_options


def add_commands(commands: Commands) -> None:
    """Add the command that tracks the estimates of an evaluation."""
    add_command(commands, "tracking", "run the tracker on the estimates of an evaluation and compare the errors",
                _tracking, derive=_add_options)


def _add_options(new: Parser) -> None:
    from admn_ros.inference.tracking import TrackerConfig

    new.add_argument("results", type=Path, help="results folder of `admn evaluate` for recordings")
    new.add_argument("--out", type=Path, metavar="FILE", help="JSON file to write the scores to")
    add_plan_options(new.add_argument_group("parameters of the filter"), TrackerConfig)


def _tracking(options: argparse.Namespace) -> None:
    from admn_ros.evaluation.track_evaluation import track_results
    from admn_ros.files import write_json
    from admn_ros.inference.tracking import TrackerConfig

    config = parse_options(TrackerConfig, given_values(options, TrackerConfig))
    cells = track_results(options.results, config)
    table = Table("corruption", "policy", "budget", "frames", "estimates", "mean, cm", "median", "p95", "in 90 %",
                  "speed error, cm/s", title="the same frames without and with tracking", title_justify="left")
    for cell in cells:
        for row in _rows(cell):
            table.add_row(*row)
    Console(highlight=False, width=None if CONSOLE.is_terminal else 120).print(table)
    if options.out is not None:
        write_json(options.out, {"tracker": config.model_dump(mode="json"), "cells": cells})
        print(options.out)


def _rows(cell: Mapping[str, Any]) -> list[list[str]]:
    """Return rows of the frames alone, tracked, and filled by the track, if there are any."""
    from admn_ros.evaluation.report.data import budget_text

    budget = budget_text(cell["budget"], long=True)
    speed = cell["speed_error_median_cm_s"]
    rows = [[cell["corruption"], cell["policy"], budget, *_scores("alone", cell["alone"]), ""],
            ["", "", "", *_scores("tracked", cell["tracked"]), "-" if speed is None else f"{speed:.1f}"]]
    if cell["filled"] is not None:
        rows.append(["", "", "", *_scores("track without estimate", cell["filled"]), ""])
    return rows


def _scores(name: str, scores: Mapping[str, Any] | None) -> list[str]:
    if scores is None:
        return ["0", name, "-", "-", "-", "-"]
    return [str(scores["n"]), name, *(f"{scores[key]:.1f}" for key in ("mean_cm", "median_cm", "p95_cm")),
            f"{scores['inside_90%']:.0%}"]
