# SPDX-License-Identifier: Apache-2.0
"""Command-line options that the trials share."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from admn_ros.files import write_errors


def trial_parser(program: str, description: str, files: str, *, needs_node: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options `--out` and, for trials of the node, `--model` and `--sensors`.

    Args:
        program: name of the command.
        description: module docstring; its first line describes the command.
        files: names of the files in the output folder, for the help text.
        needs_node: whether the trial runs the perception node.
    """
    parser = argparse.ArgumentParser(prog=program, description=description.splitlines()[0])
    if needs_node:
        parser.add_argument("--model", default="gdtm", help="model folder or name (default: gdtm, the shipped model)")
        parser.add_argument("--sensors", default="gdtm", help="deployment file or its name in config/ (default: gdtm)")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"output folder for {files}")
    return parser


def check_durations(parser: argparse.ArgumentParser, options: argparse.Namespace, *names: str) -> None:
    """Exit with code 2 and one line if a duration is not a positive, finite number.

    Args:
        parser: parser of the options, which writes the line.
        options: parsed options.
        names: attributes of the durations.
    """
    for name in names:
        value = getattr(options, name)
        if not 0 < value < math.inf:
            parser.error(f"argument --{name.replace('_', '-')}: found {value}; allowed: more than 0")


def make_out_folder(out: Path | None) -> None:
    """Create the output folder, so that a wrong path is an error before the trial.

    Raises:
        InputError: the folder cannot be created.
    """
    if out is not None:
        with write_errors(out):
            out.mkdir(parents=True, exist_ok=True)
