# SPDX-License-Identifier: Apache-2.0
"""Training and validation samples from the data section of a training file."""

from __future__ import annotations

from admn_ros.config import ModelConfig
from admn_ros.datasets.corrupted import preset_for_source
from admn_ros.datasets.open import open_dataset
from admn_ros.datasets.source import SampleSource
from admn_ros.errors import ConfigError
from admn_ros.sensing.corruption.draws import Variant
from admn_ros.training.config import DataConfig
from admn_ros.training.data import Samples
from admn_ros.training.seeding import VALIDATION, derive


def open_samples(data: DataConfig, model: ModelConfig, seed: int, *,
                 controller: bool = False) -> tuple[Samples, Samples]:
    """Open the training and validation samples of a model. Validation sees the same corruption in every epoch.

    Args:
        data: data section of the training file.
        model: model that the samples are for.
        seed: seed of order and corruption.
        controller: whether the samples are for the controller, for which the official code draws otherwise.

    Raises:
        ConfigError: no folder is named.
        InputError: a dataset cannot be read, is empty, or has other classes than the model.
    """
    train, validation = (open_split(data, split, model) for split in (data.train, data.validation))
    variant: Variant = "code_controller" if controller and data.variant == "code" else data.variant
    preset = None if data.corruption is None else preset_for_source(data.corruption, train, model, variant)
    train_mb, validation_mb = cache_sizes(data, train, validation)
    return (Samples(train, model, preset, seed=seed, repeats=data.repeats, clean_epochs=data.clean_epochs,
                    draws=data.draws, cache_mb=train_mb, workers=data.workers, windows=data.windows == "random"),
            Samples(validation, model, preset, seed=derive(seed, VALIDATION), draws=1, cache_mb=validation_mb,
                    workers=data.workers))


def open_split(data: DataConfig, split: str, model: ModelConfig | None = None) -> SampleSource:
    """Open a split, limited to `data.limit` samples, and to `data.validation_limit` if it is the validation split.

    Args:
        data: data section of the training file.
        split: name of the split.
        model: as in `open_dataset`.

    Raises:
        ConfigError: no folder is named.
        InputError: the split cannot be read, is empty, or has other classes than the model.
    """
    if data.folder is None:
        raise ConfigError.missing("data.folder", "the folder of the dataset, in the file or with --data")
    limits = (data.limit, data.validation_limit if split == data.validation else None)
    return open_dataset(data.source, data.folder, split, model=model,
                        limit=min((n for n in limits if n is not None), default=None))


def cache_sizes(data: DataConfig, train: SampleSource, validation: SampleSource) -> tuple[int, int]:
    """Divide `data.cache_mb` between the training and the validation split, by the number of tensors to keep."""
    kept = len(train) * data.repeats * (data.draws or 1)
    validation_mb = round(len(validation) / (kept + len(validation)) * data.cache_mb)
    return data.cache_mb - validation_mb, validation_mb
