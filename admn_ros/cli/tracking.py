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

from admn_ros.cli.command import CONSOLE, Commands, add_command

OPTIONS = (("acceleration", float, "density of the acceleration, m^2/s^3"),
           ("gate", float, "share of draws inside the gate"),
           ("restart_after", int, "estimates outside the gate in a row that start the track afresh"),
           ("timeout_s", float, "seconds without an estimate after which the track ends"),
           ("spread", float, "factor of the estimates' standard deviations"))


def add_commands(commands: Commands) -> None:
    """Track the estimates of an evaluation."""
    new = add_command(commands, "tracking", "track the estimates of an evaluation of bags, and say what that gains",
                      _tracking)
    new.add_argument("results", type=Path, help="folder that `admn evaluate` wrote for bags")
    new.add_argument("--out", type=Path, help="JSON file for the figures")
    for name, kind, text in OPTIONS:
        new.add_argument(f"--{name.replace('_', '-')}", type=kind, help=f"{text} (default: the node's)")


def _tracking(options: argparse.Namespace) -> None:
    from admn_ros.config import parse_config
    from admn_ros.evaluation.track_evaluation import track_results
    from admn_ros.files import write_text
    from admn_ros.inference.tracking import TrackerConfig

    given = {name: getattr(options, name) for name, _, _ in OPTIONS if getattr(options, name) is not None}
    config = parse_config(TrackerConfig, given, "arguments")
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
