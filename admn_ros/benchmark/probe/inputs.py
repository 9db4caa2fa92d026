# SPDX-License-Identifier: Apache-2.0
"""Inputs of a probe: one modality of a simulated dataset as tensors in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from admn_ros.config import AudioInput, DepthInput, InputConfig, NodePose, RadarInput, RgbInput, parse_config
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.errors import InputError
from admn_ros.recordings import shards
from admn_ros.sample import Array, Modality, SensorKey
from admn_ros.sensing.corruption.corruption import Corruption
from admn_ros.sensing.preprocess.tensors import input_tensor
from admn_ros.simulation.sound.room_acoustics import array_shape

Floats = npt.NDArray[np.float32]
OnProgress = Callable[[str, float], None]
"""Called with a description of the work and the fraction done, 0 to 1."""

BANDS, DIRECTIONS = 32, 48
"""Audio: number of mel bands, and of azimuths."""
_FFT, _HOP = 512, 256
_IMAGES: dict[Modality, InputConfig] = {
    Modality.RGB: RgbInput(height=64, width=96),
    Modality.DEPTH: DepthInput(height=60, width=80, relief=True),
    Modality.RADAR: RadarInput(height=96, width=64),
}


@dataclass(frozen=True)
class ProbeData:
    """Samples of a split that have a car.

    Attributes:
        images: inputs (samples, nodes, C, H, W), float16.
        stations: positions of the sensor nodes in `map` (samples, nodes, 3), float32, metres.
        position: position of the car in `map` (samples, 2), float32, metres.
    """

    images: Tensor
    stations: Tensor
    position: Tensor

    def __len__(self) -> int:
        return len(self.position)


def load_split(folder: Path, split: str, modality: Modality, corruption: Corruption | None = None, seed: int = 0,
               on_progress: OnProgress | None = None) -> ProbeData:
    """Read and preprocess one modality of a split; samples without a car are left out.

    Args:
        folder: folder of the dataset.
        split: name of the split.
        modality: modality.
        corruption: corruption of severity 1, applied to every reading before preprocessing; None for clean readings.
        seed: seed of the corruption's noise.
        on_progress: callback for the progress.

    Raises:
        InputError: the dataset cannot be read, the corruption is another modality's, or no sample has a car.
    """
    if corruption is not None and corruption.modality is not modality:
        raise InputError("corruption", f"{corruption.kind} of {corruption.modality}", f"one of {modality}")
    source = ShardDataset(folder, split)
    stations = _stations(folder, split, source.nodes)
    images, places, positions = [], [], []
    for index in range(len(source)):
        if on_progress is not None and index % 50 == 0:
            on_progress(f"read {split}", index / len(source))
        sample = source[index]
        if not np.isfinite(sample.target.position_m[:2]).all():
            continue
        nodes = []
        for number, node in enumerate(source.nodes):
            data = sample.readings[SensorKey(node, modality)]
            if corruption is not None:
                data = corruption.apply(data, 1.0, np.random.default_rng([seed, len(split), index, number]))
            nodes.append(_image(data, modality, sample.audio_rate_hz or 0))
        images.append(torch.stack(nodes))
        places.append(stations[index])
        positions.append(sample.target.position_m[:2])
    if not images:
        raise InputError(f"{folder}/{split}", "no sample with a car", "at least one")
    return ProbeData(torch.stack(images), torch.from_numpy(np.stack(places)), torch.tensor(positions))


def _image(data: Array, modality: Modality, rate_hz: int) -> Tensor:
    """Preprocess a reading to float16 (C, H, W), which is finer than any sensor and halves the memory."""
    config = _sound(rate_hz, len(data)) if modality is Modality.AUDIO else _IMAGES[modality]
    return input_tensor(data, config).half()


@lru_cache(maxsize=2)
def _sound(rate_hz: int, samples: int) -> AudioInput:
    """Return the input description of the whole window of the simulated microphone array."""
    places = tuple((float(x), float(y)) for x, y, _ in array_shape())
    return AudioInput(sample_rate_hz=rate_hz, channels=len(places), fft=_FFT, hop=_HOP, mels=BANDS,
                      frames=1 + (samples - _FFT) // _HOP, microphones_m=places, azimuths=DIRECTIONS)


def _stations(folder: Path, split: str, nodes: list[str]) -> Floats:
    """Return the positions of the sensor nodes for each sample of a split, (samples, nodes, 3)."""
    rows = []
    for name in shards.read_index(folder)[0][split]:
        arrays, meta = shards.read(folder, split, name)
        rows.append(np.broadcast_to(_places(meta, nodes, folder / split / name), (len(arrays["label"]), len(nodes), 3)))
    return np.concatenate(rows).astype(np.float32)


def _places(meta: dict[str, Any], nodes: list[str], shard: Path) -> Floats:
    poses = meta.get("node_poses") or {}
    if not set(nodes) <= set(poses):
        field, required = f"{shard}: node_poses", f"poses of {', '.join(nodes)}"
        raise InputError(field, ", ".join(poses), required) if poses else InputError.missing(field, required)
    found = [parse_config(NodePose, poses[node], f"{shard}: node_poses.{node}") for node in nodes]
    return np.array([pose.numbers[:3] for pose in found], np.float32)
