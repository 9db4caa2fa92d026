# SPDX-License-Identifier: Apache-2.0
"""A stage from its training file to a model folder: what `admn train` runs."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from admn_ros.config import ModelConfig, dump_config
from admn_ros.errors import ConfigError, InputError
from admn_ros.model.checkpoint import initialize, load_model, save_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.official.legacy_network import LegacyNetwork
from admn_ros.model.presets import preset
from admn_ros.training.config import StageName, TrainConfig
from admn_ros.training.data import Samples
from admn_ros.training.loop import Progress, fit
from admn_ros.training.model_selection import kept_epoch
from admn_ros.training.processes import joined
from admn_ros.training.run_folder import Row
from admn_ros.training.settings import read_settings
from admn_ros.training.sources import open_samples
from admn_ros.training.stage import Stage
from admn_ros.training.stages.autoencoder import Autoencoder
from admn_ros.training.stages.controller import Controller
from admn_ros.training.stages.finetune import Finetune
from admn_ros.training.stages.pretrain import Pretrain
from admn_ros.training.stages.pretrain_data import open_pretrain_samples

MODEL, FILE, DRY = "model", "train.yaml", "dry-run"


def main(file: str | Path, stage: StageName, output: str | Path, *, model: str | Path | None = None,
         data: str | Path | None = None, budget: int | None = None, seed: int | None = None,
         precision: str | None = None, settings: Sequence[str] = (), device: str = "auto", resume: bool = False,
         dry_run: bool = False, progress: Progress | None = None) -> Path:
    """Run one stage of a training file. Under `torchrun` all its processes train together.

    Args:
        file: training file (`config/train/*.yaml`).
        stage: pretrain, finetune, autoencoder or controller.
        output: folder of the run: checkpoint, metrics.csv, metrics.jsonl, tensorboard/, train.yaml, and at the
            end model/. Pre-training adds mae-<modality>.safetensors.
        model: folder to begin from; None begins pre-training or finetuning from the file's preset with random weights.
            The autoencoder and the controller begin from an earlier stage's.
        data, budget, seed, precision, settings: in place of the file's (`admn_ros.training.settings`).
        device: "auto" takes a GPU if there is one.
        resume: go on with the run in `output`, or begin it.
        dry_run: two batches of one epoch, in `output`/dry-run, to see that everything fits.
        progress: called after every step and epoch, in the first process.

    Returns:
        The model folder.

    Raises:
        ConfigError: the file is malformed, does not describe the stage, or does not fit model or checkpoint.
        InputError: dataset or output cannot be used.
        ModelError: the model folder cannot be used.
        AdmnError: a loss is not finite.
    """
    config = read_settings(file, stage, settings, data=data, budget=budget, seed=seed, precision=precision)
    optimizer = config.optimizer(stage)
    folder = Path(output) / DRY if dry_run else Path(output)
    with joined(device) as processes:
        network = _network(config, stage, model, optimizer.seed)
        # Read before anything is trained: a dataset that cannot be read is said first.
        train, validation = _samples(config, stage, network.config, optimizer.seed)
        work = make_stage(stage, network, config)
        if dry_run and processes.leads and folder.is_dir():
            shutil.rmtree(folder)
        rows = fit(work, train, validation, optimizer, folder, identity=_identity(config, stage, network),
                   resume=resume, processes=processes, dry_run=dry_run, progress=progress)
        if isinstance(work, Pretrain):
            processes.lead(functools.partial(work.finish, folder))
        return processes.lead(functools.partial(_save, network, stage, config, rows, folder, trained=not dry_run))


def make_stage(stage: StageName, network: AdmnNetwork, config: TrainConfig) -> Stage:
    """Set up a stage on a network, in place.

    Raises:
        ConfigError: the file does not describe the stage, or it does not fit the network.
    """
    config.optimizer(stage)
    if stage == "pretrain" and config.pretrain is not None:
        return Pretrain(network, config.pretrain)
    if stage == "finetune" and config.finetune is not None:
        return Finetune(network, config.finetune)
    if stage == "autoencoder" and config.autoencoder is not None:
        return Autoencoder(network, config.autoencoder)
    if stage == "controller" and config.controller is not None:
        return Controller(network, config.controller)
    raise ConfigError("stage", stage, "pretrain, finetune, autoencoder, controller")


def _samples(config: TrainConfig, stage: StageName, model: ModelConfig, seed: int) -> tuple[Samples, Samples]:
    if stage == "pretrain" and config.pretrain is not None:
        return open_pretrain_samples(config.data, model, config.pretrain, seed)
    return open_samples(config.data, model, seed)


def _network(config: TrainConfig, stage: StageName, model: str | Path | None, seed: int) -> AdmnNetwork:
    if model is not None:
        network = load_model(model)
        if isinstance(network, LegacyNetwork):
            raise ConfigError("model", f"{model}, of the official {network.legacy.layout} release",
                              "a model of ours; an imported one runs, but its heads have no training here")
        return network
    if stage not in ("pretrain", "finetune"):
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


def _save(network: AdmnNetwork, stage: StageName, config: TrainConfig, rows: list[Row], folder: Path, *,
          trained: bool) -> Path:
    """Write the model folder, with what it was trained on in its card."""
    try:
        dump_config(config, folder / FILE)
    except OSError as error:
        raise InputError(str(folder / FILE), error.strerror or "unwritable", "a writable folder with space") from error
    # Estimates mean something after finetuning; the other stages leave that as it was.
    now = network.config.trained or (trained and stage == "finetune")
    judged = now and _judges(stage, config, network.config.qoi_trained)
    network.config = network.config.model_copy(update={"trained": now, "qoi_trained": judged})
    save_model(network, folder / MODEL, _card(network.config, stage, config, rows))
    return folder / MODEL


def _judges(stage: StageName, config: TrainConfig, before: bool) -> bool:
    """Whether the QoI of a network is trained after a stage."""
    mode = config.controller.mode if stage == "controller" and config.controller is not None else None
    if mode in ("supervised", "universal"):
        return True
    # These two change what the corruption output reads, and not the output.
    return before and stage != "autoencoder" and mode != "task"


def _card(model: ModelConfig, stage: StageName, config: TrainConfig, rows: list[Row]) -> str:
    optimizer = config.optimizer(stage)
    epoch = kept_epoch(optimizer, rows)
    state = "Trained weights." if model.trained else "**UNTRAINED: estimates of this model are meaningless.**"
    which = f"the best of {optimizer.best_of}" if optimizer.keep == "best" else "the last"
    figures = [f"| {name} | {value:.6g} |" for name, value in (rows[epoch - 1] if rows else {}).items()]
    return "\n".join([
        f"# {model.name}", "", state, "",
        f"Stage {stage}, {len(rows)} epochs, seed {optimizer.seed}, "
        f"data {config.data.folder} ({config.data.source}, corruption {config.data.corruption}).",
        f"The training file is `../{FILE}`. The weights are those of epoch {epoch}, {which}. Its figures:", "",
        "| figure | value |", "|---|---|", *figures, ""])
