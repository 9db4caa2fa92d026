# SPDX-License-Identifier: Apache-2.0
"""A training file with what a run says in place of some of its values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from admn_ros.config import load_config, parse_config
from admn_ros.errors import ConfigError
from admn_ros.training.config import StageName, TrainConfig


def read_settings(file: str | Path, stage: StageName, settings: Sequence[str] = (), *, data: str | Path | None = None,
                  budget: int | None = None, seed: int | None = None, precision: str | None = None) -> TrainConfig:
    """Read a training file and put values in place, checked as if the file had them.

    Args:
        file: training file.
        stage: that will run.
        settings: `key.path=value` each, the value as in YAML; a later one goes before an earlier one.
        data: in place of `data.folder`.
        budget: in place of the controller's `budgets`.
        seed: in place of the stage's `optimizer.seed`.
        precision: in place of the stage's `optimizer.precision`.

    Raises:
        ConfigError: the file is malformed or does not describe the stage, or a setting does not fit.
    """
    config = load_config(TrainConfig, file)
    config.optimizer(stage)  # says which stages there are
    raw = config.model_dump(mode="json")
    if data is not None:
        raw["data"]["folder"] = str(data)
    if seed is not None:
        raw[stage]["optimizer"]["seed"] = seed
    if precision is not None:
        raw[stage]["optimizer"]["precision"] = precision
    if budget is not None:
        if stage != "controller":
            raise ConfigError("budget", budget, "none, but for the controller")
        raw[stage]["budgets"] = [budget]
    for setting in settings:
        _put(raw, setting)
    return parse_config(TrainConfig, raw, str(file))


def _put(raw: dict[str, Any], setting: str) -> None:
    """Put one `key.path=value` into nested mappings; those on the way are made."""
    path, equals, value = setting.partition("=")
    *way, last = path.split(".")
    if not equals or not last:
        raise ConfigError("set", setting, "key.path=value, such as finetune.optimizer.epochs=5")
    place = raw
    for key in way:
        if place.get(key) is None:
            place[key] = {}
        place = place[key]
        if not isinstance(place, dict):
            raise ConfigError("set", setting, f"a path through mappings; {key} is none")
    place[last] = _value(value, setting)


def _value(text: str, setting: str) -> object:
    try:
        return json.loads(text)  # it knows 1e-3 as a number, YAML does not
    except ValueError:
        pass
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError("set", setting, "a value in YAML") from error
