# SPDX-License-Identifier: Apache-2.0
"""Commands that train: train."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from admn_ros.cli.command import CONSOLE, Commands, Parser, add_command, add_device, whole
from admn_ros.cli.plan_options import add_plan_options, given_values

if TYPE_CHECKING:
    from admn_ros.training.loop import TrainingProgress


def add_commands(commands: Commands) -> None:
    """Add the command that trains a stage."""
    add_command(commands, "train", "train one stage of a network, also on several GPUs with torchrun", _train,
                derive=_add_options)


def _add_options(new: Parser) -> None:
    from admn_ros.training.config import OptimizerConfig
    from admn_ros.training.settings import STAGES

    new.add_argument("stage", choices=STAGES, help="training stage")
    new.add_argument("--config", type=Path, required=True, metavar="FILE",
                     help="training file, such as config/train/room_tiny.yaml")
    new.add_argument("--out", type=Path, required=True, metavar="DIR",
                     help="run folder to write: checkpoints, metrics and the model")
    new.add_argument("--model", type=Path, metavar="DIR", help="model folder of the preceding stage")
    new.add_argument("--data", type=Path, metavar="DIR", help="dataset folder; overrides the file")
    new.add_argument("--budget", type=whole(1), metavar="LAYERS",
                     help="layer budget to train a controller for; overrides the file")
    add_plan_options(new, OptimizerConfig, {
        "seed": {"help": "random seed; overrides the file"},
        "precision": {"help": "floating-point precision; overrides the file"}}, only=("seed", "precision"))
    new.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", dest="settings",
                     help="override any value of the file, such as finetune.optimizer.epochs=5; may be repeated")
    add_device(new)
    new.add_argument("--resume", action="store_true", help="continue an interrupted run, or start a new one")
    new.add_argument("--dry-run", action="store_true", help="run two batches only, to check the configuration")


def _train(options: argparse.Namespace) -> None:
    from admn_ros.training.config import OptimizerConfig
    from admn_ros.training.run import train

    with _ConsoleProgress.open(options.stage) as progress:
        folder = train(options.config, options.stage, options.out, model=options.model, data=options.data,
                       budget=options.budget, settings=options.settings, device=options.device, resume=options.resume,
                       dry_run=options.dry_run, on_progress=progress, **given_values(options, OptimizerConfig))
    if os.environ.get("RANK", "0") == "0":
        print(folder)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # All work is done. Threads of torch's process group can still abort the interpreter while it shuts down.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


class _ConsoleProgress:
    """Progress of a run: a bar on a terminal, a line per epoch elsewhere."""

    def __init__(self, bar: Progress | None, stage: str) -> None:
        self._bar = bar
        self._task = bar.add_task(stage, total=None, metrics="") if bar is not None else None

    @classmethod
    @contextmanager
    def open(cls, stage: str) -> Iterator[_ConsoleProgress]:
        """Show progress for the duration of a run."""
        if not CONSOLE.is_terminal:
            yield cls(None, stage)
            return
        with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                      TextColumn("{task.fields[metrics]}"), console=CONSOLE) as bar:
            yield cls(bar, stage)

    def __call__(self, report: TrainingProgress) -> None:
        """Show one report of the training loop."""
        epoch = f"epoch {report.epoch + 1}/{report.epochs}"
        if report.metrics is not None:
            line = f"{epoch}: {_values(report.metrics)}"
            # Flushed, so that it can be followed through a pipe.
            print(line, file=sys.stderr, flush=True) if self._bar is None else self._bar.console.print(line)
        elif self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=epoch, total=report.epochs * report.steps,
                             completed=report.epoch * report.steps + report.step + 1,
                             metrics=f"{report.samples_per_s:.4g} samples/s  {_values(report.losses)}")


def _values(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items() if name != "epoch")
