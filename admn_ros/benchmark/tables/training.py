# SPDX-License-Identifier: Apache-2.0
"""Trainings of the result tables: each part once, its learning rate searched, to be continued at any point."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from admn_ros.benchmark.tables.config import Effort, TablesConfig
from admn_ros.benchmark.tables.data import Told
from admn_ros.errors import AdmnError, InputError
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import Samples
from admn_ros.training.loop import TrainingProgress, fit
from admn_ros.training.processes import Processes
from admn_ros.training.run_folder import Row
from admn_ros.training.stage import Stage

S = TypeVar("S", bound=Stage)
Recipe = Callable[[OptimizerConfig, float], S]
"""Makes a stage with new weights, of an optimizer and a price."""
SLACK = 1.02
"""Mean layers that a method with a soft budget may have, in units of the budget, when its price is chosen."""
WEIGHTS, DONE, TIME = "weights.safetensors", "done.json", "seconds.json"


@dataclass(frozen=True)
class Trained:
    """How a part was trained: chosen learning rate and price, wall time of its run and of its search, seconds."""

    learning_rate: float
    price: float
    seconds: float
    search_seconds: float


@dataclass(frozen=True)
class Part(Generic[S]):
    """A trained part: the stage holds its networks."""

    stage: S
    trained: Trained


@dataclass(frozen=True)
class Splits:
    """Data of one corruption.

    train: samples in an order of their own, by seed, of which so many first epochs are clean.
    """

    train: Callable[[int, int], Samples]
    validation: Samples


class Workshop:
    """Trains parts of one corruption and keeps them in a folder.

    Args:
        config: batch, precision, seeds.
        splits: the data.
        folder: one folder for each part, and one for each short run of a search.
        processes: the device.
        told: progress, in steps.
    """

    def __init__(self, config: TablesConfig, splits: Splits, folder: Path, processes: Processes, told: Told) -> None:
        self.config, self.splits, self.folder = config, splits, folder
        self.processes, self.told = processes, told

    def part(self, name: str, family: str, effort: Effort, recipe: Recipe[S], *, seed: int,
             layers: int | None = None) -> Part[S]:
        """A trained part: read from its folder, or trained there, or its training continued.

        Args:
            name: of the part, unique.
            family: parts of a family share the search for learning rate and price; the first one makes it.
            effort: of the training and the search.
            recipe: makes the stage.
            seed: of first weights, order, and noise.
            layers: budget that the mean of a method with a price must keep.

        Raises:
            AdmnError: the training fails.
        """
        folder = self.folder / "parts" / name
        if (folder / DONE).exists():
            trained = Trained(**json.loads((folder / DONE).read_text(encoding="utf-8")))
            stage = recipe(self._optimizer(effort, trained.learning_rate, seed), trained.price)
            return Part(_restored(stage, folder / WEIGHTS, self.processes.device), trained)
        rate, price, searched = self._search(family, effort, recipe, layers)
        optimizer = self._optimizer(effort, rate, seed)
        stage = recipe(optimizer, price)
        rows, seconds = self._fit(name, stage, optimizer, folder, price, effort.clean_epochs)
        if not rows:
            raise AdmnError(f"{name}: no epoch was trained")
        _keep(stage, folder / WEIGHTS)
        trained = Trained(rate, price, seconds, searched)
        write_json(folder / DONE, asdict(trained))
        return Part(stage, trained)

    def _search(self, family: str, effort: Effort, recipe: Recipe[S],
                layers: int | None) -> tuple[float, float, float]:
        """Learning rate and price by short runs, and what they took. A run that diverges is out."""
        options = list(itertools.product(effort.rates, effort.prices))
        if len(options) == 1:
            return *options[0], 0.0
        path = self.folder / "search" / f"{family}.json"
        found: dict[str, tuple[float, float, float]] = {}
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
        for rate, price in options:
            key = f"{rate:g}-{price:g}"
            if key not in found:
                optimizer = self._optimizer(effort.model_copy(update={"epochs": effort.search_epochs}), rate,
                                            self.config.seed)
                stage = recipe(optimizer, price)
                try:
                    rows, seconds = self._fit(f"{family}, rate {rate:g}, price {price:g}", stage, optimizer,
                                              self.folder / "search" / f"{family}-{key}", price,
                                              min(effort.clean_epochs, effort.search_epochs // 2))
                    found[key] = *_score(rows[-1], layers), seconds
                except AdmnError as error:
                    if type(error) is not AdmnError:  # a plain one says that the loss is not finite
                        raise
                    found[key] = float("inf"), float("inf"), 0.0
                write_json(path, found)
        best = min(options, key=lambda option: tuple(found[f"{option[0]:g}-{option[1]:g}"][:2]))
        return *best, sum(entry[2] for entry in found.values())

    def _optimizer(self, effort: Effort, rate: float, seed: int) -> OptimizerConfig:
        return OptimizerConfig(learning_rate=rate, schedule="cosine", warm_up_epochs=min(1, effort.epochs - 1),
                               batch=self.config.batch, epochs=effort.epochs, clip_norm=self.config.clip_norm,
                               precision=self.config.precision, seed=seed)

    def _fit(self, what: str, stage: Stage, optimizer: OptimizerConfig, folder: Path, price: float,
             clean_epochs: int) -> tuple[list[Row], float]:
        """Train, or go on; figures of the epochs, and seconds over all attempts that came to an epoch's end."""
        path = folder / TIME
        before = float(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else 0.0
        began = time.monotonic()

        def told(report: TrainingProgress) -> None:
            if report.metrics is not None:
                write_json(path, before + time.monotonic() - began)
            self.told(what, report.epoch * report.steps + report.step + 1, report.epochs * report.steps)

        rows = fit(stage, self.splits.train(optimizer.seed, clean_epochs), self.splits.validation, optimizer, folder,
                   identity={"price": price, "clean_epochs": clean_epochs}, processes=self.processes, resume=True,
                   on_progress=told)
        return rows, before + time.monotonic() - began


def _score(row: Row, layers: int | None) -> tuple[float, float]:
    """Layers beyond the budget, then the mean error of all that was validated: the smaller the better."""
    errors = [v for k, v in row.items() if k.startswith("val/") and k.endswith("error_m") and "constant" not in k]
    if not errors:
        errors = [v for k, v in row.items() if k.startswith("val/picture_")]
    over = 0.0 if layers is None else max(0.0, float(row.get("val/layers_mean", 0.0)) - SLACK * layers)
    return over, sum(errors) / len(errors)


def _keep(stage: Stage, path: Path) -> None:
    weights = {k: v.detach().cpu().contiguous() for k, v in stage.module.state_dict().items()}
    partial = path.with_suffix(".partial")
    try:
        save_file(weights, partial)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise InputError(str(path), str(error) or "unwritable", "a writable folder with space") from error


def _restored(stage: S, path: Path, device: torch.device) -> S:
    try:
        stage.module.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(str(path), " ".join(str(error).split()), "weights of this part") from error
    stage.module.to(device)
    return stage


def write_json(path: Path, content: object) -> None:
    """Write a JSON file that is whole or not there.

    Raises:
        InputError: it cannot be written.
    """
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(str(path), error.strerror or "unwritable", "a writable folder with space") from error
