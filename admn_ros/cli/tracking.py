# SPDX-License-Identifier: Apache-2.0
"""Commands about tracks: tracking."""

from __future__ import annotations

import argparse
import json
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
    from admn_ros.files import write_text
    from admn_ros.inference.tracking import TrackerConfig

    config = parse_options(TrackerConfig, given_values(options, TrackerConfig))
    cells = track_results(options.results, config)
    table = Table("corruption", "policy", "budget", "frames", "", "mean cm", "median", "p95", "in 90 %", "speed cm/s",
                  title="the same frames alone and tracked", title_justify="left")
    for cell in cells:
        for row in _rows(cell):
            table.add_row(*row)
    Console(highlight=False, width=None if CONSOLE.is_terminal else 120).print(table)
    if options.out is not None:
        figures = {"tracker": config.model_dump(mode="json"), "cells": cells}
        write_text(options.out, json.dumps(figures, indent=1) + "\n")
        print(options.out)


def _rows(cell: Mapping[str, Any]) -> list[list[str]]:
    """Alone and tracked; and the frames without an estimate that the track filled, if there are any."""
    budget = cell["budget"]
    limit = budget.get("from") or ("all" if budget["limit"] is None else f"{budget['limit']:g} {budget['unit']}")
    speed = cell["speed_error_median_cm_s"]
    rows = [[cell["corruption"], cell["policy"], limit, *_figures("alone", cell["alone"]), ""],
            ["", "", "", *_figures("tracked", cell["tracked"]), "-" if speed is None else f"{speed:.1f}"]]
    if cell["filled"] is not None:
        rows.append(["", "", "", *_figures("no estimate, track alone", cell["filled"]), ""])
    return rows


def _figures(name: str, figures: Mapping[str, Any] | None) -> list[str]:
    if figures is None:
        return ["0", name, "-", "-", "-", "-"]
    return [str(figures["n"]), name, *(f"{figures[key]:.1f}" for key in ("mean_cm", "median_cm", "p95_cm")),
            f"{figures['inside_90%']:.0%}"]
