# SPDX-License-Identifier: Apache-2.0
"""Commands that take in the work of others: import."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from admn_ros.cli.command import CONSOLE, Commands, add_command

KINDS = ("auto", "admn-gdtm", "admn-mmfi", "admn-ave", "mae", "audiomae", "timm", "deit")
MODALITIES = ("rgb", "depth", "radar", "audio")
MEANINGS = {"loaded": "loaded", "interpolated": "loaded, interpolated", "ignored": "in the file, not used",
            "missing": "in the model, left as it was"}


def add_commands(commands: Commands) -> None:
    """Import checkpoints."""
    new = add_command(commands, "import", "take in an official ADMN checkpoint, or MAE, DeiT or timm backbones",
                      _import)
    new.add_argument("source", type=Path, help="checkpoint: .pt, .pth, .bin or .safetensors; no code in it is run")
    new.add_argument("out", type=Path, help="model folder to make, or to put the backbones into")
    new.add_argument("--kind", default="auto", choices=KINDS, help="where it comes from (default: by its names)")
    new.add_argument("--preset", help="backbones: make a new model folder of this architecture")
    new.add_argument("--modality", action="append", default=[], choices=MODALITIES,
                     help="backbones: whose; may be repeated (default: rgb and depth, or audio for AudioMAE)")
    new.add_argument("--nodes", type=int, help="official: sensor nodes or frames (default: the paper's)")
    new.add_argument("--seed", type=int, default=0, help="backbones: of the other weights (default: 0)")
    new.add_argument("--force", action="store_true", help="replace the model, or the backbones of a trained one")


def _import(options: argparse.Namespace) -> None:
    from admn_ros.model.official.import_checkpoint import import_checkpoint
    from admn_ros.sample import Modality

    with CONSOLE.status("importing"):
        reports = import_checkpoint(
            options.source, options.out, options.kind, architecture=options.preset,
            modalities=[Modality(m) for m in options.modality], nodes=options.nodes, seed=options.seed,
            force=options.force)
    console = Console(highlight=False)
    for title, report in reports.items():
        table = Table("what became of it", "tensors", "parts", title=title, title_justify="left")
        for what, count, parts in report.rows:
            table.add_row(MEANINGS[what], str(count), parts)
        console.print(table)
        print(*(f"note: {note}" for note in report.notes), sep="\n")
    print(options.out)
