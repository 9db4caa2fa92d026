# SPDX-License-Identifier: Apache-2.0
"""Training files of the paper: every number, and where it is published."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from admn_ros.config import load_config
from admn_ros.model.presets import preset
from admn_ros.training.settings import TrainConfig

FOLDER = Path(__file__).resolve().parents[2] / "config" / "train"
T13, TABLE_10, A1, A3 = "Table 13", "Table 10", "Section A.1", "Section A.3"
WEIGHTS, GUMBEL = "Section 3.4.2", "Section 3.4.3"
Numbers = dict[str, tuple[Any, str]]


def finetune(epochs: int, rate: float, batch: int, drop: float, blocks: dict[str, int], table: str,
             classes: bool = False) -> Numbers:
    """Stage 1: Table 13, and what only the official code says."""
    task = (0.0, 0.0, 1.0) if classes else (1.0, 0.05, 0.0)
    unused = "classification only" if classes else "train.py"
    return {
        "optimizer.learning_rate": (rate, T13), "optimizer.batch": (batch, "train.py"),
        "optimizer.epochs": (epochs, T13), "optimizer.seed": (100, TABLE_10),
        "loss.nll": (task[0], unused), "loss.distance_per_cm": (task[1], unused),
        "loss.classification": (task[2], "train.py" if classes else "localization only"), "layerdrop": (drop, T13),
        "ramp_epochs": (0, "Section 3.3.2"), "full_backbone_dropout": (0.1, T13),
        "modality_dropout": (0.0, "no other absence"),
        **{f"trainable_blocks.{m}": (count, "_Model.py") for m, count in blocks.items()},
        "budgets": ([6, 8, 12, 16], table)}


def autoencoder(batch: int, final: float) -> Numbers:
    """The paper says nothing about it; the official code does."""
    return {"optimizer.learning_rate": (1e-3, "train_AE.py"), "optimizer.final": (final, "train_AE.py"),
            "optimizer.batch": (batch, "train_AE.py"), "optimizer.epochs": (100, "neurips_train_ae_controller.sh"),
            "optimizer.seed": (100, TABLE_10)}


def controller(epochs: int, batch: int, loss: tuple[float, float, float], table: str, supervision: Numbers,
               budgets: Sequence[int] = (8,)) -> Numbers:
    """Stage 2: Section A.1, and loss weights of the official code."""
    nll, distance, classes = ("classification only", "classification only", "train.py") if loss[2] else (
        "train_controller.py", "train_controller.py", "localization only")
    return {
        "optimizer.learning_rate": (1e-3, A1), "optimizer.final": (0.01, "train_controller.py"),
        "optimizer.batch": (batch, "train_controller.py"), "optimizer.epochs": (epochs, A1),
        "optimizer.seed": (100, TABLE_10), "loss.nll": (loss[0], nll), "loss.distance_per_cm": (loss[1], distance),
        "loss.classification": (loss[2], classes), "budgets": (list(budgets), table), **supervision,
        "corruption_epochs": (1, A1), "tau": (1.0, GUMBEL)}


def weights(source: str, **found: float) -> Numbers:
    return {f"corruption_weight.{m}": (value, source) for m, value in found.items()}


def levels(**found: list[float]) -> Numbers:
    return {f"corruption_levels.{m}": (value, A3) for m, value in found.items()}


def stages(data: Numbers, **parts: Numbers) -> Numbers:
    found = {f"data.{key}": value for key, value in {**data, "workers": (8, "no influence")}.items()}
    return found | {f"{stage}.{key}": value for stage, part in parts.items() for key, value in part.items()}


GDTM_BLOCKS, CODE, RAW = {"rgb": 1, "depth": 2}, "train_controller.py", "an error of sigma"
FILES: dict[str, Numbers] = {
    "gdtm_gaussian": stages(
        {"repeats": (1, A3), "clean_epochs": (5, "train.py")},
        finetune=finetune(400, 5e-4, 32, 0.2, GDTM_BLOCKS, "Table 1"), autoencoder=autoencoder(32, 0.001),
        controller=controller(10, 32, (1.0, 0.05, 0.0), "Table 1", weights(RAW, rgb=1 * 3.0, depth=20 * 0.75))),
    "gdtm_lowlight": stages(
        {"repeats": (3, A3), "clean_epochs": (0, "train.py")},
        finetune=finetune(100, 5e-4, 32, 0.2, GDTM_BLOCKS, "Table 1"), autoencoder=autoencoder(32, 0.001),
        controller=controller(10, 32, (0.0, 1.0, 0.0), "Table 1",
                              levels(rgb=[0.0, 0.35, 1.0], depth=[0.0, 1.0]) | weights(WEIGHTS, rgb=1.0, depth=1.0))),
    "gdtm_blur": stages(
        {"repeats": (3, A3), "clean_epochs": (0, "train.py")},
        finetune=finetune(200, 5e-4, 32, 0.2, GDTM_BLOCKS, "Table 1"), autoencoder=autoencoder(32, 0.001),
        controller=controller(10, 32, (0.0, 0.05, 0.0), "Table 1",
                              levels(rgb=[0.0, 0.25, 1.0], depth=[0.0, 1.0]) | weights(WEIGHTS, rgb=1.0, depth=1.0))),
    "gdtm_universal": stages(
        {"repeats": (1, A3), "clean_epochs": (5, "train.py")},
        finetune=finetune(400, 5e-4, 32, 0.2, GDTM_BLOCKS, "Table 1"), autoencoder=autoencoder(32, 0.001),
        controller=controller(10, 32, (1.0, 0.05, 0.0), A1, weights(RAW, rgb=1 * 3.0, depth=20 * 0.75),
                              (6, 8, 12, 16))),
    "gdtm_three": stages(
        {"repeats": (1, "Section 4.3"), "clean_epochs": (5, "train.py")},
        finetune=finetune(400, 5e-4, 32, 0.2, {**GDTM_BLOCKS, "radar": 1}, "train_all.sh"),
        controller=controller(10, 32, (1.0, 0.05, 0.0), "Figure 7 does not say",
                              weights(RAW, rgb=1 * 3.0, depth=10 * 0.75, radar=10 * 0.8), (6,))),
    "mmfi_gaussian": stages(
        {"repeats": (1, A3), "clean_epochs": (5, "train.py")},
        finetune=finetune(400, 1e-4, 8, 0.2, {"rgb": 1, "depth": 1}, "Table 2", classes=True)
        | {"optimizer.final": (0.001, "train.py")}, autoencoder=autoencoder(8, 0.01),
        controller=controller(15, 8, (0.0, 0.0, 1.0), "Table 2", weights(RAW, rgb=1 * 2.0, depth=3 * 4.0))),
    "ave_rain": stages(
        {"repeats": (1, "train.py"), "clean_epochs": (0, "train.py")},
        finetune=finetune(200, 5e-4, 8, 0.4, {"rgb": 1, "audio": 1}, "Table 3", classes=True),
        autoencoder=autoencoder(32, 0.01),
        controller=controller(15, 8, (0.0, 0.0, 1.0), "Table 3",
                              levels(rgb=[0.0, 1.0], audio=[0.0, 1.0]) | weights(CODE, rgb=0.2, audio=0.2))),
}
"""Value and source of every number of every file."""
CHOICES = {
    "keep_first_layer: false": "Section 3.3.1", "selection: gumbel": GUMBEL, "variant: paper": "Section",
    "variant: code": "in stage 1 also clean", "windows: random": "PickleDataset.py",
    "schedule: constant": T13, "schedule: linear": f"{T13}|{A1}|train_AE.py", "corruption: categories": WEIGHTS}
"""Choices that are no numbers, and what their comment names."""


def entries(text: str) -> dict[str, tuple[str, str]]:
    """Return value and comment of each line of a file in block style, by its path."""
    found, place = {}, [""]
    for line in text.splitlines():
        match = re.fullmatch(r"( *)(\w+):(?: +([^#]*?))?(?: +# (.*))?", line)
        if match is None:
            assert line.startswith("#"), line
            continue
        indent, key, value, comment = match.groups()
        place = [*place[:len(indent) // 2], key]
        if value:
            found[".".join(place)] = value, comment or ""
    return found


@pytest.mark.parametrize("name", FILES)
def test_every_number_is_published_and_says_where(name: str) -> None:
    lines = entries((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    numbers = {path: (yaml.safe_load(value), comment) for path, (value, comment) in lines.items()
               if isinstance(yaml.safe_load(value), int | float | list) and value not in ("true", "false")}
    assert numbers.keys() == FILES[name].keys()
    for path, (value, comment) in numbers.items():
        expected, source = FILES[name][path]
        assert value == (pytest.approx(expected) if isinstance(expected, float) else expected), path
        assert source in comment, f"{path}: {comment}"


@pytest.mark.parametrize("name", FILES)
def test_choices_say_where_they_are_published(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    for path, (value, comment) in entries(text).items():
        choice = f"{path.rpartition('.')[2]}: {value}"
        if choice in CHOICES:
            assert re.search(CHOICES[choice], comment), f"{name}: {path}: {comment}"
    config = load_config(TrainConfig, FOLDER / f"{name}.yaml")
    assert config.finetune is not None and not config.finetune.keep_first_layer
    assert (config.data.windows == "random") == (config.model == "mmfi")
    assert (config.data.variant == "code") == (config.model == "ave")
    assert config.controller is not None and config.controller.variant == "paper"
    assert config.model is not None
    learned = preset(config.model).qoi.token_budgets
    assert learned == (config.controller.budgets if config.controller.mode == "universal" else ())


@pytest.mark.parametrize(("name", "dim"), [("gdtm", 256), ("gdtm-universal", 256), ("gdtm-3", 256), ("mmfi", 64),
                                           ("ave", 256)])
def test_fusion_is_that_of_table_13(name: str, dim: int) -> None:
    fusion = preset(name).fusion
    assert (fusion.depth, fusion.dim, fusion.heads) == (6, dim, 4)
