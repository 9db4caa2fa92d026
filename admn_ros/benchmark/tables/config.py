# SPDX-License-Identifier: Apache-2.0
"""What the result tables are made of: a grid of methods, budgets, corruptions and seeds, and the effort for each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator

from admn_ros.config import Count, ModelConfig, NotNegative, Positive, Strict
from admn_ros.errors import ConfigError
from admn_ros.model.presets import PRESETS, preset
from admn_ros.sample import Modality
from admn_ros.sensing.corruption.presets import CORRUPTIONS
from admn_ros.training.config import LossConfig, Rate, Seed, Share, Whole

Method = Literal[
    "upper_bound", "naive", "rgb_only", "depth_only", "radar_only", "static", "scratch", "mns", "dynmm", "dynmm_strict",
    "dynmm_fusion", "dynmm_fusion_strict", "adamml", "admn", "admn_ae", "admn_task", "straight_through",
    "progressive", "universal", "neuralsort", "removal_layerdrop", "removal_plain"]
TITLES: Final[dict[Method, str]] = {
    "upper_bound": "Upper bound", "naive": "Naive allocation", "rgb_only": "RGB only", "depth_only": "Depth only",
    "radar_only": "Radar only", "static": "Best static allocation", "scratch": "Naive scratch", "mns": "MNS",
    "dynmm": "DynMM, modality level", "dynmm_strict": "DynMM, modality level, strict",
    "dynmm_fusion": "DynMM, fusion level", "dynmm_fusion_strict": "DynMM, fusion level, strict", "adamml": "AdaMML",
    "admn": "ADMN", "admn_ae": "ADMN_AE", "admn_task": "ADMN, task loss only",
    "straight_through": "ADMN, pure straight-through", "progressive": "ADMN, progressive top-L",
    "universal": "ADMN, universal controller", "neuralsort": "NeuralSort, universal controller",
    "removal_layerdrop": "Layers removed, trained with LayerDrop",
    "removal_plain": "Layers removed, trained without LayerDrop"}
ALONE: Final[dict[Method, Modality]] = {
    "rgb_only": Modality.RGB, "depth_only": Modality.DEPTH, "radar_only": Modality.RADAR}
WITHOUT_BUDGET: Final[frozenset[Method]] = frozenset({"upper_bound", "removal_layerdrop", "removal_plain"})
ONE_SEED: Final[frozenset[Method]] = frozenset({
    "upper_bound", "naive", "rgb_only", "depth_only", "radar_only", "static", "scratch", "removal_layerdrop",
    "removal_plain"})
"""They have no part of their own that is trained once per seed: the networks they run are those that all share."""


class SplitConfig(Strict):
    """Samples: at most so many of a split, evenly spread, under so many draws of the corruption.

    viewpoints: sensor nodes of the dataset that stand in turn for the model's only one; none: as they are named.
    """

    split: str
    samples: Count
    draws: Count = 1
    viewpoints: tuple[str, ...] = ()


class Effort(Strict):
    """Training of one part.

    epochs: of the run that counts. rates: learning rates to choose from. search_epochs: of the short runs, one for
        each rate (and price), that choose by the validation split. prices: of rivals that pay for compute.
    clean_epochs: first epochs without corruption; of a short run at most half of its own.
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
    """`Effort` of each kind of part; a gate trains with its networks but in MNS."""

    finetune: Effort
    expert: Effort
    autoencoder: Effort
    controller: Effort
    gate: Effort
    dynmm: Effort
    dynmm_fusion: Effort
    adamml: Effort


class Block(Strict):
    """A part of the grid: every method at every budget, for each corruption and seed."""

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
    def _budgets(self) -> Block:
        if not self.budgets and not set(self.methods) <= WITHOUT_BUDGET:
            raise ValueError("budgets must have at least one number of layers")
        return self


class TablesConfig(Strict):
    """`config/tables/*.yaml`.

    model: preset of `admn_ros.model.presets`.
    notes: what to know when reading the tables; printed above them.
    grid: blocks, in the order in which they are run.
    universal: budgets that universal controllers are trained for.
    seed: of data, of the networks that methods share, and of the searches.
    precision, batch, clip_norm, loss: of all trainings.
    layerdrop, full_backbone_dropout: of stage 1, as in `FinetuneConfig`.
    modality_dropout, solo: of stage 1 and of the rivals' networks, likewise.
    static_step: the best static allocation is searched among multiples of so many layers.
    random_epochs, hard_epochs: of DynMM's fusion level and of AdaMML, out of their effort's epochs.
    """

    model: str = "table"
    notes: str = ""
    train: SplitConfig
    validation: SplitConfig
    test: SplitConfig
    grid: Annotated[tuple[Block, ...], Field(min_length=1)]
    universal: Annotated[tuple[Count, ...], Field(min_length=1)]
    efforts: Efforts
    seed: Seed = 0
    batch: Count = 64
    precision: Literal["float32", "bfloat16"] = "float32"
    clip_norm: Positive = 5.0
    loss: LossConfig = LossConfig()
    layerdrop: Rate = 0.2
    modality_dropout: Rate = 0.1
    full_backbone_dropout: Share = 0.1
    solo: dict[Modality, Share] = Field(default={})
    ramp_epochs: Whole = 1
    static_step: Count = 2
    random_epochs: Whole = 1
    hard_epochs: Whole = 1

    @field_validator("model")
    @classmethod
    def _preset(cls, name: str) -> str:
        if name not in PRESETS:
            raise ValueError(f"must be one of {', '.join(PRESETS)}")
        return name

    @model_validator(mode="after")
    def _time_for_gates(self) -> TablesConfig:
        for name in ("dynmm_fusion", "adamml"):
            effort: Effort = getattr(self.efforts, name)
            if self.random_epochs + self.hard_epochs >= min(effort.epochs, effort.search_epochs):
                raise ValueError(f"efforts.{name}: epochs and search_epochs must be above random_epochs + hard_epochs")
        return self

    @property
    def fingerprint(self) -> str:
        """Hash of all that a result depends on: everything but grid and notes, and what the model's preset says."""
        known = self.model_dump(mode="json", exclude={"grid", "notes"})
        # What is left at its default does not count, so that a new option does not make old results void.
        known["preset"] = preset(self.model).model_dump(mode="json", exclude_defaults=True)
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, order=True)
class Cell:
    """One entry of a table. layers: the budget; None for methods without one."""

    corruption: str
    method: Method
    layers: int | None
    seed: int

    @property
    def name(self) -> str:
        """Of its file, without ending; unique."""
        budget = "" if self.layers is None else f"-L{self.layers:02d}"
        return f"{self.corruption}-{self.method}{budget}-s{self.seed}"


def plan(config: TablesConfig) -> list[Cell]:
    """All cells in the order of the grid: first seed before second, each once.

    Raises:
        ConfigError: a budget that the model cannot hold.
    """
    model = preset(config.model)
    least, most = len(model.modalities), model.layers_total
    for budget in {*config.universal, *(b for block in config.grid for b in block.budgets)}:
        if not least <= budget <= most:
            raise ConfigError("budgets", budget, f"{least} to {most} layers")
    cells = (cell for block in config.grid for cell in _cells(block, model))
    return list(dict.fromkeys(cells))


def only(cells: Sequence[Cell], wanted: Sequence[str]) -> list[Cell]:
    """Cells whose name contains one of the texts, or all if there are none.

    Raises:
        ConfigError: a text that no name contains.
    """
    for text in wanted:
        if not any(text in c.name for c in cells):
            raise ConfigError("only", text, f"a part of a cell's name, such as {cells[0].name}")
    return [c for c in cells if not wanted or any(text in c.name for text in wanted)]


def possible(method: Method, layers: int | None, model: ModelConfig) -> bool:
    """Whether a method can run within a budget.

    Fusion-level DynMM always runs its main modality's whole depth, and a modality alone must be the model's.
    """
    if method in ALONE:
        return ALONE[method] in model.modalities
    return layers is None or not method.startswith("dynmm_fusion") or layers >= max(model.depths.values())


def _cells(block: Block, model: ModelConfig) -> Iterator[Cell]:
    for corruption in block.corruptions:
        for seed in block.seeds:
            for method in block.methods:
                if method in ONE_SEED and seed != block.seeds[0]:
                    continue
                budgets = (None,) if method in WITHOUT_BUDGET else block.budgets
                yield from (Cell(corruption, method, b, seed) for b in budgets if possible(method, b, model))
