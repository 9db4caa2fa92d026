# SPDX-License-Identifier: Apache-2.0
"""A training stage, from its training file to a model folder: the implementation of `admn train`."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from admn_ros.config import ModelConfig, dump_config
from admn_ros.errors import ConfigError
from admn_ros.files import write_errors
from admn_ros.model.checkpoint import initialize, load_model, save_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.official.legacy_network import LegacyNetwork
from admn_ros.model.presets import preset, stretched
from admn_ros.training.first_layers import keep_first_layers
from admn_ros.training.loop import RATE, ProgressCallback, fit
from admn_ros.training.model_selection import kept_epoch
from admn_ros.training.processes import joined
from admn_ros.training.run_folder import Row
from admn_ros.training.seeding import CONTROLLER, derive
from admn_ros.training.settings import TrainConfig, read_settings
from admn_ros.training.stage import Stage
from admn_ros.training.stages.controller import ControllerConfig

MODEL, FILE, DRY = "model", "train.yaml", "dry-run"
FOR_IMPORTED = ("autoencoder", "controller")
"""Stages that train on an imported official network: they train a controller of this package for it."""


def train(file: str | Path, stage: str, output: str | Path, *, model: str | Path | None = None,
          data: str | Path | None = None, budget: int | None = None, seed: int | None = None,
          precision: str | None = None, settings: Sequence[str] = (), device: str = "auto", resume: bool = False,
          dry_run: bool = False, on_progress: ProgressCallback | None = None) -> Path:
    """Run one stage of a training file. Under `torchrun` all its processes train together.

    Args:
        file: training file (`config/train/*.yaml`).
        stage: key of `admn_ros.training.settings.STAGES`.
        output: folder of the run: checkpoint, metrics.csv, metrics.jsonl, tensorboard/, train.yaml, and at the
            end model/. Pretraining adds mae-<modality>.safetensors.
        model: model folder to start from. None: pretraining or finetuning starts from the file's preset with random
            weights. The autoencoder and the controller require the model folder of an earlier stage.
        data: override of `data.folder`.
        budget: override of the controller's `budgets`, in layers.
        seed: override of the stage's `optimizer.seed`.
        precision: override of the stage's `optimizer.precision`.
        settings: overrides of the form `key.path=value`, see `admn_ros.training.settings`.
        device: "cpu", "cuda", or "auto", which takes a GPU if there is one.
        resume: continue the run in `output`, or start it.
        dry_run: run two batches of one epoch in `output`/dry-run, to check that everything fits.
        on_progress: called after every step and epoch, in the first process.

    Returns:
        The model folder.

    Raises:
        ConfigError: the file is malformed, does not describe the stage, or does not fit model or checkpoint.
        InputError: dataset or output cannot be used.
        ModelError: the model folder cannot be used.
        AdmnError: a loss is not finite.
    """
    config = read_settings(file, stage, settings, data=data, budget=budget, seed=seed, precision=precision)
    part = config.stage(stage)
    folder = Path(output) / DRY if dry_run else Path(output)
    with joined(device) as processes:
        network = _network(config, stage, model)
        # Opened before the stage is made: an unreadable dataset is reported before any work.
        samples, validation = part.open_samples(config.data, network.config)
        work = part.make(network)
        if dry_run and processes.leads and folder.is_dir():
            shutil.rmtree(folder)
        rows = fit(work, samples, validation, part.optimizer, folder, identity=_identity(config, stage, network),
                   resume=resume, processes=processes, dry_run=dry_run, on_progress=on_progress)
        processes.lead(functools.partial(work.finish, folder))
        return processes.lead(functools.partial(_save, network, work, config, rows, folder, trained=not dry_run))


def _network(config: TrainConfig, stage: str, model: str | Path | None) -> AdmnNetwork:
    part = config.stage(stage)
    if model is not None:
        network = load_model(model)
        if config.preprocessing == "official" and network.config != stretched(network.config):
            raise ConfigError("preprocessing", config.preprocessing,
                              f"null: the inputs of {model} were trained with a fixed scale")
        if isinstance(network, LegacyNetwork):
            return _imported(network, config, stage, str(model))
        return keep_first_layers(network, config.depths, part.optimizer.seed)
    if not part.from_preset:
        raise ConfigError.missing("model", f"the model folder of an earlier stage than {stage}")
    if config.model is None:
        raise ConfigError.missing("model", "a model folder, or a preset in the training file")
    seed, described = part.optimizer.seed, preset(config.model, config.depths)
    if config.preprocessing == "official":
        described = stretched(described)
    network = AdmnNetwork(described.model_copy(update={"seed": seed}))
    initialize(network, seed)
    return network.eval()


def _imported(network: LegacyNetwork, config: TrainConfig, stage: str, model: str) -> AdmnNetwork:
    """Prepare an imported network for the training of a controller of this package, in place."""
    part, found = config.stage(stage), f"{model}, imported from the official {network.legacy.layout} release"
    if stage not in FOR_IMPORTED:
        raise ConfigError("model", found, f"a model with heads of this package; stage {stage} cannot train those of "
                          f"the release, {' and '.join(FOR_IMPORTED)} can train a controller for them")
    if config.depths:
        raise ConfigError.conflict("depths", found, "it keeps its layers")
    fresh = isinstance(part, ControllerConfig) and part.fresh
    if network.legacy.controller and not network.legacy.own and not fresh:
        raise ConfigError("model", f"{found}, with its controller",
                          "an import of Stage 1, or controller.fresh: true to replace the official controller")
    if not network.legacy.own:
        network.use_own_controller()
        initialize(network.qoi, derive(part.optimizer.seed, CONTROLLER))
    return network.eval()


def _identity(config: TrainConfig, stage: str, network: AdmnNetwork) -> dict[str, Any]:
    """Return what a resumed run must share: the stage, the data except their location, and the model."""
    dumped = config.model_dump(mode="json")
    data = {key: value for key, value in dumped["data"].items() if key not in ("folder", "cache_mb", "workers")}
    return {stage: dumped[stage], "data": data, "model": network.config.model_dump(mode="json")}


def _save(network: AdmnNetwork, stage: Stage, config: TrainConfig, rows: list[Row], folder: Path, *,
          trained: bool) -> Path:
    """Write the model folder, with a card that says how it was trained."""
    with write_errors(folder / FILE):
        dump_config(config, folder / FILE)
    now = network.config.trained or (trained and stage.trains_estimates)
    judged = now and stage.qoi_trained(network.config.qoi_trained)
    network.config = network.config.model_copy(update={"trained": now, "qoi_trained": judged})
    save_model(network, folder / MODEL, _card(network.config, stage.name, config, rows), half=config.half_weights)
    return folder / MODEL


def _card(model: ModelConfig, stage: str, config: TrainConfig, rows: list[Row]) -> str:
    optimizer = config.stage(stage).optimizer
    epoch = kept_epoch(optimizer, rows)
    state = "Trained weights." if model.trained else "**UNTRAINED: the estimates of this model are meaningless.**"
    which = f"the best by {optimizer.best_of}" if optimizer.keep == "best" else "the last"
    metrics = [f"| {name} | {value:.6g} |" for name, value in (rows[epoch - 1] if rows else {}).items() if name != RATE]
    return "\n".join([
        f"# {model.name}", "", state, "",
        f"Stage {stage}, {len(rows)} epochs, seed {optimizer.seed}, "
        f"data {config.data.folder} ({config.data.source}, corruption {config.data.corruption}).",
        f"The training file is `../{FILE}`. The weights are those of epoch {epoch}, {which}. Its metrics:", "",
        "| metric | value |", "|---|---|", *metrics, ""])
