# SPDX-License-Identifier: Apache-2.0
"""Batches of preprocessed tensors with their targets, from any sample source."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from admn_ros.config import ModelConfig
from admn_ros.datasets.corrupted import CorruptedSource
from admn_ros.datasets.source import LabeledReadings, RandomWindows, SampleSource
from admn_ros.errors import InputError
from admn_ros.sample import Modality, MultimodalSample, SampleBatch, Target
from admn_ros.sensing.corruption.draws import CorruptionPreset
from admn_ros.training.cache import MemoryCache, SampleCache
from admn_ros.training.seeding import CORRUPTION, ORDER, WINDOWS, derive

CLEAN_DRAW = -1
"""Number of the draw without corruption; with random windows, of the first of several such draws, which descend."""


@dataclass(frozen=True)
class LabeledBatch:
    """A batch with its ground truth.

    Attributes:
        samples: inputs of the network.
        position_m: positions (B, 3) in the model's frame in metres; 0 without a position.
        located: whether there is a position, bool (B,). A sample without one has a class loss only.
        label: class indices (B,), -1 if unknown.
        severity: severities (B,) in [0, 1] by modality, NaN if unknown.
        mask: class (B, H, W) of each pixel of the RGB input, int64, -1 if unknown; None without segmentation.
    """

    samples: SampleBatch
    position_m: Tensor
    located: Tensor
    label: Tensor
    severity: Mapping[Modality, Tensor]
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.label)

    def available(self) -> dict[Modality, Tensor]:
        """Return by modality whether any sensor node has it, bool (B,)."""
        return {m: present.any(dim=1) for m, present in self.samples.present.items()}

    def to(self, device: torch.device | str) -> LabeledBatch:
        """Return a copy on a device."""
        return LabeledBatch(self.samples.to(device), self.position_m.to(device), self.located.to(device),
                            self.label.to(device), {m: s.to(device) for m, s in self.severity.items()},
                            None if self.mask is None else self.mask.to(device))

    @classmethod
    def stack(cls, samples: Sequence[MultimodalSample]) -> LabeledBatch:
        """Stack samples of one model; without a target all ground truth is unknown."""
        unknown = Target((math.nan, math.nan, math.nan))
        targets = [s.target or unknown for s in samples]
        position_m = torch.tensor([t.position_m for t in targets], dtype=torch.float32)
        located = position_m.isfinite().all(dim=1)
        severity = {m: torch.tensor([(t.corruption or {}).get(m, math.nan) for t in targets], dtype=torch.float32)
                    for m in samples[0].inputs}
        return cls(SampleBatch.stack(samples), torch.where(located[:, None], position_m, 0.0), located,
                   torch.tensor([t.label for t in targets]), severity, _masks(samples, targets))


class Samples:
    """Samples of a split, epoch after epoch. The content of an epoch depends on seed and epoch alone.

    Args:
        source: samples before preprocessing.
        model: model that they are for.
        preset: corruption; None for none.
        seed: seed of order and corruption.
        repeats, clean_epochs, draws, cache_mb, workers: as in `admn_ros.training.config.DataConfig`.
        cache: cache of preprocessed samples in place of `cache_mb` of memory.
        noise: function from the number of a draw to the seed of its corruption; None derives it from `seed`.
        windows: whether each draw has random windows of the clips, instead of the first ones.

    Raises:
        InputError: the source is empty, or windows are asked for and its samples are no windows of clips.
    """

    def __init__(self, source: SampleSource, model: ModelConfig, preset: CorruptionPreset | None = None, *,
                 seed: int = 0, repeats: int = 1, clean_epochs: int = 0, draws: int | None = None,
                 cache_mb: int = 0, workers: int = 0, cache: SampleCache | None = None,
                 noise: Callable[[int], int] | None = None, windows: bool = False) -> None:
        if not len(source):
            raise InputError("samples", "none", "at least one")
        self._source, self._model, self._seed = source, model, seed
        self._preset, self._windows, self._window_seed = preset, windows, functools.partial(derive, seed, WINDOWS)
        self._repeats, self._clean_epochs, self._draws = repeats, clean_epochs, draws
        self._source_of(0)  # a source without what is asked for is refused here
        self._noise = noise or functools.partial(derive, seed, CORRUPTION)
        self._cache, self._workers = cache or MemoryCache(cache_mb), workers

    def ordered(self, seed: int, clean_epochs: int) -> Samples:
        """Return the same samples, with the same cache and corruption, in another order.

        Args:
            seed: seed of the order.
            clean_epochs: number of first epochs without corruption.
        """
        other = copy.copy(self)
        other._seed, other._clean_epochs = seed, clean_epochs
        return other

    def __len__(self) -> int:
        """Return the number of samples of an epoch."""
        return len(self._source) * self._repeats

    def steps(self, batch: int) -> int:
        """Return the number of batches of an epoch; the last one may be smaller."""
        return -(-len(self) // batch)

    def draw(self, epoch: int) -> int:
        """Return the number of the corruption draw of an epoch, or `CLEAN_DRAW`."""
        turn = epoch % self._draws if self._draws else epoch
        if self._preset is None or epoch < self._clean_epochs:
            return CLEAN_DRAW - turn if self._windows else CLEAN_DRAW
        return turn

    def draw_of(self, epoch: int, index: int) -> int:
        """Return the number of the corruption draw of one sample of an epoch, or `CLEAN_DRAW`."""
        return self.draw(epoch)

    def sample(self, epoch: int, index: int) -> MultimodalSample:
        """Return one preprocessed sample of an epoch.

        Raises:
            InputError: the source cannot read the sample, or a reading does not fit the model.
        """
        kept = self._kept(epoch, index)
        if kept is None:
            # float16 is finer than any sensor and halves the memory. Used without a cache too: a cache changes no run.
            kept = _half(self._readings(self.draw_of(epoch, index), index).sample(self._model))
            self._keep(epoch, index, kept)
        return replace(kept, inputs={m: x.float() for m, x in kept.inputs.items()})

    def batches(self, epoch: int, batch: int, *, shuffle: bool, first: int | None = None,
                part: tuple[int, int] = (0, 1)) -> Iterator[LabeledBatch]:
        """Yield the batches of an epoch; arguments as `parts`.

        Raises:
            InputError: see `sample`.
        """
        yield from self.batches_of(epoch, self.parts(epoch, batch, shuffle=shuffle, first=first, part=part))

    def parts(self, epoch: int, batch: int, *, shuffle: bool, first: int | None = None,
              part: tuple[int, int] = (0, 1)) -> list[list[int]]:
        """Return the indices of the samples of each batch.

        Args:
            epoch: number of the epoch, from 0.
            batch: number of samples per batch.
            shuffle: whether to shuffle, by seed and epoch; otherwise the order is that of the source.
            first: maximum number of batches; None for all.
            part: number of a process and number of processes. The process gets its samples of every batch. If a batch
                is smaller than the number of processes, a process without samples gets the first one of the batch,
                which must not count.
        """
        order = np.arange(len(self))
        if shuffle:
            np.random.default_rng(derive(self._seed, ORDER, epoch)).shuffle(order)
        whole = [order[i:i + batch].tolist() for i in range(0, len(order), batch)][:first]
        rank, count = part
        return [indices[rank::count] or indices[:1] for indices in whole]

    def batches_of(self, epoch: int, parts: Sequence[Sequence[int]]) -> Iterator[LabeledBatch]:
        """Yield batches of the samples with these indices.

        Raises:
            InputError: see `sample`.
        """
        for indices, fresh in zip(parts, self._prepared(epoch, parts), strict=True):
            for i, sample in fresh.items():
                self._keep(epoch, i, _half(sample))
            yield LabeledBatch.stack([fresh[i] if i in fresh else self.sample(epoch, i) for i in indices])

    def _prepared(self, epoch: int, parts: Sequence[Sequence[int]]) -> Iterator[Mapping[int, MultimodalSample]]:
        """Yield for each batch those samples that worker processes prepare: all that are not in the cache."""
        missing = [[i for i in indices if self._kept(epoch, i) is None] if self._workers else [] for indices in parts]
        if not any(missing):
            yield from ({} for _ in parts)
            return
        bare = copy.copy(self)
        bare._cache = MemoryCache(0)  # the cache of a worker would end with it
        # Without a generator the loader would draw the seeds of its workers from the global one.
        loader = DataLoader(_Epoch(bare, epoch), batch_sampler=missing, collate_fn=list, num_workers=self._workers,
                            generator=torch.Generator())
        for indices, found in zip(missing, loader, strict=True):
            yield dict(zip(indices, found, strict=True))

    def keys(self, epoch: int, indices: Sequence[int]) -> list[tuple[int, int]] | None:
        """Return draw and index of samples, by which they may be stored; None if one of them does not come again."""
        if not all(self._repeats_draw(epoch, i) for i in indices):
            return None
        return [(self.draw_of(epoch, i), i) for i in indices]

    @property
    def repeated(self) -> int:
        """Number of different samples that come again, at most."""
        clean = (self._draws or 0) if self._windows else 1
        return len(self) * (clean + (self._draws or 0))

    def _kept(self, epoch: int, index: int) -> MultimodalSample | None:
        return self._cache.get(self.draw_of(epoch, index), index) if self._repeats_draw(epoch, index) else None

    def _keep(self, epoch: int, index: int, sample: MultimodalSample) -> None:
        if self._repeats_draw(epoch, index):
            self._cache.put(self.draw_of(epoch, index), index, sample)

    def _repeats_draw(self, epoch: int, index: int) -> bool:
        return self._draws is not None or (self.draw_of(epoch, index) == CLEAN_DRAW and not self._windows)

    def _readings(self, draw: int, index: int) -> LabeledReadings:
        source = self._source_of(draw)
        if not isinstance(source, CorruptedSource):
            return source[index % len(source)]
        if draw <= CLEAN_DRAW:
            return source.clean(index)
        return source.labeled(index, self._noise(draw))[0]

    def _source_of(self, draw: int) -> SampleSource:
        """Return the samples of a draw: with its windows, and with corruption if there is a preset."""
        source = self._source
        if self._windows:  # from 0: clean draws descend from -1
            number = 2 * draw if draw >= 0 else -2 * draw - 1
            source = RandomWindows(source, self._window_seed(number))
        return source if self._preset is None else CorruptedSource(source, self._preset, self._seed, self._repeats)


def _masks(samples: Sequence[MultimodalSample], targets: Sequence[Target]) -> Tensor | None:
    """Return the masks (B, H, W) in the size of the RGB input, each pixel the nearest one; None if one is missing."""
    masks = [torch.from_numpy(t.mask.astype(np.int64)) for t in targets if t.mask is not None]
    if len(masks) != len(samples):
        return None
    height, width = samples[0].inputs[Modality.RGB].shape[-2:]

    def nearest(new: int, old: int) -> Tensor:
        return ((torch.arange(new) + 0.5) * old / new).long()

    return torch.stack([m[nearest(height, m.shape[0])][:, nearest(width, m.shape[1])] for m in masks])


def _half(sample: MultimodalSample) -> MultimodalSample:
    return replace(sample, inputs={m: x.half() for m, x in sample.inputs.items()})


class _Epoch(Dataset[MultimodalSample]):
    """One epoch as a torch dataset, for worker processes."""

    def __init__(self, samples: Samples, epoch: int) -> None:
        self._samples, self._epoch = samples, epoch

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> MultimodalSample:
        return self._samples.sample(self._epoch, index)
