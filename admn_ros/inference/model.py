# SPDX-License-Identifier: Apache-2.0
"""A trained model as one object: a frame and a budget in, an estimate out."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

from admn_ros.budget.budget import Budget
from admn_ros.config import ModelConfig, load_config
from admn_ros.inference.engine import Engine, Estimate
from admn_ros.inference.runtime import TORCH, RuntimeChoice
from admn_ros.model.checkpoint import CONFIG, create_random_model
from admn_ros.model.presets import preset
from admn_ros.sample import SensorFrame
from admn_ros.sensing.preprocess.preprocessor import Preprocessor
from admn_ros.share import find_shipped

EVERYTHING = Budget(math.inf, "layers", "default")


class Model:
    """A model folder with its preprocessing, ready to run frames.

    Attributes:
        engine: network and cost tables.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._preprocess = Preprocessor(engine.config)

    @property
    def config(self) -> ModelConfig:
        """Description of the model: modalities, sensor nodes, classes, frame."""
        return self.engine.config

    def infer(self, frame: SensorFrame, budget: Budget = EVERYTHING, frame_rate_hz: float | None = None) -> Estimate:
        """Estimate position and class from one frame within a budget.

        Args:
            frame: decoded readings; see `SensorFrame.of` to make one from arrays.
            budget: upper bound of what the frame may spend. The default has no bound.
            frame_rate_hz: frames per second, required for a budget in watts.

        Raises:
            InputError: a reading does not fit its modality, or the model has no costs in the unit of the budget.
            AdmnError: the network's output is not finite.
        """
        return self.engine.infer(self._preprocess(frame), budget, frame_rate_hz)


def load_model(name: str | Path, device: str = "auto", threads: int = 0, choice: RuntimeChoice = TORCH) -> Model:
    """Load a model with its preprocessing; see `load_engine`."""
    return Model(load_engine(name, device, threads, choice))


def load_engine(name: str | Path, device: str = "auto", threads: int = 0, choice: RuntimeChoice = TORCH) -> Engine:
    """Load a model folder, a shipped model by its name, or a preset with random weights.

    Args:
        name: path of a model folder, name of a folder in the shipped `models/` (`gdtm`), or `untrained:PRESET`
            (`untrained:gdtm-tiny`).
        device: `auto` (a GPU if there is one), `cpu` or `cuda`.
        threads: CPU threads of the network; 0 is half the cores, at most four.
        choice: what computes the network.

    Raises:
        ModelError: the folder is missing, incomplete or broken, or lacks the graphs of ONNX Runtime.
        ConfigError: `config.yaml` or `costs.yaml` is malformed, there is no such preset, or a package is missing.
    """
    preset_name = _preset_name(name)
    if preset_name is None:
        return Engine(find_shipped(name, "models"), device, threads, choice)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / preset_name
        create_random_model(preset(preset_name), folder, seed=0)
        return Engine(folder, device, threads, choice)


def load_model_config(name: str | Path) -> ModelConfig:
    """Return the description of a model without loading its weights; see `load_engine` for the names.

    Raises:
        ConfigError: `config.yaml` is missing or malformed, or there is no such preset.
    """
    preset_name = _preset_name(name)
    if preset_name is not None:
        return preset(preset_name)
    return load_config(ModelConfig, find_shipped(name, "models") / CONFIG)


def _preset_name(name: str | Path) -> str | None:
    """Return the preset of `untrained:PRESET`; None for a model folder."""
    kind, _, preset_name = str(name).partition(":")
    return preset_name if kind == "untrained" else None
