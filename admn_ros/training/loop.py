# SPDX-License-Identifier: Apache-2.0
"""The one training loop, for all stages, on a CPU or GPU or on several GPUs of a machine.

A run that was interrupted goes on from its last whole epoch, and on a CPU gives bit for bit what it would
have given: all randomness is a function of seed and epoch (`admn_ros.training.seeding`).

Several processes share every batch: `batch` is what they have together, and an epoch has each sample once,
whether the numbers divide or not. The first process alone validates and writes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, optim

from admn_ros.errors import AdmnError, ConfigError
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import Samples
from admn_ros.training.model_selection import kept_epoch, out_of_patience
from admn_ros.training.processes import Processes
from admn_ros.training.run_folder import Progressed, Row, RunFolder, assign, trained_weights
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
        identity: Mapping[str, Any] | None = None, processes: Processes | None = None, resume: bool = False,
        dry_run: bool = False, progress: Progress | None = None) -> list[Row]:
    """Train a stage; a checkpoint and figures after every epoch.

    Args:
        stage: the same in all processes. Its module is moved to the device and holds the result.
        train: training samples.
        validation: samples to validate on after every epoch; None for none.
        config: optimizer, schedule and seed.
        folder: of the run.
        identity: what else a resumed run must have in common with its checkpoint, as JSON values.
        processes: that train together, and the device of this one; None for one on the CPU.
        resume: go on from the folder's newest checkpoint, or begin if there is none.
        dry_run: one epoch, as the last one would be, of `DRY_STEPS` batches, to see that everything fits.
        progress: called after every step and epoch, in the first process.

    Returns:
        Figures of every epoch.

    Raises:
        AdmnError: a loss or gradient is not finite; it names epoch, step and part.
        ConfigError: resuming with another configuration or model, or there is no figure `best_of`.
        InputError: the folder cannot be used, or a sample cannot be read.
    """
    processes = processes or Processes()
    stage.module.to(processes.device)
    run = RunFolder(folder, {"optimizer": config.model_dump(mode="json"), "stage": stage.name,
                             "samples": len(train), **(identity or {})}, stage.fingerprint())
    processes.lead(lambda: run.begin(stage, resume=resume))
    optimizer = _adam(stage, config)
    state = run.restore(stage, optimizer) if resume else Progressed(0, [])
    loop = _Loop(stage, train, validation, config, optimizer, processes, dry_run, progress)
    if not state.rows:
        loop.check_best_of()
    epochs = 1 if dry_run else config.epochs
    for epoch in range(state.epochs_done, epochs):
        if out_of_patience(config, state.rows):
            break
        rows = [*state.rows, loop.epoch(epoch, epochs)]
        improved = config.keep == "best" and kept_epoch(config, rows) == len(rows)
        state = Progressed(epoch + 1, rows, trained_weights(stage) if improved else state.best)
        processes.lead(functools.partial(run.save, stage, optimizer, state))
        loop.report(Report(epoch, epochs, loop.steps - 1, loop.steps, {}, rows[-1]))
    processes.lead(run.close)
    if state.best is not None:
        assign(stage, state.best, folder)
    return state.rows


def _adam(stage: Stage, config: OptimizerConfig) -> optim.Optimizer:
    weights = list(stage.trainable().values())
    if not config.weight_decay:
        return optim.Adam(weights, lr=config.learning_rate, betas=config.betas)
    # Tokens and positions are (1, T, dim): what has a batch of one is no matrix.
    decayed = [w for w in weights if w.ndim > 1 and w.shape[0] > 1]
    rest = [w for w in weights if w.ndim <= 1 or w.shape[0] == 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)


class _Loop:
    def __init__(self, stage: Stage, train: Samples, validation: Samples | None, config: OptimizerConfig,
                 optimizer: optim.Optimizer, processes: Processes, dry_run: bool, progress: Progress | None) -> None:
        self.stage, self.train, self.validation, self.config = stage, train, validation, config
        self.optimizer, self.processes, self.progress = optimizer, processes, progress
        self.weights = list(stage.trainable().values())
        self.first, self.dry_run = DRY_STEPS if dry_run else None, dry_run
        self.steps = min(train.steps(config.batch), self.first or train.steps(config.batch))

    def epoch(self, epoch: int, epochs: int) -> Row:
        """Train one epoch and validate; its figures."""
        config, processes = self.config, self.processes
        torch.manual_seed(derive(config.seed, GLOBAL, epoch))
        # A dry run looks at the last epoch, in which ramps and warm-ups are over and every part of the loss counts.
        at = config.epochs - 1 if self.dry_run else epoch
        # Layers and budgets are drawn alike in all processes, for the batch; noise for each sample.
        step = Step(at, config.epochs, generator(config.seed, LAYERS, epoch),
                    generator(config.seed, NOISE, epoch, processes.device, processes.rank))
        batches = self.train.batches(at, config.batch, shuffle=True, first=self.first,
                                     part=(processes.rank, processes.count))
        sums: dict[str, float] = {}
        count = 0
        for number, batch in enumerate(batches):
            samples = min(config.batch, len(self.train) - number * config.batch)
            rate = learning_rate(config, epoch * self.steps + number, self.steps)
            with self._autocast():
                losses = self.stage.losses(batch.to(processes.device), step)
            values = self._descend(losses, processes.own(samples) / samples, rate,
                                   f"epoch {epoch + 1}, step {number + 1}")
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value * samples
            count += samples
            self.report(Report(epoch, epochs, number, self.steps, values))
        row: Row = {"epoch": epoch + 1, "learning_rate": rate, "train/loss": sum(sums.values()) / count}
        row |= {f"train/{name}": value / count for name, value in sums.items()}
        return row | self._validate(self.first)

    def report(self, report: Report) -> None:
        """Tell the caller."""
        if self.progress is not None and self.processes.leads:
            self.progress(report)

    def check_best_of(self) -> None:
        """Look for the figure that says which epoch is best before an epoch is spent.

        Raises:
            ConfigError: there is none of that name.
        """
        wanted = self.config.best_of
        # Two batches may lack what the split has, such as a target.
        if wanted is None or wanted in self._validate(DRY_STEPS):
            return
        there = self._validate(None)
        if wanted not in there:
            raise ConfigError("optimizer.best_of", wanted, ", ".join(there) or "nothing; there is no validation")

    def _descend(self, losses: Mapping[str, Tensor], share: float, rate: float, place: str) -> dict[str, float]:
        """One step of the optimizer; the parts of the whole batch's loss."""
        self.optimizer.zero_grad(set_to_none=True)
        parts = torch.stack(list(losses.values())).float()
        if parts.requires_grad:
            parts.sum().backward()  # type: ignore[no-untyped-call]
        # Looked at after the exchange: then all processes stop alike. As a whole: it waits for the device once.
        values = dict(zip(losses, self.processes.add_up(parts.detach(), self.weights, share).tolist(), strict=True))
        for name, value in values.items():
            if not math.isfinite(value):
                raise AdmnError(f"{place}: the loss {name!r} is {value}; training stops. The last checkpoint is whole. "
                                "Try a smaller learning rate, clip_norm, or look for inputs that are not finite")
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.config.clip_norm or math.inf)
        if not bool(norm.isfinite()):
            raise AdmnError(f"{place}: the gradient of {' + '.join(losses)} is not finite; training stops. "
                            "The last checkpoint is whole. Try a smaller learning rate")
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return values

    def _validate(self, first: int | None) -> Row:
        return self.processes.lead(functools.partial(self._figures, first))

    def _figures(self, first: int | None) -> Row:
        if self.validation is None:
            return {}
        batches = self.validation.batches(0, self.config.batch, shuffle=False, first=first)
        with torch.no_grad(), self._autocast():
            figures = self.stage.validate(b.to(self.processes.device) for b in batches)
        return {f"val/{name}": value for name, value in figures.items()}

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.processes.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")
