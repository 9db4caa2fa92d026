# SPDX-License-Identifier: Apache-2.0
"""Commands about budgets over time: governor-plot."""

from __future__ import annotations

import argparse
from pathlib import Path

from admn_ros.cli.command import Commands, add_command


def add_commands(commands: Commands) -> None:
    """Look at the governor."""
    plot = add_command(commands, "governor-plot", "draw the governor at work on a simulated computer that gets warm",
                       _governor_plot)
    plot.add_argument("png", type=Path, help="picture to write")


def _governor_plot(options: argparse.Namespace) -> None:
    from admn_ros.views.governor_figure import draw_governor, summary

    trace = draw_governor(options.png)
    print(f"{options.png}: {summary(trace)}")
