# SPDX-License-Identifier: Apache-2.0
"""Samples of pre-training: any dataset without its labels, augmented."""

from __future__ import annotations

from admn_ros.config import ModelConfig
from admn_ros.datasets.image_folder import NODE
from admn_ros.errors import ConfigError
from admn_ros.sample import Modality
from admn_ros.training.augmentation import AugmentedSamples
from admn_ros.training.config import DataConfig, PretrainConfig
from admn_ros.training.data import Samples
from admn_ros.training.seeding import VALIDATION, derive
from admn_ros.training.sources import cache_sizes, open_split

_SINGLE = {"image_folder": Modality.RGB, "audio_folder": Modality.AUDIO}


def pretrained_modalities(model: ModelConfig, config: PretrainConfig) -> tuple[Modality, ...]:
    """Modalities that a run trains.

    Raises:
        ConfigError: one that the model does not have, or one twice.
    """
    chosen = config.modalities or tuple(model.modalities)
    if not set(chosen) <= set(model.modalities) or len(set(chosen)) < len(chosen):
        raise ConfigError("pretrain.modalities", ", ".join(chosen), f"some of {', '.join(model.modalities)}, each once")
    return chosen


def open_pretrain_samples(data: DataConfig, model: ModelConfig, config: PretrainConfig,
                          seed: int) -> tuple[Samples, Samples]:
    """Training samples, augmented, and validation samples as they are, of the modalities that are trained alone.

    The single files of a folder are samples of one sensor node.

    Raises:
        ConfigError: no folder is named, or the source does not have what is trained.
        InputError: a dataset cannot be read, or is empty.
    """
    chosen = pretrained_modalities(model, config)
    if data.corruption is not None:
        raise ConfigError("data.corruption", data.corruption, "null: pre-training takes the samples as they are")
    nodes = model.sensor_nodes
    if data.source in _SINGLE:
        if chosen != (_SINGLE[data.source],):
            raise ConfigError("pretrain.modalities", ", ".join(chosen),
                              f"{_SINGLE[data.source]} alone, which is what {data.source} has")
        nodes = (NODE,)
    # Only what is trained is decoded and kept in memory.
    part = model.model_copy(update={"sensor_nodes": nodes, "modalities": {m: model.modalities[m] for m in chosen}})
    train, validation = open_split(data, data.train), open_split(data, data.validation)
    train_mb, validation_mb = cache_sizes(data, train, validation)
    return (AugmentedSamples(train, part, config.augment, seed=seed, repeats=data.repeats, draws=data.draws,
                             cache_mb=train_mb, workers=data.workers),
            Samples(validation, part, seed=derive(seed, VALIDATION), cache_mb=validation_mb, workers=data.workers))
