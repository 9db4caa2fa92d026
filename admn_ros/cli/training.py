# SPDX-License-Identifier: Apache-2.0
"""Commands that train: train."""

from __future__ import annotations

import argparse
from pathlib import Path

from admn_ros.cli.command import CONSOLE, Commands, add_command


def add_commands(commands: Commands) -> None:
    """Train a stage."""
    train = add_command(commands, "train", "train one stage of a network; under construction", _train)
    train.add_argument("stage", choices=("finetune", "autoencoder", "controller"))
    train.add_argument("file", type=Path, help="training file, such as config/train/room_tiny.yaml")
    train.add_argument("out", type=Path, help="folder for checkpoints, figures and the model")
    train.add_argument("--model", type=Path, help="model folder of the stage before")
    train.add_argument("--data", type=Path, help="dataset, in place of the file's")
    train.add_argument("--budget", type=int, help="layers that a controller is trained for, in place of the file's")
    train.add_argument("--seed", type=int, help="seed, in place of the file's")
    train.add_argument("--resume", action="store_true", help="continue an interrupted run")
    train.add_argument("--dry-run", action="store_true", help="two batches, to see that everything fits")


def _train(options: argparse.Namespace) -> None:
    from admn_ros.training.run import main as run

    with CONSOLE.status(options.stage):
        print(run(options.file, options.stage, options.out, model=options.model, data=options.data,
                  budget=options.budget, seed=options.seed, resume=options.resume, dry_run=options.dry_run))
