# SPDX-License-Identifier: Apache-2.0
"""Commands that import checkpoints: import."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from admn_ros.cli.command import CONSOLE, LARGEST_SEED, Commands, add_command, whole

KINDS = ("auto", "admn-gdtm", "admn-mmfi", "admn-ave", "admn-ave-unequal", "mae", "audiomae", "timm", "deit")
QOI = ("auto", "trained", "untrained")
MODALITIES = ("rgb", "depth", "radar", "audio")
MEANINGS = {"loaded": "loaded", "interpolated": "loaded, interpolated", "ignored": "in the file, unused",
            "missing": "in the model, unchanged"}


def add_commands(commands: Commands) -> None:
    """Add the command that imports checkpoints."""
    new = add_command(commands, "import",
                      "import an official ADMN checkpoint, or backbones of MAE, AudioMAE, DeiT or timm", _import)
    new.add_argument("source", type=Path,
                     help="checkpoint of PyTorch or safetensors, of any name; code in it is never run")
    new.add_argument("out", type=Path, help="model folder to write, or to load the backbones into")
    new.add_argument("--kind", default="auto", choices=KINDS,
                     help="format of the checkpoint (default: detected from its tensor names; admn-ave-unequal, "
                          "where an image layer costs three audio layers, must be named)")
    new.add_argument("--key", metavar="NAME",
                     help="place of the weights in the file, such as teacher or model.backbone (default: found by "
                          "common names)")
    new.add_argument("--preset", help="backbones: architecture of a new model folder")
    new.add_argument("--modality", action="append", default=[], choices=MODALITIES,
                     help="backbones: modality whose backbone to replace; may be repeated (default: rgb and depth, "
                          "or audio for AudioMAE)")
    new.add_argument("--nodes", type=whole(1, 64), metavar="N",
                     help="official: number of sensor nodes or frames (default: as in the paper)")
    new.add_argument("--qoi", default="auto", choices=QOI,
                     help="official: whether the controller was trained on corruption labels, so that its QoI is used "
                          "(default: detected from the weights)")
    new.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0, metavar="N",
                     help="backbones: seed of the other weights (default: 0)")
    new.add_argument("--force", action="store_true",
                     help="replace an existing model, or the backbones of a trained one")


def _import(options: argparse.Namespace) -> None:
    from admn_ros.model.official.import_checkpoint import import_checkpoint
    from admn_ros.sample import Modality

    with CONSOLE.status("importing"):
        reports = import_checkpoint(
            options.source, options.out, options.kind, key=options.key, architecture=options.preset,
            modalities=[Modality(m) for m in options.modality], nodes=options.nodes, qoi=options.qoi,
            seed=options.seed, force=options.force)
    console = Console(highlight=False)
    for title, report in reports.items():
        table = Table("result", "tensors", "parts", title=title, title_justify="left")
        for what, count, parts in report.rows:
            table.add_row(MEANINGS[what], str(count), parts)
        console.print(table)
        print(*(f"note: {note}" for note in report.notes), sep="\n")
    print(options.out)
