# SPDX-License-Identifier: Apache-2.0
"""Batches: metres, masks, and corruption that depends on seed and epoch only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from admn_ros.config import ModelConfig
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.datasets.source import LabeledReadings, Spread
from admn_ros.errors import ConfigError, InputError
from admn_ros.sample import Modality
from admn_ros.sensing.corruption.presets import corruption_preset
from admn_ros.training.config import DataConfig
from admn_ros.training.data import CLEAN_DRAW, LabeledBatch, Samples
from admn_ros.training.sources import open_samples


def same(a: LabeledBatch, b: LabeledBatch) -> bool:
    pairs = [(a.position_m, b.position_m), (a.label, b.label), *((a.severity[m], b.severity[m]) for m in a.severity)]
    pairs += [(a.samples.inputs[m], b.samples.inputs[m]) for m in a.samples.inputs]
    return all(torch.equal(x.nan_to_num(-1), y.nan_to_num(-1)) for x, y in pairs)


def samples(dataset: Path, model: ModelConfig, **more: int | None) -> Samples:
    preset = corruption_preset("room-all", modalities=tuple(model.modalities))
    return Samples(ShardDataset(dataset, "train"), model, preset, **{"seed": 3, **more})  # type: ignore[arg-type]


def test_targets_in_metres_and_samples_without_a_car(dataset: Path, model: ModelConfig) -> None:
    source = ShardDataset(dataset, "train")
    batch = next(Samples(source, model).batches(0, 12, shuffle=False))
    assert batch.label.tolist() == [0, 1, 2] * 4
    assert batch.located.tolist() == [True, True, False] * 4
    for i in range(12):
        wanted = source[i].target.position_m if i % 3 < 2 else (0, 0, 0)
        assert np.allclose(batch.position_m[i], wanted)
    assert all(s.isnan().all() for s in batch.severity.values())
    assert {m: tuple(x.shape[1:]) for m, x in batch.samples.inputs.items()} == {
        m: (2, *c.input.shape) for m, c in model.modalities.items()}


def test_an_epoch_is_a_function_of_seed_and_epoch(dataset: Path, model: ModelConfig) -> None:
    first = list(samples(dataset, model).batches(5, 4, shuffle=True))
    again = samples(dataset, model)
    list(again.batches(4, 4, shuffle=True))
    assert all(same(a, b) for a, b in zip(first, again.batches(5, 4, shuffle=True), strict=True))
    other = list(samples(dataset, model, seed=4).batches(5, 4, shuffle=True))
    assert not all(same(a, b) for a, b in zip(first, other, strict=True))
    in_order = [next(samples(dataset, model).batches(e, 12, shuffle=False)) for e in (5, 6)]
    assert not same(*in_order)  # another epoch, another corruption
    labels = [torch.cat([b.label for b in again.batches(e, 4, shuffle=True)]).tolist() for e in (5, 6)]
    assert labels[0] != labels[1]
    assert sorted(labels[0]) == sorted(labels[1])


def test_worker_processes_give_equal_batches(dataset: Path, model: ModelConfig) -> None:
    here = samples(dataset, model).batches(2, 4, shuffle=True)
    there = samples(dataset, model, workers=2).batches(2, 4, shuffle=True)
    assert all(same(a, b) for a, b in zip(here, there, strict=True))


def test_worker_processes_prepare_repeated_draws_once(dataset: Path, model: ModelConfig,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    kept, fresh = (samples(dataset, model, draws=1, workers=w, cache_mb=m) for w, m in ((2, 64), (0, 0)))
    first = list(kept.batches(0, 4, shuffle=True))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the second epoch of a draw needs no worker")

    monkeypatch.setattr("admn_ros.training.data.DataLoader", refuse)
    for epoch, ours in ((0, first), (1, list(kept.batches(1, 4, shuffle=True)))):
        assert all(same(a, b) for a, b in zip(ours, fresh.batches(epoch, 4, shuffle=True), strict=True))


def test_cache_has_no_effect_and_is_bounded(dataset: Path, model: ModelConfig) -> None:
    cached, fresh = samples(dataset, model, draws=2, cache_mb=64), samples(dataset, model, draws=2)
    for epoch in (0, 1, 2, 3):
        for a, b in zip(cached.batches(epoch, 5, shuffle=True), fresh.batches(epoch, 5, shuffle=True), strict=True):
            assert same(a, b)


@pytest.mark.parametrize(("cache_mb", "reads"), [(64, 1), (0, 3)])
def test_cached_samples_are_not_read_again(dataset: Path, model: ModelConfig, cache_mb: int, reads: int) -> None:
    class Counted(ShardDataset):
        reads = 0

        def __getitem__(self, index: int) -> LabeledReadings:
            Counted.reads += 1
            return super().__getitem__(index)

    kept = Samples(Counted(dataset, "train"), model, cache_mb=cache_mb)
    for epoch in range(3):
        kept.sample(epoch, 7)
    assert Counted.reads == reads


def test_clean_epochs_and_repeats(dataset: Path, model: ModelConfig) -> None:
    data = samples(dataset, model, clean_epochs=2, repeats=3)
    assert [data.draw(e) for e in range(4)] == [CLEAN_DRAW, CLEAN_DRAW, 2, 3]
    assert len(data) == 36
    assert data.steps(10) == 4
    clean = next(data.batches(0, 36, shuffle=False))
    assert all((s == 0).all() for s in clean.severity.values())
    bad = next(data.batches(2, 36, shuffle=False)).severity[Modality.RGB].view(3, 12)
    assert (bad > 0).any()
    assert not torch.equal(bad[0], bad[1])  # each repeat has a draw of its own


class Clips:
    """Clips of one sample, whose windows differ in brightness."""

    def __init__(self, source: ShardDataset) -> None:
        self._source = source

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> LabeledReadings:
        return self._source[index]

    def random_clip(self, index: int, rng: np.random.Generator) -> LabeledReadings:
        sample, level = self._source[index], int(rng.integers(256))
        bright = {k: np.full_like(x, level) if k.modality is Modality.RGB else x for k, x in sample.readings.items()}
        return replace(sample, readings=bright)


def test_random_windows_differ_from_epoch_to_epoch(dataset: Path, model: ModelConfig) -> None:
    preset = corruption_preset("room-all", modalities=tuple(model.modalities))

    def drawn(epochs: range, **more: object) -> list[float]:
        data = Samples(Clips(ShardDataset(dataset, "train")), model, preset, seed=3, clean_epochs=2, cache_mb=10,
                       windows=True, **more)  # type: ignore[arg-type]
        assert all((data.sample(e, 0).target.corruption[Modality.RGB] == 0) or e > 1 for e in epochs)  # type: ignore
        return [float(data.sample(e, 0).inputs[Modality.RGB].mean()) for e in epochs]

    assert len(set(drawn(range(5)))) == 5
    assert drawn(range(5)) == drawn(range(5))
    again = drawn(range(6), draws=2)
    assert again[2:4] == again[4:6] and len(set(again[:4])) == 4
    with pytest.raises(InputError, match=r"windows.*ShardDataset have one window each"):
        samples(dataset, model, windows=True)


def test_limited_splits_are_evenly_spaced(dataset: Path) -> None:
    source = ShardDataset(dataset, "train")
    part = Spread(source, 4)
    assert [part[i].stamp_ns for i in range(4)] == [source[i].stamp_ns for i in (0, 4, 7, 11)]
    assert len(Spread(source, 100)) == 12


def test_validation_is_equal_in_every_epoch_and_differs_from_training(dataset: Path, model: ModelConfig) -> None:
    config = DataConfig(folder=str(dataset), corruption="room-all", validation="train")
    train, validation = open_samples(config, model, 0)
    first, second = (next(validation.batches(e, 12, shuffle=False)) for e in (0, 1))
    assert same(first, second)
    assert not same(first, next(train.batches(0, 12, shuffle=False)))


def test_missing_folders(dataset: Path, model: ModelConfig) -> None:
    with pytest.raises(ConfigError, match=r"data\.folder"):
        open_samples(DataConfig(), model, 0)
    with pytest.raises(InputError, match="split"):
        open_samples(DataConfig(folder=str(dataset), train="training"), model, 0)


def test_a_dataset_with_other_classes_is_refused(dataset: Path, model: ModelConfig) -> None:
    other = model.model_copy(update={"classes": tuple(reversed(model.classes))})
    with pytest.raises(InputError, match="classes: found red_car, green_car, none; allowed: none, green_car, red_car"):
        open_samples(DataConfig(folder=str(dataset)), other, 0)


def test_clean_epochs_have_node_poses(dataset: Path, model: ModelConfig) -> None:
    clean, corrupted = (next(samples(dataset, model, clean_epochs=1).batches(e, 3, shuffle=False)) for e in (0, 1))
    assert clean.samples.poses is not None and corrupted.samples.poses is not None
    assert torch.equal(clean.samples.poses, corrupted.samples.poses)
    assert all(not s.any() for s in clean.severity.values())
