# SPDX-License-Identifier: Apache-2.0
"""Configuration of the result tables: a grid of methods, budgets, corruptions and seeds, and the training effort."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator

from admn_ros.baselines.fusion_dynmm import main_exits
from admn_ros.config import Count, ModelConfig, NotNegative, Positive, Strict
from admn_ros.datasets.open import DatasetKind
from admn_ros.errors import ConfigError
from admn_ros.model.presets import PRESETS, preset
from admn_ros.sample import Modality
from admn_ros.sensing.corruption.presets import CORRUPTIONS
from admn_ros.training.config import LossConfig, Rate, Seed, Share, Whole

Method = Literal[
    "upper_bound", "naive", "rgb_only", "depth_only", "radar_only", "audio_only", "static", "scratch", "mns", "dynmm",
    "dynmm_strict", "dynmm_fusion", "dynmm_fusion_strict", "adamml", "admn", "admn_ae", "admn_task", "straight_through",
    "progressive", "universal", "neuralsort", "value", "naive_unequal", "admn_unequal", "removal_layerdrop",
    "removal_plain"]
Task = Literal["localization", "classification"]
TITLES: Final[dict[Method, str]] = {
    "upper_bound": "Upper bound", "naive": "Naive allocation", "rgb_only": "RGB only", "depth_only": "Depth only",
    "radar_only": "Radar only", "audio_only": "Audio only", "static": "Best static allocation",
    "scratch": "Naive scratch", "mns": "MNS",
    "dynmm": "DynMM, modality level", "dynmm_strict": "DynMM, modality level, strict",
    "dynmm_fusion": "DynMM, fusion level", "dynmm_fusion_strict": "DynMM, fusion level, strict", "adamml": "AdaMML",
    "admn": "ADMN", "admn_ae": "ADMN_AE", "admn_task": "ADMN, task loss only",
    "straight_through": "ADMN, pure straight-through", "progressive": "ADMN, progressive top-L",
    "universal": "ADMN, universal controller", "neuralsort": "NeuralSort, universal controller",
    "value": "Allocation by predicted value", "naive_unequal": "Naive allocation, unequal costs",
    "admn_unequal": "ADMN, unequal costs", "removal_layerdrop": "Layers removed, trained with LayerDrop",
    "removal_plain": "Layers removed, trained without LayerDrop"}
ALONE: Final[dict[Method, Modality]] = {
    "rgb_only": Modality.RGB, "depth_only": Modality.DEPTH, "radar_only": Modality.RADAR,
    "audio_only": Modality.AUDIO}
UNEQUAL: Final[dict[Method, Method]] = {"naive_unequal": "naive", "admn_unequal": "admn"}
"""Methods whose budgets count a layer by `unequal`, and the methods that they are otherwise."""
WITHOUT_BUDGET: Final[frozenset[Method]] = frozenset({"upper_bound", "removal_layerdrop", "removal_plain"})
ONE_SEED: Final[frozenset[Method]] = frozenset({
    "upper_bound", "naive", "rgb_only", "depth_only", "radar_only", "audio_only", "static", "scratch", "naive_unequal",
    "removal_layerdrop", "removal_plain"})
"""Methods without a part that is trained for each seed: they run the networks that all methods share."""
STATIC_STEP = 2
"""Step between the numbers of layers in the search of the best static allocation."""


class SplitConfig(Strict):
    """Samples of a split.

    Attributes:
        split: name of the split.
        samples: largest number of samples, evenly spread over the split.
        draws: number of corruption draws.
        viewpoints: sensor nodes of the dataset that take the place of the model's only node in turn; empty to use
            equal names.
        windows: windows of training clips (MM-Fi): the first of each, or a random one in every draw, of clean ones too.
            Only the training split can have random ones.
    """

    split: str
    samples: Count
    draws: Count = 1
    viewpoints: tuple[str, ...] = ()
    windows: Literal["first", "random"] = "first"


class Effort(Strict):
    """Training of one part.

    Attributes:
        epochs: epochs of the final run.
        rates: learning rates to choose from.
        search_epochs: epochs of the short runs, one for each rate and price, that choose by the validation split.
        prices: prices on compute to choose from, for baselines that have one.
        clean_epochs: number of first epochs without corruption; at most half of a short run.
    """

    epochs: Count
    rates: Annotated[tuple[Positive, ...], Field(min_length=1)]
    search_epochs: Count = 2
    prices: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (0.0,)
    clean_epochs: Whole = 0

    @model_validator(mode="after")
    def _corrupted_at_last(self) -> Effort:
        if self.clean_epochs >= self.epochs:
            raise ValueError(f"clean_epochs {self.clean_epochs} must leave an epoch of {self.epochs} with corruption")
        return self


class Efforts(Strict):
    """`Effort` of each kind of part. A gate trains together with its networks, except in MNS."""

    finetune: Effort
    expert: Effort
    autoencoder: Effort
    controller: Effort
    gate: Effort
    dynmm: Effort
    dynmm_fusion: Effort
    adamml: Effort
    value: Effort = Effort(epochs=8, rates=(3e-3,))


class GridBlock(Strict):
    """Part of the grid: every method at every budget, for each corruption and seed. Budgets are in layers."""

    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    corruptions: Annotated[tuple[str, ...], Field(min_length=1)]
    budgets: tuple[Count, ...] = ()
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)

    @field_validator("corruptions")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in CORRUPTIONS:
                raise ValueError(f"{name!r} must be one of {', '.join(CORRUPTIONS)}")
        return names

    @model_validator(mode="after")
    def _budgets(self) -> GridBlock:
        if not self.budgets and not set(self.methods) <= WITHOUT_BUDGET:
            raise ValueError("budgets must have at least one number of layers")
        return self


class StudyConfig(Strict):
    """What all studies with trainings of their own have.

    Attributes:
        model: name of a preset of `admn_ros.model.presets`.
        kind: kind of the dataset, a key of `admn_ros.datasets.open.READERS`.
        task: what the entries measure: mean error of the position, or accuracy of the class.
        table: number of the first table in the paper.
        unequal: cost of a layer of each modality in the budgets of the methods of unequal costs (Table 4); 1 for
            modalities that are not named.
        notes: notes for the reader, printed above the tables.
        train, validation, test: samples of each split.
        seed: seed of the data, of the networks that methods share, and of the searches.
        precision, batch, clip_norm, loss: settings of all trainings.
    """

    model: str = "table"
    kind: DatasetKind = "shards"
    task: Task = "localization"
    table: str = "Table 1"
    unequal: dict[Modality, Count] = Field(default={})
    notes: str = ""
    train: SplitConfig
    validation: SplitConfig
    test: SplitConfig
    seed: Seed = 0
    batch: Count = 64
    precision: Literal["float32", "bfloat16"] = "float32"
    clip_norm: Positive = 5.0
    loss: LossConfig = LossConfig()

    @field_validator("validation", "test")
    @classmethod
    def _first_windows(cls, split: SplitConfig) -> SplitConfig:
        if split.windows != "first":
            raise ValueError("windows: first; random ones are for training")
        return split

    @field_validator("model")
    @classmethod
    def _preset(cls, name: str) -> str:
        if name not in PRESETS:
            raise ValueError(f"must be one of {', '.join(PRESETS)}")
        return name


class TablesConfig(StudyConfig):
    """`config/tables/*.yaml`.

    Attributes:
        grid: blocks, in the order in which they run.
        data: command that makes the dataset, for the reader; `DATASET` is its folder.
        universal: budgets that universal controllers are trained for, in layers.
        efforts: training effort of each kind of part.
        layerdrop, full_backbone_dropout, ramp_epochs: settings of stage 1, as in `FinetuneConfig`.
        modality_dropout, solo: settings of stage 1 and of the networks of baselines, likewise.
        random_epochs, hard_epochs: phases of fusion-level DynMM and of AdaMML, part of their epochs.
        shared_clean: whether the clean epochs are a training of their own, with its own schedule, that all corruptions
            share. The remaining epochs then start from its weights, and `ramp_epochs` starts again.
    """

    grid: Annotated[tuple[GridBlock, ...], Field(min_length=1)]
    data: str = ""
    universal: Annotated[tuple[Count, ...], Field(min_length=1)]
    efforts: Efforts
    layerdrop: Rate = 0.2
    modality_dropout: Rate = 0.1
    full_backbone_dropout: Share = 0.1
    solo: dict[Modality, Share] = Field(default={})
    ramp_epochs: Whole = 1
    random_epochs: Whole = 1
    hard_epochs: Whole = 1
    shared_clean: bool = False

    @model_validator(mode="after")
    def _one_clean_rate(self) -> TablesConfig:
        for name in ("finetune", "expert") if self.shared_clean else ():
            effort: Effort = getattr(self.efforts, name)
            if len(effort.rates) > 1:
                raise ValueError(f"efforts.{name}: shared_clean takes one learning rate, not {len(effort.rates)}")
        return self

    @model_validator(mode="after")
    def _time_for_gates(self) -> TablesConfig:
        for name in ("dynmm_fusion", "adamml"):
            effort: Effort = getattr(self.efforts, name)
            if self.random_epochs + self.hard_epochs >= min(effort.epochs, effort.search_epochs):
                raise ValueError(f"efforts.{name}: epochs and search_epochs must be above random_epochs + hard_epochs")
        return self

    @property
    def fingerprint(self) -> str:
        """Hash of everything that a result depends on: the settings without grid and texts, and the model's preset."""
        known = self.model_dump(mode="json", exclude={"grid", "data", "notes", "table"}) | {"static_step": STATIC_STEP}
        # Default values are left out, so that a new option does not invalidate earlier results.
        for name in ("kind", "task", "unequal", "shared_clean"):
            if getattr(self, name) == TablesConfig.model_fields[name].default:
                del known[name]
        if self.efforts.value == Efforts.model_fields["value"].default:
            del known["efforts"]["value"]
        for split in ("train", "validation", "test"):
            if known[split]["windows"] == SplitConfig.model_fields["windows"].default:
                del known[split]["windows"]
        known["preset"] = preset(self.model).model_dump(mode="json", exclude_defaults=True)
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, order=True)
class Cell:
    """One entry of a table.

    Attributes:
        corruption: name of the corruption preset.
        method: method.
        layers: budget in layers; None for methods without one.
        seed: seed of what the method trains itself.
    """

    corruption: str
    method: Method
    layers: int | None
    seed: int

    @property
    def name(self) -> str:
        """Unique name, that of its file without suffix."""
        budget = "" if self.layers is None else f"-L{self.layers:02d}"
        return f"{self.corruption}-{self.method}{budget}-s{self.seed}"


def plan(config: TablesConfig) -> list[Cell]:
    """Return all cells once, in the order of the grid.

    Raises:
        ConfigError: a budget is below the number of modalities or above the layers of the model.
    """
    model = preset(config.model)
    _check_budgets(set(config.universal), model.depths, {})
    for block in config.grid:
        unequal = set(block.methods) & set(UNEQUAL)
        if unequal and unequal != set(block.methods):
            raise ConfigError("methods", ", ".join(block.methods), "those of unequal costs in a block of their own")
        if unequal and not config.unequal:
            raise ConfigError.missing("unequal", "the cost of a layer of each modality, for methods of unequal costs")
        _check_budgets(set(block.budgets), model.depths, config.unequal if unequal else {})
    cells = (cell for block in config.grid for cell in _cells(block, model))
    return list(dict.fromkeys(cells))


def _check_budgets(budgets: set[int], depths: Mapping[Modality, int], prices: Mapping[Modality, int]) -> None:
    least = sum(prices.get(m, 1) for m in depths)
    most = sum(prices.get(m, 1) * depth for m, depth in depths.items())
    for budget in budgets:
        if not least <= budget <= most:
            raise ConfigError("budgets", budget, f"{least} to {most} layers")


def only(cells: Sequence[Cell], wanted: Sequence[str]) -> list[Cell]:
    """Return the cells whose name contains one of the texts, or all if there are no texts.

    Raises:
        ConfigError: no name contains one of the texts.
    """
    for text in wanted:
        if not any(text in c.name for c in cells):
            raise ConfigError("only", text, f"a part of a cell's name, such as {cells[0].name}")
    return [c for c in cells if not wanted or any(text in c.name for text in wanted)]


def possible(method: Method, layers: int | None, model: ModelConfig) -> bool:
    """Return whether a method can run within a budget.

    Fusion-level DynMM always runs a part of its main modality, and a single modality must be one of the model.
    """
    if method in ALONE:
        return ALONE[method] in model.modalities
    least = main_exits(max(model.depths.values()))[0]
    return layers is None or not method.startswith("dynmm_fusion") or layers >= least


def _cells(block: GridBlock, model: ModelConfig) -> Iterator[Cell]:
    for corruption in block.corruptions:
        for seed in block.seeds:
            for method in block.methods:
                if method in ONE_SEED and seed != block.seeds[0]:
                    continue
                budgets = (None,) if method in WITHOUT_BUDGET else block.budgets
                yield from (Cell(corruption, method, b, seed) for b in budgets if possible(method, b, model))
