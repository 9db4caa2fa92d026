# SPDX-License-Identifier: Apache-2.0
"""Cache of samples in files: equal to fresh samples, and used again by later runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from admn_ros.config import ModelConfig
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.datasets.source import LabeledReadings
from admn_ros.errors import InputError
from admn_ros.sample import MultimodalSample
from admn_ros.sensing.corruption.presets import corruption_preset
from admn_ros.training.cache import FolderCache
from admn_ros.training.data import Samples


class Counted(ShardDataset):
    """Dataset that counts the samples that are read."""

    reads = 0

    def __getitem__(self, index: int) -> LabeledReadings:
        Counted.reads += 1
        return super().__getitem__(index)


def samples(dataset: Path, model: ModelConfig, folder: Path | None, draws: int | None = 2) -> Samples:
    preset = corruption_preset("room-all", modalities=tuple(model.modalities))
    source = Counted(dataset, "train")
    cache = None if folder is None else FolderCache(folder, model, len(source))
    return Samples(source, model, preset, seed=3, clean_epochs=1, draws=draws, cache=cache)


def same(a: MultimodalSample, b: MultimodalSample) -> bool:
    assert a.target is not None and b.target is not None
    targets = torch.tensor([t.position_m for t in (a.target, b.target)]).nan_to_num(-1)
    return (all(torch.equal(a.inputs[m], b.inputs[m]) and torch.equal(a.present[m], b.present[m]) for m in a.inputs)
            and a.target.label == b.target.label and a.target.corruption == b.target.corruption
            and torch.equal(targets[0], targets[1]) and (a.poses is None) == (b.poses is None))


def test_samples_from_files_equal_fresh_ones(dataset: Path, model: ModelConfig, tmp_path: Path) -> None:
    cached, fresh = samples(dataset, model, tmp_path / "cache"), samples(dataset, model, None)
    for epoch in (0, 1, 2, 3):   # clean, draw 1, draw 0, draw 1 from the file
        assert all(same(cached.sample(epoch, i), fresh.sample(epoch, i)) for i in range(len(fresh)))


def test_a_later_run_reads_no_sample_again(dataset: Path, model: ModelConfig, tmp_path: Path) -> None:
    samples(dataset, model, tmp_path / "cache").sample(1, 7)
    Counted.reads = 0
    later = samples(dataset, model, tmp_path / "cache")
    later.sample(3, 7)
    later.ordered(seed=9, clean_epochs=0).sample(1, 7)
    assert Counted.reads == 0
    later.sample(2, 7)   # another draw
    assert Counted.reads == 1


def test_draws_that_do_not_repeat_are_not_stored(dataset: Path, model: ModelConfig, tmp_path: Path) -> None:
    endless = samples(dataset, model, tmp_path / "cache", draws=None)
    for epoch in range(1, 4):
        endless.sample(epoch, 0)
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written(dataset: Path, model: ModelConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        samples(dataset, model, tmp_path / "file" / "cache").sample(1, 0)
