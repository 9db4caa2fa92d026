# SPDX-License-Identifier: Apache-2.0
"""Open a split of a dataset, for training, evaluation and result tables alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from admn_ros.config import ModelConfig
from admn_ros.datasets.audio_folder import AudioFolder
from admn_ros.datasets.ave import AveCache, AveFolder, read_annotations
from admn_ros.datasets.gdtm import GdtmCache, GdtmFolder
from admn_ros.datasets.image_folder import ImageFolder
from admn_ros.datasets.misplaced import Misplaced
from admn_ros.datasets.mmfi import MmfiCache, MmfiFolder, mmfi_split
from admn_ros.datasets.segmentation.masked_rooms import MaskedRooms
from admn_ros.datasets.segmentation.nyu import NyuDepth
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.datasets.source import ModelInputs, SampleSource, Spread
from admn_ros.datasets.viewpoints import Viewpoints
from admn_ros.errors import InputError

Reader = Callable[[Path, str], SampleSource]
"""Opens the split of a name in a dataset folder."""

READERS: dict[str, Reader] = {
    "shards": ShardDataset,
    "shards_misplaced": lambda folder, split: Misplaced(ShardDataset(folder, split)),
    "shards_masks": MaskedRooms,
    "gdtm": lambda folder, split: GdtmFolder(folder / split),
    "gdtm_doppler": lambda folder, split: GdtmFolder(folder / split, radar="range_doppler"),
    "gdtm_cache": lambda folder, split: GdtmCache(folder / split),
    "mmfi": lambda folder, split: MmfiFolder(folder, mmfi_split(3, "admn", split)),
    "mmfi_224": lambda folder, split: MmfiFolder(folder, mmfi_split(3, "admn", split), size=224),
    "mmfi_cache": lambda folder, split: MmfiCache(folder, mmfi_split(3, "admn", split)),
    "ave": lambda folder, split: AveFolder(folder, read_annotations(folder / f"{split}Set.txt")),
    "ave_cache": lambda folder, split: AveCache(folder / split),
    "nyu": NyuDepth,
    "image_folder": lambda folder, split: ImageFolder(folder / split),
    "audio_folder": lambda folder, split: AudioFolder(folder / split),
}
"""Kinds of datasets. Training files, evaluation plans, `--kind` and error messages take their kinds from here.

A new kind is one more entry: a reader with the methods of `SampleSource`, and those of `RecordedSource` or
`SequentialSource` if its samples belong to recordings.
"""
_FORMER_NAMES = {"simulated": "shards"}


def allowed_kinds(wrong: str = "") -> str:
    """List the known kinds, for the error message about a wrong one."""
    renamed = _FORMER_NAMES.get(wrong)
    return (f"{renamed}, the new name of {wrong}; all kinds: " if renamed else "") + ", ".join(READERS)


def _check_kind(kind: str) -> str:
    if kind not in READERS:
        raise ValueError(allowed_kinds(kind))
    return kind


DatasetKind = Annotated[str, AfterValidator(_check_kind)]
"""Kind of a dataset, in configurations."""


def open_dataset(kind: str, folder: str | Path, split: str, *, model: ModelConfig | None = None,
                 viewpoints: Sequence[str] = (), limit: int | None = None) -> SampleSource:
    """Open a split of a dataset.

    Args:
        kind: kind of the dataset, a key of `READERS`.
        folder: folder of the dataset.
        split: name of the split. `ave` reads the list `<split>Set.txt`; the splits of `mmfi` are the official code's.
        model: description of the model that the samples are for. The samples have only its inputs, and the dataset must
            have its classes. None: the samples are not for a certain model.
        viewpoints: sensor nodes of the dataset that in turn take the place of the model's only node; empty to keep the
            nodes as they are.
        limit: maximum number of samples, evenly spread; None for all.

    Raises:
        InputError: unknown kind, or the dataset cannot be read, is empty, or has other classes than the model.
    """
    if kind not in READERS:
        raise InputError("kind", kind, allowed_kinds(kind))
    source = READERS[kind](Path(folder), split)
    if not len(source):
        raise InputError(f"{folder}: {split}", "no samples", "at least one")
    if model is not None:
        source = _for_model(source, folder, model, viewpoints)
    return source if limit is None or limit >= len(source) else Spread(source, limit)


def _for_model(source: SampleSource, folder: str | Path, model: ModelConfig,
               viewpoints: Sequence[str]) -> SampleSource:
    classes = tuple(getattr(source, "classes", model.classes))
    if classes != model.classes:
        raise InputError(f"{folder}: classes", ", ".join(classes), f"{', '.join(model.classes)}, the model's")
    if viewpoints:
        source = Viewpoints(source, viewpoints, model.sensor_nodes[0])
    return ModelInputs(source, model)
