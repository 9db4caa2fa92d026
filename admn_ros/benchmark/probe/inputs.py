# SPDX-License-Identifier: Apache-2.0
"""One modality of a simulated dataset as tensors in memory, for the probes of `probe`."""

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
from admn_ros.sensing.preprocess.preprocessor import input_tensor
from admn_ros.simulation.sound.room_acoustics import array_shape

Floats = npt.NDArray[np.float32]
Progress = Callable[[str, float], None]
"""Called with what is being done and how much of it, 0 to 1."""

BANDS, DIRECTIONS = 32, 48
"""Sound: mel bands and azimuths."""
_FFT, _HOP = 512, 256
_IMAGES: dict[Modality, InputConfig] = {
    Modality.RGB: RgbInput(height=64, width=96),
    Modality.DEPTH: DepthInput(height=60, width=80, relief=True),
    Modality.RADAR: RadarInput(height=96, width=64),
}


@dataclass(frozen=True)
class ProbeData:
    """The samples of a split that have a car.

    images: float16 (samples, nodes, C, H, W).
    stations: float32 (samples, nodes, 3), places of the sensor nodes in `map`, metres.
    position: float32 (samples, 2), the car in `map`, metres.
    """

    images: Tensor
    stations: Tensor
    position: Tensor

    def __len__(self) -> int:
        return len(self.position)


def load_split(folder: Path, split: str, modality: Modality, corruption: Corruption | None = None, seed: int = 0,
               progress: Progress | None = None) -> ProbeData:
    """Read and preprocess one modality of a split; samples without a car are left out.

    Args:
        folder: of `make_dataset`.
        split: its name.
        modality: which.
        corruption: applied with severity 1 to every reading before preprocessing; None for clean.
        seed: of the corruption's noise.
        progress: called now and then.

    Raises:
        InputError: the dataset cannot be read, the corruption is another modality's, or no sample has a car.
    """
    if corruption is not None and corruption.modality is not modality:
        raise InputError("corruption", f"{corruption.kind} of {corruption.modality}", f"one of {modality}")
    source = ShardDataset(folder, split)
    stations = _stations(folder, split, source.nodes)
    images, places, positions = [], [], []
    for index in range(len(source)):
        if progress is not None and index % 50 == 0:
            progress(f"read {split}", index / len(source))
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
    """float16 (C, H, W) of a reading; half the memory, and finer than any sensor."""
    config = _sound(rate_hz, len(data)) if modality is Modality.AUDIO else _IMAGES[modality]
    return input_tensor(data, config).half()


@lru_cache(maxsize=2)
def _sound(rate_hz: int, samples: int) -> AudioInput:
    """The whole window of the simulated array."""
    places = tuple((float(x), float(y)) for x, y, _ in array_shape())
    return AudioInput(sample_rate_hz=rate_hz, channels=len(places), fft=_FFT, hop=_HOP, mels=BANDS,
                      frames=1 + (samples - _FFT) // _HOP, microphones_m=places, azimuths=DIRECTIONS)


def _stations(folder: Path, split: str, nodes: list[str]) -> Floats:
    """Places of the sensor nodes for each sample of a split: float32 (samples, nodes, 3)."""
    rows = []
    for name in shards.read_index(folder)[0][split]:
        arrays, meta = shards.read(folder, split, name)
        rows.append(np.broadcast_to(_places(meta, nodes, folder / split / name), (len(arrays["label"]), len(nodes), 3)))
    return np.concatenate(rows).astype(np.float32)


def _places(meta: dict[str, Any], nodes: list[str], shard: Path) -> Floats:
    poses = meta.get("node_poses") or {}
    if not set(nodes) <= set(poses):
        raise InputError(f"{shard}: node_poses", ", ".join(poses) or "nothing", f"poses of {', '.join(nodes)}")
    found = [parse_config(NodePose, poses[node], f"{shard}: node_poses.{node}") for node in nodes]
    return np.array([pose.numbers[:3] for pose in found], np.float32)
