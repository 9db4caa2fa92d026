# SPDX-License-Identifier: Apache-2.0
"""Prepared samples in the memory of a GPU: later epochs of a draw neither stack nor copy them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from admn_ros.sample import Modality, SampleBatch
from admn_ros.training.data import LabeledBatch, Samples

FREE_SHARE = 0.25
"""Share of the GPU's free memory that prepared samples may take."""
Key = tuple[int, int]
"""Corruption draw and index of a sample."""


def room_mb(device: torch.device) -> int:
    """Return the memory for prepared samples on a device, in MiB; 0 on a CPU, which has them already."""
    if device.type != "cuda":
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    return int(free * FREE_SHARE) >> 20


class DeviceCache:
    """Samples as rows of large tensors, inputs in float16 as in `admn_ros.training.cache`.

    Args:
        megabytes: memory, MiB; samples for which there is no room are not stored.
        most: number of samples that can come; no more memory than theirs is taken.
    """

    def __init__(self, megabytes: int, most: int) -> None:
        self._room, self._most = megabytes * 2**20, most
        self._rows: dict[Key, int] = {}
        self._tensors: dict[str, Tensor] = {}

    def has(self, keys: Sequence[Key]) -> bool:
        """Return whether all of these samples are stored."""
        return all(key in self._rows for key in keys)

    def get(self, keys: Sequence[Key]) -> LabeledBatch:
        """Return a batch of samples, all of which are stored."""
        device = self._tensors["label"].device
        rows = torch.tensor([self._rows[key] for key in keys], device=device)
        return _batch({name: x.index_select(0, rows) for name, x in self._tensors.items()})

    def put(self, keys: Sequence[Key], batch: LabeledBatch) -> None:
        """Store the samples of a batch, on the device of the batch, as far as there is room."""
        if not self._room or len(self._rows) >= self._most:
            return
        columns = _columns(batch)
        if not self._tensors:
            size = sum(x[0].numel() * x.element_size() for x in columns.values())
            capacity = min(self._most, self._room // size)
            self._tensors = {name: x.new_empty((capacity, *x.shape[1:])) for name, x in columns.items()}
        if columns.keys() != self._tensors.keys():  # some samples have poses of their own, and others not
            return
        free = len(self._tensors["label"]) - len(self._rows)
        new = [k for k, key in enumerate(keys) if key not in self._rows][:free]
        if not new:
            return
        first = len(self._rows)
        for name, x in columns.items():
            self._tensors[name][first:first + len(new)] = x[new]
        self._rows |= {keys[k]: first + row for row, k in enumerate(new)}


def device_batches(samples: Samples, cache: DeviceCache, device: torch.device, epoch: int,
                   parts: Sequence[Sequence[int]]) -> Iterator[LabeledBatch]:
    """Yield batches on a device: from its memory what is stored there, and the others prepared and then stored.

    Args:
        samples: samples of a split.
        cache: stored samples of the same split.
        device: device of the network.
        epoch: number of the epoch, from 0.
        parts: indices of the samples of each batch, none of them twice.

    Raises:
        InputError: a sample cannot be read.
    """
    keys = [samples.keys(epoch, indices) for indices in parts]
    stored = [key is not None and cache.has(key) for key in keys]
    fresh = samples.batches_of(epoch, [indices for indices, there in zip(parts, stored, strict=True) if not there])
    for key, there in zip(keys, stored, strict=True):
        if there and key is not None:
            yield cache.get(key)
            continue
        batch = next(fresh).to(device)
        if key is not None:
            cache.put(key, batch)
        yield batch


def _columns(batch: LabeledBatch) -> dict[str, Tensor]:
    """Return the tensors of a batch by name, inputs in float16."""
    samples = batch.samples
    found = {f"inputs/{m}": x.half() for m, x in samples.inputs.items()}
    found |= {f"present/{m}": x for m, x in samples.present.items()}
    found |= {f"severity/{m}": x for m, x in batch.severity.items()}
    if samples.poses is not None:
        found["poses"] = samples.poses
    if batch.mask is not None:
        found["mask"] = batch.mask
    return found | {"position_m": batch.position_m, "located": batch.located, "label": batch.label}


def _batch(columns: Mapping[str, Tensor]) -> LabeledBatch:
    def part(name: str) -> dict[Modality, Tensor]:
        return {Modality(key.partition("/")[2]): x for key, x in columns.items() if key.startswith(f"{name}/")}

    inputs = {m: x.float() for m, x in part("inputs").items()}
    return LabeledBatch(SampleBatch(inputs, part("present"), columns.get("poses")), columns["position_m"],
                        columns["located"], columns["label"], part("severity"), columns.get("mask"))
