# SPDX-License-Identifier: Apache-2.0
"""A stage from its training file to a model folder: what `admn train` runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from admn_ros.config import ModelConfig, dump_config, load_config, parse_config
from admn_ros.errors import ConfigError, InputError
from admn_ros.model.checkpoint import initialize, load_model, save_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.presets import preset
from admn_ros.training.autoencoder import Autoencoder
from admn_ros.training.config import StageName, TrainConfig
from admn_ros.training.controller import Controller
from admn_ros.training.finetune import Finetune
from admn_ros.training.loop import Progress, fit
from admn_ros.training.run_folder import Row
from admn_ros.training.sources import open_samples
from admn_ros.training.stage import Stage

MODEL, FILE, DRY = "model", "train.yaml", "dry-run"


def main(file: str | Path, stage: StageName, output: str | Path, *, model: str | Path | None = None,
         data: str | Path | None = None, budget: int | None = None, seed: int | None = None, device: str = "auto",
         resume: bool = False, dry_run: bool = False, progress: Progress | None = None) -> Path:
    """Run one stage of a training file.

    Args:
        file: training file (`config/train/*.yaml`).
        stage: finetune, autoencoder or controller.
        output: folder of the run: checkpoint, metrics.csv, metrics.jsonl, train.yaml, and at the end model/.
        model: folder to begin from; None begins finetuning from the file's preset with random weights.
            The autoencoder and the controller begin from an earlier stage's.
        data: folder of the dataset, in place of the file's.
        budget: layers, in place of the controller's budgets.
        seed: in place of the file's.
        device: "auto" takes a GPU if there is one.
        resume: go on with the run in `output`, or begin it.
        dry_run: two batches of one epoch, in `output`/dry-run, to see that everything fits.
        progress: called after every step and epoch.

    Returns:
        The model folder.

    Raises:
        ConfigError: the file is malformed, does not describe the stage, or does not fit model or checkpoint.
        InputError: dataset or output cannot be used.
        ModelError: the model folder cannot be used.
        AdmnError: a loss is not finite.
    """
    config = _override(load_config(TrainConfig, file), file, stage, data, budget, seed)
    optimizer = config.optimizer(stage)
    folder = Path(output) / DRY if dry_run else Path(output)
    if dry_run and folder.is_dir():
        shutil.rmtree(folder)
    network = _network(config, stage, model, optimizer.seed)
    # Read before anything is trained: a dataset that cannot be read is said first.
    train, validation = open_samples(config.data, network.config, optimizer.seed)
    work = make_stage(stage, network, config)
    rows = fit(work, train, validation, optimizer, folder, identity=_identity(config, stage, network), resume=resume,
               device=_device(device), dry_run=dry_run, progress=progress)
    return _save(network, stage, config, rows, folder, trained=not dry_run)


def make_stage(stage: StageName, network: AdmnNetwork, config: TrainConfig) -> Stage:
    """Set up a stage on a network, in place.

    Raises:
        ConfigError: the file does not describe the stage, or it does not fit the network.
    """
    config.optimizer(stage)
    if stage == "finetune" and config.finetune is not None:
        return Finetune(network, config.finetune)
    if stage == "autoencoder" and config.autoencoder is not None:
        return Autoencoder(network, config.autoencoder)
    if stage == "controller" and config.controller is not None:
        return Controller(network, config.controller)
    raise ConfigError("stage", stage, "finetune, autoencoder, controller")


def _override(config: TrainConfig, place: str | Path, stage: StageName, data: str | Path | None, budget: int | None,
              seed: int | None) -> TrainConfig:
    """The file with what the run says in place; checked like a file."""
    raw = config.model_dump(mode="json")
    if data is not None:
        raw["data"]["folder"] = str(data)
    config.optimizer(stage)  # says which stages there are
    if seed is not None:
        raw[stage]["optimizer"]["seed"] = seed
    if budget is not None:
        if stage != "controller":
            raise ConfigError("budget", budget, "none, but for the controller")
        raw[stage]["budgets"] = [budget]
    return parse_config(TrainConfig, raw, str(place))


def _network(config: TrainConfig, stage: StageName, model: str | Path | None, seed: int) -> AdmnNetwork:
    if model is not None:
        return load_model(model)
    if stage != "finetune":
        raise ConfigError("model", "nothing", f"a model folder of an earlier stage, for {stage}")
    if config.model is None:
        raise ConfigError("model", "nothing", "a model folder, or a preset in the training file")
    network = AdmnNetwork(preset(config.model).model_copy(update={"seed": seed}))
    initialize(network, seed)
    return network.eval()


def _identity(config: TrainConfig, stage: StageName, network: AdmnNetwork) -> dict[str, Any]:
    """What a resumed run must share: the stage, the data but for where they are, and the model."""
    dumped = config.model_dump(mode="json")
    data = {key: value for key, value in dumped["data"].items() if key not in ("folder", "cache_mb", "workers")}
    return {stage: dumped[stage], "data": data, "model": network.config.model_dump(mode="json")}


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device", name, "cpu; there is no GPU that torch can use")
    return torch.device(name)


def _save(network: AdmnNetwork, stage: StageName, config: TrainConfig, rows: list[Row], folder: Path, *,
          trained: bool) -> Path:
    """Write the model folder, with what it was trained on in its card."""
    dump_config(config, folder / FILE)
    # Estimates mean something after finetuning; the other stages leave that as it was.
    now = network.config.trained or (trained and stage == "finetune")
    network.config = ModelConfig.model_validate(network.config.model_copy(update={"trained": now}))
    save_model(network, folder / MODEL, _card(network.config, stage, config, rows))
    return folder / MODEL


def _card(model: ModelConfig, stage: StageName, config: TrainConfig, rows: list[Row]) -> str:
    last = rows[-1] if rows else {}
    state = "Trained weights." if model.trained else "**UNTRAINED: estimates of this model are meaningless.**"
    figures = [f"| {name} | {value:.6g} |" for name, value in last.items()]
    return "\n".join([
        f"# {model.name}", "", state, "",
        f"Stage {stage}, {last.get('epoch', 0)} epochs, seed {config.optimizer(stage).seed}, "
        f"data {config.data.folder} ({config.data.source}, corruption {config.data.corruption}).",
        f"The training file is `../{FILE}`. Figures of the last epoch:", "",
        "| figure | value |", "|---|---|", *figures, ""])
