# SPDX-License-Identifier: Apache-2.0
"""Parts shared by all subcommands: parser, console, progress bar."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from rich.console import Console
from rich.progress import Progress

from admn_ros.errors import AdmnError, one_line

Command = Callable[[argparse.Namespace], int | None]
"""Runs a subcommand; returns its exit code if it is not 0."""
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
MOST = 2000
"""Characters of an error message."""
MOST_JOBS = 1024
"""Processes or threads."""
LARGEST_SEED = 2**32 - 1
CONSOLE = Console(stderr=True)
_SHAPES = ((r"invalid int value: (.*)", r"found \1; allowed: an integer"),
           (r"invalid float value: (.*)", r"found \1; allowed: a number"),
           (r"invalid choice: (.*) \(choose from (.*)\)", r"found \1; allowed: \2"),
           (r"the following arguments are required: (.*)", r"\1: missing; required: a value"),
           (r"(--\S+): not allowed with argument (--\S+)", r"\1: conflicts with \2; only one of them is possible"))


class UsageError(AdmnError):
    """A malformed command line."""


class Parser(argparse.ArgumentParser):
    """Parser that adds its derived options on first use and reports errors in one line.

    Attributes:
        derive: adds options that need slow imports; called once, when this parser is used.
    """

    derive: Callable[[Parser], None] | None = None

    def parse_known_args(self, args: Sequence[str] | None = None,  # type: ignore[override]
                         namespace: argparse.Namespace | None = None) -> tuple[argparse.Namespace, list[str]]:
        """Add the derived options, then parse."""
        self.complete()
        return super().parse_known_args(args, namespace)

    def complete(self) -> None:
        """Add the derived options, if that has not happened yet."""
        derive, self.derive = self.derive, None
        if derive is not None:
            derive(self)

    def error(self, message: str) -> NoReturn:
        """Raise a `UsageError` with argparse's message in the shapes of `admn_ros.errors`."""
        message = message.removeprefix("argument ")
        for pattern, shape in _SHAPES:
            message = re.sub(pattern, shape, message)
        raise UsageError(one_line(f"{self.prog}: {message[:MOST]}"))


def add_command(commands: Commands, name: str, text: str, run: Command, *,
                derive: Callable[[Parser], None] | None = None) -> Parser:
    """Add a subcommand.

    Args:
        commands: subcommands to add to.
        name: name of the subcommand.
        text: what the command does, in one line, without a full stop.
        run: runs the command.
        derive: adds options that need slow imports (`Parser.derive`).
    """
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run)
    parser.derive = derive
    return parser


def add_family(commands: Commands, name: str, text: str) -> Commands:
    """Add a command that consists of subcommands of its own, and return these."""
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    found: Any = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    return found  # type: ignore[no-any-return]


def warn(name: str, remarks: Iterable[str]) -> None:
    """Print what the user must know about a recording, one line each, on stderr."""
    for remark in remarks:
        print(one_line(f"WARN {name}: {remark}"), file=sys.stderr)


def warn_of_losses(path: Path) -> None:
    """Print what a recording is known to have lost.

    Raises:
        InputError: it cannot be read.
    """
    from admn_ros.recordings.bag_reader import BagReader

    with BagReader(path) as bag:
        warn(path.name, bag.remarks)


def add_device(options: argparse.ArgumentParser) -> None:
    """Add the option --device."""
    options.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"),
                         help="device; auto takes a GPU if there is one (default: auto)")


def add_runtime(options: argparse.ArgumentParser) -> None:
    """Add the options --engine, --providers and --precision."""
    options.add_argument("--engine", default="torch", choices=("torch", "onnxruntime"),
                         help="what computes the network; onnxruntime needs a folder of `admn export` (default: torch)")
    options.add_argument("--providers", nargs="+", default=[], metavar="NAME",
                         help="execution providers of onnxruntime, in order of preference (default: "
                              "CUDAExecutionProvider on a GPU, else the CPU)")
    options.add_argument("--precision", default="float32", choices=("float32", "bfloat16", "float16"),
                         help="precision of the layers of the backbones, in torch: all on a GPU, "
                              "bfloat16 on processors that have it; float16 with TensorRT (default: float32)")


def add_workers(options: argparse.ArgumentParser, text: str) -> None:
    """Add the options --jobs and --scheduler, which exclude each other; both are None by default.

    Args:
        options: parser to add to.
        text: help text of --jobs, with the number of processes where it is not given.
    """
    either = options.add_mutually_exclusive_group()
    either.add_argument("--jobs", type=whole(1, MOST_JOBS), metavar="N", help=text)
    either.add_argument("--scheduler", metavar="ADDRESS",
                        help="scheduler of a Dask cluster whose workers take the place of processes of this machine, "
                             "such as tcp://10.0.0.1:8786")


def whole(low: int, high: int = 10**9) -> Callable[[str], int]:
    """Return an option type: an integer from `low` to `high`."""
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"found {text!r}; allowed: an integer") from error
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"found {text}; allowed: an integer from {low} to {high}")
        return value
    return parse


def number(low: float, high: float = 1e9) -> Callable[[str], float]:
    """Return an option type: a finite number from `low` to `high`."""
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"found {text!r}; allowed: a number") from error
        if not low <= value <= high or not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"found {text}; allowed: a number from {low:g} to {high:g}")
        return value
    return parse


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal, and nothing elsewhere.

    Yields:
        Callback that takes the number of finished items and the total.
    """
    with Progress(console=CONSOLE, transient=True, disable=not CONSOLE.is_terminal) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
