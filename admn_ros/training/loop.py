# SPDX-License-Identifier: Apache-2.0
"""The training loop of all stages, on a CPU, a GPU, or several GPUs of one machine.

An interrupted run resumes from its last complete epoch. On a CPU the result is bit-identical to an uninterrupted run,
because all randomness is a function of seed and epoch (`admn_ros.training.seeding`).

Several processes share every batch: `batch` is their total, and an epoch has each sample once even if the numbers do
not divide. Only the first process validates and writes.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim

from admn_ros.errors import AdmnError, ConfigError
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import Samples
from admn_ros.training.device_cache import DeviceCache, device_batches, room_mb
from admn_ros.training.model_selection import kept_epoch, out_of_patience
from admn_ros.training.processes import Processes
from admn_ros.training.run_folder import Row, RunFolder, RunState, assign, trained_weights
from admn_ros.training.seeding import GLOBAL, LAYERS, NOISE, derive, generator
from admn_ros.training.stage import Stage, Step

DRY_STEPS = 2
"""Training and validation batches of a dry run, which has one epoch."""
RATE = "samples_per_s"
"""Metric of an epoch that differs from run to run."""
RATE_SHARE = "rate_share"
"""Entry of an optimizer's group: its learning rate relative to that of the run."""
FIRST_SCALE = 2.0**14
"""Factor of the loss in float16, without which small gradients are 0. It is halved after every overflow."""


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a run, reported after every step and, with `metrics`, after every epoch.

    Attributes:
        epoch: current epoch, from 0.
        epochs: number of epochs.
        step: current step of the epoch, from 0.
        steps: number of steps of an epoch.
        losses: weighted parts of the step's loss.
        samples_per_s: training samples per second so far in the epoch, validation not counted.
        metrics: metrics of the epoch: mean losses as `train/...`, validation as `val/...`; None within an epoch.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    losses: Mapping[str, float]
    samples_per_s: float
    metrics: Row | None = None


ProgressCallback = Callable[[TrainingProgress], None]


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Return the learning rate of a step: linear warm-up, then the schedule.

    Args:
        config: schedule.
        step: number of the step in the run, from 0.
        steps: steps of an epoch.
    """
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
        dry_run: bool = False, on_progress: ProgressCallback | None = None) -> list[Row]:
    """Train a stage, and write a checkpoint and the metrics after every epoch.

    Args:
        stage: the same stage in all processes. Its module is moved to the device and holds the result.
        train: training samples.
        validation: validation samples, used after every epoch; None for no validation.
        config: optimizer, schedule and seed.
        folder: folder of the run.
        identity: other values that a resumed run must share with its checkpoint, as JSON.
        processes: processes that train together, and the device of this one; None for one process on the CPU.
        resume: continue from the folder's newest checkpoint, or start if there is none.
        dry_run: run `DRY_STEPS` batches with the settings of the last epoch, to check that everything fits.
        on_progress: called after every step and epoch, in the first process.

    Returns:
        Metrics of every epoch.

    Raises:
        AdmnError: a loss or gradient is not finite; it names epoch, step and part.
        ConfigError: resuming with another configuration or model, or there is no metric `best_of`.
        InputError: the folder cannot be used, or a sample cannot be read.
    """
    processes = processes or Processes()
    stage.module.to(processes.device)
    run = RunFolder(folder, {"optimizer": config.model_dump(mode="json"), "stage": stage.name,
                             "samples": len(train), **(identity or {})}, stage.fingerprint())
    processes.lead(lambda: run.begin(stage, resume=resume))
    optimizer = _adam(stage, config)
    state = run.restore(stage, optimizer) if resume else RunState(0, [])
    loop = _Loop(stage, train, validation, config, optimizer, processes, dry_run, on_progress)
    if not state.rows:
        loop.check_best_of()
    epochs = 1 if dry_run else config.epochs
    with closing(run):
        for epoch in range(state.epochs_done, epochs):
            if out_of_patience(config, state.rows):
                break
            rows = [*state.rows, loop.epoch(epoch, epochs)]
            improved = config.keep == "best" and kept_epoch(config, rows) == len(rows)
            state = RunState(epoch + 1, rows, trained_weights(stage) if improved else state.best)
            processes.lead(functools.partial(run.save, stage, optimizer, state))
            loop.report(TrainingProgress(epoch, epochs, loop.steps - 1, loop.steps, {}, rows[-1][RATE], rows[-1]))
    if state.best is not None:
        assign(stage, state.best, folder)
    return state.rows


def _adam(stage: Stage, config: OptimizerConfig) -> optim.Optimizer:
    by_share: dict[float, list[nn.Parameter]] = {}
    for name, weight in stage.trainable().items():
        by_share.setdefault(stage.rate_share(name), []).append(weight)
    if not config.weight_decay:
        return optim.Adam([{"params": weights, RATE_SHARE: share} for share, weights in by_share.items()],
                          lr=config.learning_rate, betas=config.betas)
    groups = []
    for share, weights in by_share.items():
        # Tokens and positions have shape (1, T, dim) and are no matrices.
        decayed = [w for w in weights if w.ndim > 1 and w.shape[0] > 1]
        rest = [w for w in weights if w.ndim <= 1 or w.shape[0] == 1]
        groups += [{"params": decayed, "weight_decay": config.weight_decay, RATE_SHARE: share},
                   {"params": rest, "weight_decay": 0.0, RATE_SHARE: share}]
    return optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)


class _Loop:
    def __init__(self, stage: Stage, train: Samples, validation: Samples | None, config: OptimizerConfig,
                 optimizer: optim.Optimizer, processes: Processes, dry_run: bool,
                 on_progress: ProgressCallback | None) -> None:
        self.stage, self.train, self.validation, self.config = stage, train, validation, config
        self.optimizer, self.processes, self.on_progress = optimizer, processes, on_progress
        room = room_mb(processes.device) // 2
        self.kept = [DeviceCache(room, 0 if split is None else split.repeated) for split in (train, validation)]
        self.weights = list(stage.trainable().values())
        self.first, self.dry_run = DRY_STEPS if dry_run else None, dry_run
        self.steps = min(train.steps(config.batch), self.first or train.steps(config.batch))

    def epoch(self, epoch: int, epochs: int) -> Row:
        """Train one epoch and validate; return the metrics."""
        config, processes = self.config, self.processes
        torch.manual_seed(derive(config.seed, GLOBAL, epoch))
        # A dry run takes the last epoch: ramps and warm-ups are over, and every part of the loss is active.
        at = config.epochs - 1 if self.dry_run else epoch
        # Layers and budgets of the batch are equal in all processes; noise differs.
        step = Step(at, config.epochs, generator(config.seed, LAYERS, epoch),
                    generator(config.seed, NOISE, epoch, processes.device, processes.rank))
        parts = self.train.parts(at, config.batch, shuffle=True, first=self.first,
                                 part=(processes.rank, processes.count))
        batches = device_batches(self.train, self.kept[0], processes.device, at, parts)
        # Anew in every epoch, so that a resumed run has the same scales.
        scaler = torch.amp.GradScaler(processes.device.type, FIRST_SCALE, enabled=config.precision == "float16")
        sums: dict[str, float] = {}
        count, begin = 0, time.perf_counter()
        for number, batch in enumerate(batches):
            samples = min(config.batch, len(self.train) - number * config.batch)
            rate = learning_rate(config, epoch * self.steps + number, self.steps)
            with self._autocast():
                losses = self.stage.losses(batch, step)
            values = self._descend(losses, processes.own(samples) / samples, rate, scaler,
                                   f"epoch {epoch + 1}, step {number + 1}")
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value * samples
            count += samples
            # The values of the losses have been waited for, so this is the time of the device too.
            samples_per_s = count / (time.perf_counter() - begin)
            self.report(TrainingProgress(epoch, epochs, number, self.steps, values, samples_per_s))
        row: Row = {"epoch": epoch + 1, "learning_rate": rate, RATE: samples_per_s,
                    "train/loss": sum(sums.values()) / count}
        row |= {f"train/{name}": value / count for name, value in sums.items()}
        return row | self._validate(self.first)

    def report(self, progress: TrainingProgress) -> None:
        """Call `on_progress` in the first process."""
        if self.on_progress is not None and self.processes.leads:
            self.on_progress(progress)

    def check_best_of(self) -> None:
        """Check before the first epoch that validation has the metric `best_of`.

        Raises:
            ConfigError: it does not have it.
        """
        wanted = self.config.best_of
        # A metric may be missing in two batches but present in the whole split.
        if wanted is None or wanted in self._validate(DRY_STEPS):
            return
        there = self._validate(None)
        if wanted not in there:
            raise ConfigError("optimizer.best_of", wanted, ", ".join(there) or "none, because there is no validation")

    def _descend(self, losses: Mapping[str, Tensor], share: float, rate: float, scaler: torch.amp.GradScaler,
                 place: str) -> dict[str, float]:
        """Run one step of the optimizer; return the parts of the whole batch's loss."""
        self.optimizer.zero_grad(set_to_none=True)
        parts = torch.stack(list(losses.values())).float()
        if parts.requires_grad:
            scaler.scale(parts.sum()).backward()  # type: ignore[no-untyped-call]
        # Checked after the reduction, so that all processes stop together. One transfer synchronizes the device once.
        values = dict(zip(losses, self.processes.add_up(parts.detach(), self.weights, share).tolist(), strict=True))
        for name, value in values.items():
            if not math.isfinite(value):
                raise AdmnError(f"{place}: the loss {name!r} is {value}; training stops. The last checkpoint is valid. "
                                "Reduce the learning rate, set clip_norm, or check the inputs for NaN and infinity")
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get(RATE_SHARE, 1.0)  # checkpoints of earlier versions have none
        if all(w.grad is None for w in self.weights):
            return values
        scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.config.clip_norm or math.inf)
        # In float16 an overflow skips the step; below a scale of 1 the gradient itself is at fault.
        if not bool(norm.isfinite()) and not (scaler.is_enabled() and scaler.get_scale() > 1):
            raise AdmnError(f"{place}: the gradient of {' + '.join(losses)} is not finite; training stops. "
                            "The last checkpoint is valid. Reduce the learning rate")
        scaler.step(self.optimizer)
        scaler.update()
        return values

    def _validate(self, first: int | None) -> Row:
        return self.processes.lead(functools.partial(self._metrics, first))

    def _metrics(self, first: int | None) -> Row:
        if self.validation is None:
            return {}
        parts = self.validation.parts(0, self.config.batch, shuffle=False, first=first)
        batches = device_batches(self.validation, self.kept[1], self.processes.device, 0, parts)
        with torch.no_grad(), self._autocast():
            metrics = self.stage.validate(batches)
        return {f"val/{name}": value for name, value in metrics.items()}

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.processes.device.type, getattr(torch, self.config.precision),
                              enabled=self.config.precision != "float32")
