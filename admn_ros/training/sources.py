# SPDX-License-Identifier: Apache-2.0
"""From the data section of a training file to samples."""

from __future__ import annotations

from pathlib import Path

from admn_ros.config import DepthInput, ModelConfig
from admn_ros.datasets.audio_folder import AudioFolder
from admn_ros.datasets.ave import AveFolder, read_annotations
from admn_ros.datasets.gdtm import GdtmCache, GdtmFolder
from admn_ros.datasets.image_folder import ImageFolder
from admn_ros.datasets.mmfi import MmfiFolder, mmfi_split
from admn_ros.datasets.shard_dataset import SimulatedDataset
from admn_ros.datasets.source import SampleSource
from admn_ros.errors import ConfigError, InputError
from admn_ros.sample import Modality
from admn_ros.sensing.corruption.corruption import DEPTH_MAX_M
from admn_ros.sensing.corruption.presets import CorruptionPreset, corruption_preset
from admn_ros.training.config import DataConfig
from admn_ros.training.data import Samples, Spread
from admn_ros.training.seeding import VALIDATION, derive


def open_source(data: DataConfig, split: str) -> SampleSource:
    """Reader of a split. AVE's splits are the lists `trainSet.txt`, ...; MM-Fi's those of the official code.

    Raises:
        ConfigError: no folder is named.
        InputError: the dataset cannot be read.
    """
    if data.folder is None:
        raise ConfigError("data.folder", "nothing", "the folder of the dataset, in the file or with the run")
    folder = Path(data.folder)
    match data.source:
        case "simulated":
            return SimulatedDataset(folder, split)
        case "gdtm":
            return GdtmFolder(folder / split)
        case "gdtm_cache":
            return GdtmCache(folder / split)
        case "mmfi":
            return MmfiFolder(folder, mmfi_split(3, "admn", split))
        case "ave":
            return AveFolder(folder, read_annotations(folder / f"{split}Set.txt"))
        case "image_folder" | "audio_folder":
            return (ImageFolder if data.source == "image_folder" else AudioFolder)(folder / split)


def open_samples(data: DataConfig, model: ModelConfig, seed: int) -> tuple[Samples, Samples]:
    """Training and validation samples of a model. Validation sees the same corruption in every epoch.

    Raises:
        ConfigError: no folder is named.
        InputError: a dataset cannot be read, is empty, or has other classes than the model.
    """
    _check_classes(data, model)
    train, validation = limited_source(data, data.train), limited_source(data, data.validation)
    preset = _preset(data, model, train)
    # What training keeps comes off the whole; the validation split is small and worth keeping whole.
    share = len(validation) / (len(train) * data.repeats * (data.draws or 1) + len(validation))
    kept_mb = round(share * data.cache_mb)
    return (Samples(train, model, preset, seed=seed, repeats=data.repeats, clean_epochs=data.clean_epochs,
                    draws=data.draws, cache_mb=data.cache_mb - kept_mb, workers=data.workers),
            Samples(validation, model, preset, seed=derive(seed, VALIDATION), draws=1, cache_mb=kept_mb,
                    workers=data.workers))


def _check_classes(data: DataConfig, model: ModelConfig) -> None:
    """Numbers of classes mean nothing to a model with other ones, or with the same in another order."""
    source = open_source(data, data.train)
    if isinstance(source, SimulatedDataset) and tuple(source.classes) != model.classes:
        raise InputError(f"{data.folder}: classes", ", ".join(source.classes),
                         f"{', '.join(model.classes)}, the model's")


def limited_source(data: DataConfig, split: str) -> SampleSource:
    """Reader of a split, of at most `data.limit` samples, and `data.validation_limit` of the validation split.

    Raises:
        InputError: it cannot be read, or is empty.
    """
    source = open_source(data, split)
    if not len(source):
        raise InputError(f"{data.folder}: {split}", "no samples", "at least one")
    limits = (data.limit, data.validation_limit if split == data.validation else None)
    limit = min((n for n in limits if n is not None), default=len(source))
    return source if limit >= len(source) else Spread(source, limit)


def _preset(data: DataConfig, model: ModelConfig, source: SampleSource) -> CorruptionPreset | None:
    if data.corruption is None:
        return None
    depth = model.modalities.get(Modality.DEPTH)
    depth_max_m = depth.input.max_m if depth is not None and isinstance(depth.input, DepthInput) else DEPTH_MAX_M
    return corruption_preset(data.corruption, data.variant, depth_max_m=depth_max_m,
                             audio_rate_hz=source[0].audio_rate_hz or 16000, modalities=tuple(model.modalities))
