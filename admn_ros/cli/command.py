# SPDX-License-Identifier: Apache-2.0
"""What every subcommand is made of: its parser, the console, a progress bar."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import Progress

Command = Callable[[argparse.Namespace], int | None]
"""Returns an exit code other than 0 where a command has one to give."""
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
CONSOLE = Console(stderr=True)


def add_command(commands: Commands, name: str, text: str, run: Command) -> argparse.ArgumentParser:
    """The parser of a new subcommand; `text` says in one line what it does."""
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run)
    return parser


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, nothing elsewhere; it is told what is done and the total."""
    with Progress(console=CONSOLE, transient=True, disable=not CONSOLE.is_terminal) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
