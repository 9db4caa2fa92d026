# SPDX-License-Identifier: Apache-2.0
"""Command-line options that the trials share."""

from __future__ import annotations

import argparse
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


def make_out_folder(out: Path | None) -> None:
    """Create the output folder, so that a wrong path is an error before the trial.

    Raises:
        InputError: the folder cannot be created.
    """
    if out is not None:
        with write_errors(out):
            out.mkdir(parents=True, exist_ok=True)
