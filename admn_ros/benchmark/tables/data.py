# SPDX-License-Identifier: Apache-2.0
"""Preprocessed splits of the result tables, made once and read by every training that needs them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from admn_ros.benchmark.tables.config import SplitConfig
from admn_ros.config import ModelConfig
from admn_ros.datasets.corrupted import CorruptedSource, preset_for_source
from admn_ros.datasets.open import open_dataset
from admn_ros.datasets.source import SampleSource
from admn_ros.errors import InputError
from admn_ros.sample import Modality, MultimodalSample, Target
from admn_ros.training.data import Samples
from admn_ros.training.seeding import CORRUPTION, derive

CLEAN = "clean"
"""Name of the corruption that does nothing."""
Told = Callable[[str, int, int], None]
"""Called with what is being done, how far it is, and of how much."""


@dataclass(frozen=True)
class PreparedSplit:
    """A split after one corruption draw, as tensors.

    Args:
        tensors: `input_M` float16 (S, N, C, H, W), `present_M` bool (S, N) and `severity_M` (S,) per modality M;
            `position` (S, 3) with NaN where there is no car; `label` (S,); `poses` (S, N, 5).
    """

    tensors: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.tensors["label"])

    def sample(self, index: int, modalities: Sequence[Modality]) -> MultimodalSample:
        """One sample, as the network sees it."""
        t = self.tensors
        x, y, z = t["position"][index].tolist()
        severity = {m: float(t[f"severity_{m}"][index]) for m in modalities}
        known = {m: s for m, s in severity.items() if math.isfinite(s)}
        return MultimodalSample({m: t[f"input_{m}"][index].float() for m in modalities},
                                {m: t[f"present_{m}"][index] for m in modalities},
                                target=Target((x, y, z), int(t["label"][index]), known), poses=t["poses"][index])


class PreparedSamples(Samples):
    """Samples for `fit` out of prepared splits: epoch e sees draw e modulo their number, in an order of its own.

    Args:
        draws: the same samples under different corruption draws.
        model: whose inputs they are.
        seed: of the order.
        first: draws of the first epochs, one for each, in place of those above.

    Raises:
        InputError: no samples, or draws of different length.
    """

    def __init__(self, draws: Sequence[PreparedSplit], model: ModelConfig, seed: int,
                 first: Sequence[PreparedSplit] = ()) -> None:
        lengths = [len(d) for d in (*draws, *first)]
        if not draws or len(set(lengths)) != 1 or not lengths[0]:
            raise InputError("draws", lengths, "splits of equal length, with samples")
        # The base class asks its source for a length alone: `sample` is the only way to one.
        super().__init__(range(lengths[0]), model, seed=seed)  # type: ignore[arg-type]
        self._splits, self._first, self._names = draws, first, list(model.modalities)

    def sample(self, epoch: int, index: int) -> MultimodalSample:
        """See `Samples`."""
        early = epoch < len(self._first)
        split = self._first[epoch] if early else self._splits[(epoch - len(self._first)) % len(self._splits)]
        return split.sample(index, self._names)


@dataclass(frozen=True)
class Preparation:
    """How splits are prepared: dataset, model, seed of the corruption draws, and where the results are kept."""

    dataset: Path
    model: ModelConfig
    folder: Path
    seed: int

    def split(self, wanted: SplitConfig, corruption: str, draw: int, told: Told) -> PreparedSplit:
        """A split under one draw of a corruption preset: read from the folder, or made and put there.

        Args:
            wanted: which samples.
            corruption: preset of `admn_ros.sensing.corruption.presets`, or "clean".
            draw: number of the draw; every split has its own noise in any case.
            told: progress.

        Raises:
            InputError: the dataset cannot be read, or the folder not written.
        """
        name = wanted.split
        path = self.folder / f"{corruption}-{name}-{wanted.samples}-{draw}.safetensors"
        if path.exists():
            try:
                return PreparedSplit(load_file(path))
            except (SafetensorError, OSError):
                path.unlink()
        clean = open_dataset("shards", self.dataset, wanted.split, model=self.model, viewpoints=wanted.viewpoints,
                             limit=wanted.samples)
        source: SampleSource = clean
        if corruption != CLEAN:
            # Every split has noise of its own.
            number = derive(draw, CORRUPTION, zlib.crc32(name.encode()))
            source = CorruptedSource(clean, preset_for_source(corruption, clean, self.model),
                                     derive(self.seed, CORRUPTION, number))
        split = PreparedSplit(self._tensors(source, lambda i: told(f"{corruption} {name}", i, len(source))))
        partial = path.with_suffix(".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(split.tensors, partial)
            partial.replace(path)
        except (OSError, SafetensorError) as error:
            raise InputError(str(path), str(error) or "unwritable", "a writable folder with space") from error
        return split

    def _tensors(self, source: SampleSource, told: Callable[[int], None]) -> dict[str, Tensor]:
        names, size, nodes = list(self.model.modalities), len(source), len(self.model.sensor_nodes)
        tensors = {f"input_{m}": torch.zeros(size, nodes, *c.input.shape, dtype=torch.float16)
                   for m, c in self.model.modalities.items()}
        tensors |= {f"present_{m}": torch.zeros(size, nodes, dtype=torch.bool) for m in names}
        tensors |= {f"severity_{m}": torch.full((size,), torch.nan) for m in names}
        tensors |= {"position": torch.full((size, 3), torch.nan), "label": torch.full((size,), -1),
                    "poses": torch.zeros(size, nodes, 5)}
        own = torch.tensor([self.model.node_poses[n].numbers for n in self.model.sensor_nodes]) \
            if self.model.node_poses else torch.zeros(nodes, 5)
        for i in range(size):
            sample = source[i].sample(self.model)
            target = sample.target
            if target is not None:
                tensors["position"][i] = torch.tensor(target.position_m)
                tensors["label"][i] = target.label
            for m in names:
                tensors[f"input_{m}"][i] = sample.inputs[m].half()
                tensors[f"present_{m}"][i] = sample.present[m]
                if target is not None and target.corruption and m in target.corruption:
                    tensors[f"severity_{m}"][i] = target.corruption[m]
            tensors["poses"][i] = own if sample.poses is None else sample.poses
            told(i + 1)
        return tensors
