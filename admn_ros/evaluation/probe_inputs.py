# SPDX-License-Identifier: Apache-2.0
"""One modality of a simulated dataset as tensors in memory, for the probes of `probe`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from admn_ros.config import AudioInput, DepthInput, InputConfig, RadarInput, RgbInput
from admn_ros.datasets.simulated import SimulatedDataset
from admn_ros.errors import InputError
from admn_ros.recordings import shards
from admn_ros.sample import Array, Modality, SensorKey
from admn_ros.sensing.corruption import Corruption
from admn_ros.sensing.mel import mel_filters
from admn_ros.sensing.preprocess import audio_tensor, input_tensor
from admn_ros.simulation.room_acoustics import SOUND_MPS, array_shape

Floats = npt.NDArray[np.float32]
Progress = Callable[[str, float], None]
"""Called with what is being done and how much of it, 0 to 1."""

BANDS, DIRECTIONS, SEGMENTS = 32, 48, 3
"""Sound: mel bands, azimuths and parts of the window in `sound_tensor`."""
_FFT, _HOP = 512, 256
_DEPTH, _AROUND = DepthInput(height=60, width=80, channels=1), 9
_IMAGES: dict[Modality, InputConfig] = {
    Modality.RGB: RgbInput(height=64, width=96),
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
    source = SimulatedDataset(folder, split)
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


def sound_tensor(sound: Floats, rate_hz: int) -> Tensor:
    """Sound float32 (samples, 4) of the simulated array to float32 (2 * SEGMENTS, BANDS, DIRECTIONS).

    For each third of the window two pictures of mel band over azimuth: how well the band's phases fit a
    source there (GCC-PHAT of the six pairs, steered and summed: 1 is a perfect fit), and the band's
    normalized log-mel level, the same for every azimuth. Levels alone know no direction, phases no distance.
    Azimuths go all the way round, counter-clockwise from behind; 0, straight ahead, is in the middle.
    """
    frames = np.lib.stride_tricks.sliding_window_view(sound.T, _FFT, axis=1)[:, ::_HOP]
    spectrum = np.fft.rfft(frames * np.hanning(_FFT).astype(np.float32), axis=-1).astype(np.complex64)
    parts = np.array_split(np.arange(spectrum.shape[1]), SEGMENTS)
    first, second = (list(side) for side in zip(*combinations(range(len(spectrum)), 2), strict=True))
    cross = np.stack([np.einsum("ptf,ptf->fp", spectrum[first][:, part], spectrum[second][:, part].conj())
                      for part in parts], axis=-1)
    cross /= np.maximum(np.abs(cross), np.float32(1e-12))
    # In torch, whose threads `probe` holds back; NumPy's would fight for the cores.
    fit = torch.bmm(_steering(rate_hz), torch.from_numpy(np.concatenate([cross.real, cross.imag], axis=1)))
    weights = mel_filters(rate_hz, _FFT, BANDS)
    weights = weights / (len(first) * weights.sum(axis=1, keepdims=True))
    fits = torch.tensordot(torch.from_numpy(weights), fit, dims=1)
    mel = AudioInput(sample_rate_hz=rate_hz, channels=len(spectrum), fft=_FFT, hop=_HOP, mels=BANDS,
                     frames=spectrum.shape[1])
    levels = audio_tensor(sound, mel).numpy().mean(axis=0)
    heard = torch.from_numpy(np.stack([levels[:, part].mean(axis=1) for part in parts], axis=-1))
    return torch.cat([fits, heard[:, None].expand(-1, DIRECTIONS, -1)], dim=2).permute(2, 0, 1).contiguous()


@lru_cache(maxsize=2)
def _steering(rate_hz: int) -> Tensor:
    """What a plane wave's phases between microphones weigh: (frequencies, azimuths, 2 * pairs), real, imaginary."""
    azimuth = -np.pi + (np.arange(DIRECTIONS) + 0.5) * 2 * np.pi / DIRECTIONS
    ahead_s = array_shape()[:, :2] @ np.stack([np.cos(azimuth), np.sin(azimuth)]) / SOUND_MPS
    lead_s = np.stack([ahead_s[i] - ahead_s[j] for i, j in combinations(range(len(ahead_s)), 2)], axis=-1)
    phase = 2 * np.pi * np.fft.rfftfreq(_FFT, 1 / rate_hz)[:, None, None] * lead_s
    return torch.from_numpy(np.concatenate([np.cos(phase), np.sin(phase)], axis=-1).astype(np.float32))


def relief_tensor(depth: Tensor, max_m: float) -> Tensor:
    """Preprocessed depth float32 (1, H, W) to float32 (3, H, W): as it is, where it is valid, and what stands out.

    What stands out is inverse depth less its mean over the valid pixels around, in tenths of 1/m: about 0 on every
    plane, as inverse depth is linear there. Holes, which a network would take for edges, count nowhere.
    """
    valid = (depth > 0).float()
    inverse = valid / (max_m * depth).clamp_min(1e-3)
    near, there = (functional.avg_pool2d(x[None], _AROUND, 1, _AROUND // 2)[0] for x in (inverse, valid))
    standing = valid * (inverse - near / there.clamp_min(1e-6))
    return torch.cat([depth, valid, (10 * standing).clamp(-4, 4)])


def _image(data: Array, modality: Modality, rate_hz: int) -> Tensor:
    """float16 (C, H, W) of a reading; half the memory, and finer than any sensor."""
    if modality is Modality.AUDIO:
        return sound_tensor(data.astype(np.float32, copy=False), rate_hz).half()
    if modality is Modality.DEPTH:
        return relief_tensor(input_tensor(data, _DEPTH), _DEPTH.max_m).half()
    return input_tensor(data, _IMAGES[modality]).half()


def _stations(folder: Path, split: str, nodes: list[str]) -> Floats:
    """Places of the sensor nodes for each sample of a split: float32 (samples, nodes, 3)."""
    rows = []
    for name in shards.read_index(folder)[0][split]:
        arrays, meta = shards.read(folder, split, name)
        rows.append(np.broadcast_to(_places(meta, nodes, folder / split / name), (len(arrays["label"]), len(nodes), 3)))
    return np.concatenate(rows).astype(np.float32)


def _places(meta: dict[str, Any], nodes: list[str], shard: Path) -> Floats:
    try:
        places = np.array([meta["stations_m"][node] for node in nodes], np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{shard}: stations_m", meta.get("stations_m"), f"x, y, z of {', '.join(nodes)}") from error
    if places.shape != (len(nodes), 3) or not np.isfinite(places).all():
        raise InputError(f"{shard}: stations_m", meta["stations_m"], f"x, y, z of {', '.join(nodes)}")
    return places
