# SPDX-License-Identifier: Apache-2.0
"""The one training loop, for all stages.

A run that was interrupted goes on from its last whole epoch, and on a CPU gives bit for bit what it would
have given: all randomness is a function of seed and epoch (`admn_ros.training.seeding`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, optim

from admn_ros.errors import AdmnError
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import Samples
from admn_ros.training.run_folder import Progressed, Row, RunFolder
from admn_ros.training.seeding import GLOBAL, LAYERS, NOISE, derive, generator
from admn_ros.training.stage import Stage, Step

DRY_STEPS = 2
"""Batches of training and of validation in a dry run, which has one epoch."""


@dataclass(frozen=True)
class Report:
    """Said after every step and, with `figures`, after every epoch.

    epoch, step: from 0. epochs, steps: how many; of an epoch.
    losses: weighted parts of the step's loss.
    figures: of the epoch: mean losses as `train/...`, validation as `val/...`; None within an epoch.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    losses: Mapping[str, float]
    figures: Row | None = None


Progress = Callable[[Report], None]


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Rate of a step (from 0) of an epoch's number of `steps`: linear warm-up, then the schedule."""
    warm, total = config.warm_up_epochs * steps, config.epochs * steps
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    share = (step - warm) / max(1, total - warm)
    falling = {"constant": 1.0, "linear": 1 - share, "cosine": (1 + math.cos(math.pi * share)) / 2}[config.schedule]
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * (config.final + (1 - config.final) * falling)


def fit(stage: Stage, train: Samples, validation: Samples | None, config: OptimizerConfig, folder: Path, *,
        identity: Mapping[str, Any] | None = None, device: torch.device | str = "cpu", resume: bool = False,
        dry_run: bool = False, progress: Progress | None = None) -> list[Row]:
    """Train a stage; a checkpoint and figures after every epoch.

    Args:
        stage: its module is moved to the device and holds the result.
        train: training samples.
        validation: samples to validate on after every epoch; None for none.
        config: optimizer, schedule and seed.
        folder: of the run.
        identity: what else a resumed run must have in common with its checkpoint, as JSON values.
        device: where to train.
        resume: go on from the folder's newest checkpoint, or begin if there is none.
        dry_run: one epoch, as the last one would be, of `DRY_STEPS` batches, to see that everything fits.
        progress: called after every step and epoch.

    Returns:
        Figures of every epoch.

    Raises:
        AdmnError: a loss or gradient is not finite; it names epoch, step and part.
        ConfigError: resuming with another configuration or model.
        InputError: the folder cannot be used, or a sample cannot be read.
    """
    run = RunFolder(folder, {"optimizer": config.model_dump(mode="json"), "stage": stage.name,
                             "samples": len(train), **(identity or {})})
    stage.module.to(device)
    run.begin(stage, resume=resume)
    optimizer = optim.Adam(stage.trainable().values(), lr=config.learning_rate)
    state = run.restore(stage, optimizer) if resume else Progressed(0, [])
    epochs = 1 if dry_run else config.epochs
    loop = _Loop(stage, train, validation, config, optimizer, torch.device(device), dry_run, progress)
    for epoch in range(state.epochs_done, epochs):
        row = loop.epoch(epoch, epochs)
        state = Progressed(epoch + 1, [*state.rows, row])
        run.save(stage, optimizer, state)
        if progress is not None:
            progress(Report(epoch, epochs, loop.steps - 1, loop.steps, {}, row))
    return state.rows


class _Loop:
    def __init__(self, stage: Stage, train: Samples, validation: Samples | None, config: OptimizerConfig,
                 optimizer: optim.Optimizer, device: torch.device, dry_run: bool, progress: Progress | None) -> None:
        self.stage, self.train, self.validation, self.config = stage, train, validation, config
        self.optimizer, self.device, self.progress = optimizer, device, progress
        self.first, self.dry_run = DRY_STEPS if dry_run else None, dry_run
        self.steps = min(train.steps(config.batch), self.first or train.steps(config.batch))

    def epoch(self, epoch: int, epochs: int) -> Row:
        """Train one epoch and validate; its figures."""
        seed = self.config.seed
        torch.manual_seed(derive(seed, GLOBAL, epoch))
        # A dry run looks at the last epoch, in which ramps and warm-ups are over and every part of the loss counts.
        at = self.config.epochs - 1 if self.dry_run else epoch
        step = Step(at, self.config.epochs, generator(seed, LAYERS, epoch), generator(seed, NOISE, epoch, self.device))
        sums: dict[str, float] = {}
        count = 0
        for number, batch in enumerate(self.train.batches(at, self.config.batch, shuffle=True, first=self.first)):
            rate = learning_rate(self.config, epoch * self.steps + number, self.steps)
            with self._autocast():
                losses = self.stage.losses(batch.to(self.device), step)
            values = self._descend(losses, rate, f"epoch {epoch + 1}, step {number + 1}")
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value * len(batch)
            count += len(batch)
            if self.progress is not None:
                self.progress(Report(epoch, epochs, number, self.steps, values))
        row: Row = {"epoch": epoch + 1, "learning_rate": rate, "train/loss": sum(sums.values()) / count}
        row |= {f"train/{name}": value / count for name, value in sums.items()}
        return row | {f"val/{name}": value for name, value in self._validate().items()}

    def _descend(self, losses: Mapping[str, Tensor], rate: float, place: str) -> dict[str, float]:
        """One step of the optimizer; the parts of the loss."""
        # Stacked, so that looking at them waits for the device once.
        values = dict(zip(losses, torch.stack([x.detach().float() for x in losses.values()]).tolist(), strict=True))
        for name, value in values.items():
            if not math.isfinite(value):
                raise AdmnError(f"{place}: the loss {name!r} is {value}; training stops. The last checkpoint is whole. "
                                "Try a smaller learning rate, clip_norm, or look for inputs that are not finite")
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.stack(list(losses.values())).sum()
        if total.requires_grad:
            total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.stage.trainable().values(), self.config.clip_norm or math.inf)
        if not bool(norm.isfinite()):
            raise AdmnError(f"{place}: the gradient of {' + '.join(losses)} is not finite; training stops. "
                            "The last checkpoint is whole. Try a smaller learning rate")
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return values

    def _validate(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        batches = self.validation.batches(0, self.config.batch, shuffle=False, first=self.first)
        with torch.no_grad(), self._autocast():
            return self.stage.validate(b.to(self.device) for b in batches)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")
