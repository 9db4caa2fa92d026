# SPDX-License-Identifier: Apache-2.0
"""Trainings of the result tables: each part is trained once, with a searched learning rate; runs can be resumed."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from admn_ros.benchmark.tables.config import Effort, StudyConfig
from admn_ros.config import Strict
from admn_ros.errors import AdmnError, InputError
from admn_ros.files import read_json, write_bytes, write_json
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import Samples
from admn_ros.training.loop import TrainingProgress, fit
from admn_ros.training.processes import Processes
from admn_ros.training.run_folder import Row
from admn_ros.training.stage import Stage

S = TypeVar("S", bound=Stage)
Recipe = Callable[[OptimizerConfig, float], S]
"""Function from an optimizer and a price to a stage with new weights."""
OnStep = Callable[[str, int, int], None]
"""Called with a description of the work, the number of steps done, and the total number."""
SLACK = 1.02
"""Mean layers allowed for a method with a soft budget when its price is chosen, as a multiple of the budget."""
WEIGHTS, DONE, TIME = "weights.safetensors", "done.json", "seconds.json"


class Splits(Protocol):
    """Samples of a study."""

    validation: Samples

    def train(self, seed: int, clean_epochs: int) -> Samples:
        """Return the training samples in the order of a seed; the first `clean_epochs` epochs are not corrupted."""
        ...


class TrainingCost(Strict):
    """Training of one part.

    Attributes:
        learning_rate, price: values that the search chose.
        seconds: wall time of the training.
        search_seconds: wall time of the search.
    """

    learning_rate: float
    price: float
    seconds: float
    search_seconds: float


@dataclass(frozen=True)
class Part(Generic[S]):
    """A trained part; the stage has its networks."""

    stage: S
    cost: TrainingCost


class TrainingStore:
    """Trains the parts of one corruption and keeps them in a folder.

    Args:
        config: configuration of the study.
        splits: samples.
        folder: output folder; it gets one folder for each part and one for each run of a search.
        processes: device.
        on_step: callback for the progress.
        clean: folder of the parts after their clean epochs, which the stores of all corruptions share; None if each
            store trains its own.
    """

    def __init__(self, config: StudyConfig, splits: Splits, folder: Path, processes: Processes, on_step: OnStep,
                 clean: Path | None = None) -> None:
        self.config, self.splits, self.folder, self.clean = config, splits, folder, clean
        self.processes, self.on_step = processes, on_step

    def part(self, name: str, family: str, effort: Effort, recipe: Recipe[S], *, seed: int,
             layers: int | None = None) -> Part[S]:
        """Return a trained part: read it from its folder, or train it, or resume its training.

        Args:
            name: unique name of the part.
            family: parts of a family share one search for learning rate and price.
            effort: extent of training and search.
            recipe: function that makes the stage.
            seed: seed of initial weights, order and noise.
            layers: budget for the mean layers of a method with a price.

        Raises:
            AdmnError: the training fails.
        """
        folder = self.folder / "parts" / name
        if (folder / DONE).exists():
            cost = TrainingCost(**read_json(folder / DONE))
            stage = recipe(self._optimizer(effort, cost.learning_rate, seed), cost.price)
            return Part(_restored(stage, folder / WEIGHTS, self.processes.device), cost)
        if self.clean is not None and effort.clean_epochs:
            effort, recipe = self._after_clean(self.clean / name, effort, recipe, seed)
        rate, price, searched = self._search(family, effort, recipe, layers)
        optimizer = self._optimizer(effort, rate, seed)
        stage = recipe(optimizer, price)
        rows, seconds = self._fit(name, stage, optimizer, folder, price, effort.clean_epochs)
        if not rows:
            raise AdmnError(f"{name}: no epoch was trained")
        _keep(stage, folder / WEIGHTS)
        cost = TrainingCost(learning_rate=rate, price=price, seconds=seconds, search_seconds=searched)
        write_json(folder / DONE, cost.model_dump())
        return Part(stage, cost)

    def _after_clean(self, folder: Path, effort: Effort, recipe: Recipe[S], seed: int) -> tuple[Effort, Recipe[S]]:
        """Return what is left of an effort after its clean epochs, and the recipe of a stage that has learned them."""
        optimizer = self._optimizer(effort.model_copy(update={"epochs": effort.clean_epochs}), effort.rates[0], seed)
        if not (folder / WEIGHTS).exists():
            stage = recipe(optimizer, effort.prices[0])
            self._fit(f"{folder.name}, clean", stage, optimizer, folder, effort.prices[0], effort.clean_epochs)
            _keep(stage, folder / WEIGHTS)

        def learned(optimizer: OptimizerConfig, price: float) -> S:
            return _restored(recipe(optimizer, price), folder / WEIGHTS, self.processes.device)

        return effort.model_copy(update={"epochs": effort.epochs - effort.clean_epochs, "clean_epochs": 0}), learned

    def _search(self, family: str, effort: Effort, recipe: Recipe[S],
                layers: int | None) -> tuple[float, float, float]:
        """Choose learning rate and price by short runs; return them and the seconds. Diverged runs are skipped."""
        options = list(itertools.product(effort.rates, effort.prices))
        if len(options) == 1:
            return *options[0], 0.0
        path = self.folder / "search" / f"{family}.json"
        found: dict[str, tuple[float, float, float]] = {}
        if path.exists():
            found = read_json(path)
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
                    if type(error) is not AdmnError:  # a plain AdmnError means that the loss is not finite
                        raise
                    found[key] = sys.float_info.max, sys.float_info.max, 0.0
                write_json(path, found)
        best = min(options, key=lambda option: tuple(found[f"{option[0]:g}-{option[1]:g}"][:2]))
        return *best, sum(entry[2] for entry in found.values())

    def _optimizer(self, effort: Effort, rate: float, seed: int) -> OptimizerConfig:
        return OptimizerConfig(learning_rate=rate, schedule="cosine", warm_up_epochs=min(1, effort.epochs - 1),
                               batch=self.config.batch, epochs=effort.epochs, clip_norm=self.config.clip_norm,
                               precision=self.config.precision, seed=seed)

    def _fit(self, what: str, stage: Stage, optimizer: OptimizerConfig, folder: Path, price: float,
             clean_epochs: int) -> tuple[list[Row], float]:
        """Train or resume; return the figures of the epochs, and the seconds of all finished epochs."""
        path = folder / TIME
        before = float(read_json(path)["seconds"]) if path.exists() else 0.0
        began = time.monotonic()

        def on_progress(progress: TrainingProgress) -> None:
            if progress.metrics is not None:
                write_json(path, {"seconds": before + time.monotonic() - began})
            self.on_step(what, progress.epoch * progress.steps + progress.step + 1,
                         progress.epochs * progress.steps)

        rows = fit(stage, self.splits.train(optimizer.seed, clean_epochs), self.splits.validation, optimizer, folder,
                   identity={"price": price, "clean_epochs": clean_epochs}, processes=self.processes, resume=True,
                   on_progress=on_progress)
        return rows, before + time.monotonic() - began


def _score(row: Row, layers: int | None) -> tuple[float, float]:
    """Return the layers above the budget, then the mean of all validation errors; smaller is better.

    Without positions the errors are the rates of wrong classes, and for segmentations 1 - mIoU.
    """
    errors = [v for k, v in row.items() if k.startswith("val/") and k.endswith("error_m") and "constant" not in k]
    if not errors:
        errors = [1 - v for k, v in row.items() if k.startswith("val/") and k.endswith("accuracy")
                  and "category" not in k]
    if not errors and "val/miou" in row:
        errors = [1 - row["val/miou"]]
    if not errors:
        errors = [v for k, v in row.items() if k.startswith("val/picture_")]
    over = 0.0 if layers is None else max(0.0, float(row.get("val/layers_mean", 0.0)) - SLACK * layers)
    return over, sum(errors) / len(errors)


def _keep(stage: Stage, path: Path) -> None:
    weights = {k: v.detach().cpu().contiguous() for k, v in stage.module.state_dict().items()}
    write_bytes(path, save(weights))


def _restored(stage: S, path: Path, device: torch.device) -> S:
    try:
        stage.module.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(str(path), " ".join(str(error).split()), "weights of this part") from error
    stage.module.to(device)
    return stage
