# SPDX-License-Identifier: Apache-2.0
"""The `admn` command: everything that needs no ROS.

Each module adds the commands of one group. Rooms are imported inside the functions that use them: torch alone takes
seconds, and `admn --help` must not.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING

from admn_ros import __version__
from admn_ros.errors import AdmnError, InputError
from admn_ros.files import WRITABLE
from admn_ros.requirements import check_requirements

if TYPE_CHECKING:
    from admn_ros.cli.command import Command, Parser


def main(args: list[str] | None = None) -> int:
    """Run a subcommand and return its exit code: 2, after one line on stderr, on invalid input."""
    if isinstance(sys.stdout, io.TextIOWrapper):   # names of files need not be UTF-8, nor the terminal
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        check_requirements()
        options = parser().parse_args(args)
    except AdmnError as error:
        print(error, file=sys.stderr)
        return 2
    run: Command = options.run
    try:
        code = run(options) or 0
        sys.stdout.flush()
    except BrokenPipeError:  # such as `admn inspect BAG | head`
        _drop_output()
        return 128 + signal.SIGPIPE
    except AdmnError as error:
        print(f"admn {options.command}: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # from a library, or from the output itself
        found = InputError(str(error.filename or "output"), error.strerror or str(error), WRITABLE)
        print(f"admn {options.command}: {found}", file=sys.stderr)
        _drop_output()
        return 2
    except KeyboardInterrupt:
        return 130
    return code


def _drop_output() -> None:
    """Send to nowhere what is left in the buffer of the output: the interpreter tries to write it at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser() -> Parser:
    """Return the parser of all subcommands."""
    # Modules of the commands need packages whose versions `main` checks first.
    from admn_ros.cli import (
        benchmarks,
        converting,
        drawing,
        evaluation,
        importing,
        models,
        recordings,
        replaying,
        report,
        tables,
        tracking,
        training,
        worth,
    )
    from admn_ros.cli.command import Parser
    from admn_ros.cli.experiments import dynmm

    found = Parser(prog="admn", description="Adaptive multimodal perception within a compute budget.")
    found.add_argument("--version", action="version", version=f"admn_ros {__version__}")
    commands = found.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in (models, importing, training, recordings, replaying, converting, benchmarks, tables, dynmm, evaluation,
                  report, tracking, drawing, worth):
        group.add_commands(commands)
    return found
