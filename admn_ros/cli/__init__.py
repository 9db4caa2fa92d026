# SPDX-License-Identifier: Apache-2.0
"""The `admn` command: everything that needs no ROS.

Each module adds the commands of one group. Rooms are imported inside the functions that use them: torch alone takes
seconds, and `admn --help` must not.
"""

from __future__ import annotations

import sys

from admn_ros.cli import (
    converting,
    drawing,
    evaluation,
    importing,
    models,
    probing,
    recordings,
    replaying,
    report,
    tables,
    tracking,
    training,
)
from admn_ros.cli.command import Command, Parser, UsageError
from admn_ros.errors import AdmnError

GROUPS = (models, importing, training, recordings, replaying, converting, probing, tables, evaluation, report,
          tracking, drawing)


def main(args: list[str] | None = None) -> int:
    """Run a subcommand and return its exit code: 2, after one line on stderr, on invalid input."""
    try:
        options = parser().parse_args(args)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    run: Command = options.run
    try:
        return run(options) or 0
    except AdmnError as error:
        print(f"admn {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> Parser:
    """Return the parser of all subcommands."""
    found = Parser(prog="admn", description="Adaptive multimodal perception within a compute budget.")
    commands = found.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add_commands(commands)
    return found
