# SPDX-License-Identifier: Apache-2.0
"""Commands that show the governor: governor-plot."""

from __future__ import annotations

import argparse
from pathlib import Path

from admn_ros.cli.command import Commands, add_command


def add_commands(commands: Commands) -> None:
    """Add the command that plots the governor."""
    plot = add_command(commands, "governor-plot", "plot the governor on a simulated computer that heats up",
                       _governor_plot)
    plot.add_argument("png", type=Path, help="PNG file to write")


def _governor_plot(options: argparse.Namespace) -> None:
    from admn_ros.views.governor_figure import draw_governor, summary

    trace = draw_governor(options.png)
    print(f"{options.png}: {summary(trace)}")
