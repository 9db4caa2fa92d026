# SPDX-License-Identifier: Apache-2.0
"""Caches of preprocessed samples: in memory, or in files that later runs use again."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from admn_ros.config import ModelConfig
from admn_ros.files import replacing, write_errors
from admn_ros.sample import MultimodalSample, Target


class SampleCache(Protocol):
    """Samples by corruption draw and index. Inputs are float16."""

    def get(self, draw: int, index: int) -> MultimodalSample | None:
        """Return a sample; None if it is not in the cache."""
        ...

    def put(self, draw: int, index: int, sample: MultimodalSample) -> None:
        """Store a sample if there is room.

        Raises:
            InputError: the cache cannot be written.
        """
        ...


class MemoryCache:
    """Samples in memory.

    Args:
        megabytes: size of all inputs, MiB; later samples are not stored.
    """

    def __init__(self, megabytes: int) -> None:
        self._room = megabytes * 2**20
        self._samples: dict[tuple[int, int], MultimodalSample] = {}

    def get(self, draw: int, index: int) -> MultimodalSample | None:
        """See `SampleCache`."""
        return self._samples.get((draw, index))

    def put(self, draw: int, index: int, sample: MultimodalSample) -> None:
        """See `SampleCache`."""
        size = sum(x.numel() * x.element_size() for x in sample.inputs.values())
        if size <= self._room:
            self._room -= size
            self._samples[draw, index] = sample


class FolderCache:
    """Samples in memory-mapped files, one for each draw. Stamps are not stored.

    Args:
        folder: folder of the files; it belongs to one model, one split and one corruption.
        model: model that the samples are for.
        length: number of samples.
    """

    def __init__(self, folder: Path, model: ModelConfig, length: int) -> None:
        self._folder, self._model, self._length = folder, model, length
        nodes = len(model.sensor_nodes)
        fields: list[tuple[Any, ...]] = [("stored", "?"), ("position_m", "f8", (3,)), ("label", "i8"),
                                         ("poses", "f4", (nodes, 5))]
        for m, c in model.modalities.items():
            fields += [(f"input_{m}", "f2", (nodes, *c.input.shape)), (f"present_{m}", "?", (nodes,)),
                       (f"severity_{m}", "f8")]
        self._type = np.dtype(fields)
        self._files: dict[int, npt.NDArray[Any]] = {}

    def get(self, draw: int, index: int) -> MultimodalSample | None:
        """See `SampleCache`."""
        row = self._rows(draw)[index]
        if not row["stored"]:
            return None
        modalities, poses = self._model.modalities, torch.from_numpy(row["poses"].copy())
        severity = {m: float(row[f"severity_{m}"]) for m in modalities}
        x, y, z = row["position_m"].tolist()
        target = Target((x, y, z), int(row["label"]), {m: s for m, s in severity.items() if math.isfinite(s)})
        return MultimodalSample({m: torch.from_numpy(row[f"input_{m}"].copy()) for m in modalities},
                                {m: torch.from_numpy(row[f"present_{m}"].copy()) for m in modalities},
                                target=target, poses=poses if bool(poses.isfinite().all()) else None)

    def put(self, draw: int, index: int, sample: MultimodalSample) -> None:
        """See `SampleCache`."""
        row, target = self._rows(draw)[index], sample.target or Target((math.nan, math.nan, math.nan))
        row["position_m"], row["label"] = target.position_m, target.label
        row["poses"] = np.nan if sample.poses is None else sample.poses.numpy()
        for m in self._model.modalities:
            row[f"input_{m}"], row[f"present_{m}"] = sample.inputs[m].numpy(), sample.present[m].numpy()
            row[f"severity_{m}"] = (target.corruption or {}).get(m, math.nan)
        row["stored"] = True

    def _rows(self, draw: int) -> npt.NDArray[Any]:
        if draw not in self._files:
            path = self._folder / f"draw{draw}.bin"
            if not path.exists():
                # Allocated at once: a full disk under a memory map would end the process.
                with replacing(path) as partial, partial.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, self._length * self._type.itemsize)
            with write_errors(path):
                self._files[draw] = np.memmap(path, self._type, "r+", shape=(self._length,))
        return self._files[draw]
