# SPDX-License-Identifier: Apache-2.0
"""Conversion of readings to the input tensors of the network, by one rule per modality from the model's config.

The node, datasets, training and evaluation share these functions. They use NumPy and OpenCV, because threads of torch
stall for tens of milliseconds per image when other processes use the same cores.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from admn_ros.config import AudioInput, DepthInput, InputConfig, ModelConfig, RadarInput, RgbInput
from admn_ros.errors import ConfigError, InputError
from admn_ros.sample import MOST_CHANNELS, Array, MultimodalSample, SensorFrame, SensorKey
from admn_ros.sensing.decode.audio import resample
from admn_ros.sensing.preprocess.mel import log_mel
from admn_ros.sensing.preprocess.sound_direction import direction_map

_SMALLEST_WEIGHT = 1e-4
_AROUND = 9
"""Side of the neighbourhood of `_relief` in pixels."""
_KEPT = 4
"""Number of results kept per input. A waiting frame holds readings that are a few periods old."""
_MAX_UNUSED = 4
"""Maximum number of readings of an input that are prepared between two frames."""


def rgb_tensor(image: Array, config: RgbInput) -> Tensor:
    """Convert an image uint8 (H, W, 3), RGB order, to float32 (3, height, width): ([0, 1] values - mean) / std.

    The image is resized without keeping the aspect ratio, by area if it shrinks, else bilinearly, and rounded to uint8.

    Raises:
        InputError: the image has another type or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise _unfit("rgb", image, "uint8 (H, W, 3)")
    planes = _resize(image, config.height, config.width).transpose(2, 0, 1).astype(np.float32, order="C")
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (config.mean, config.std))
    planes *= 1.0 / (255.0 * std)
    planes -= mean / std
    return torch.from_numpy(planes)


def depth_tensor(depth: Array, config: DepthInput) -> Tensor:
    """Convert depth float32 (H, W) in metres to float32 (channels, height, width) in [min_m, max_m] / max_m.

    Invalid pixels (NaN, infinite, zero, negative) are excluded: a new pixel is the mean of the valid pixels under it,
    weighted by area, and 0 if there are none.

    Raises:
        InputError: the depth has another type or shape.
    """
    _check_map("depth", depth)
    metres = depth.astype(np.float32, copy=False)
    valid = (metres > 0) & (metres < np.inf)
    weights = valid.astype(np.float32)
    clipped = np.clip(cv2.copyTo(metres, valid.view(np.uint8)), config.min_m, config.max_m, dtype=np.float32)
    # Two channels at once take half of the time.
    resized = _resize(cv2.merge((clipped * weights, weights)), config.height, config.width)
    summed, weights = (np.ascontiguousarray(resized[..., k]) for k in (0, 1))
    seen = weights > _SMALLEST_WEIGHT
    mean = np.divide(summed, weights, out=np.zeros_like(summed), where=seen)
    # Rounding of the sums can leave the range.
    mean[seen] = np.clip(mean[seen], config.min_m, config.max_m)
    if config.relief:
        planes = _relief(mean, seen, config.max_m)
        planes -= np.array(config.mean, np.float32)[:, None, None]
        planes /= np.array(config.std, np.float32)[:, None, None]
        return torch.from_numpy(planes)
    return _repeat(mean / np.float32(config.max_m), config.channels)


def radar_tensor(heatmap: Array, config: RadarInput) -> Tensor:
    """Convert magnitudes float32 (rows, columns) to float32 (channels, height, width).

    The values are (log1p(x / floor) - mean) / std, resized by area if the map shrinks, else bilinearly. NaN and
    negative cells count as 0, and cells too large for float32 as its largest value.

    Raises:
        InputError: the map has another type or shape.
    """
    check_heatmap(heatmap, config)
    largest = float(np.finfo(np.float32).max)
    magnitude = np.nan_to_num(heatmap[:config.rows].astype(np.float64), nan=0.0, posinf=largest, neginf=0.0)
    compressed = np.log1p(np.minimum(np.maximum(magnitude, 0.0) / config.floor, largest))
    normalized = ((compressed - config.mean) / config.std).astype(np.float32)
    return _repeat(_resize(normalized, config.height, config.width), config.channels)


def check_heatmap(heatmap: Array, config: RadarInput) -> None:
    """Check type and shape of a radar heatmap.

    A map that has too few rows for `rows`, but would have enough if it were transposed, is transposed.

    Raises:
        InputError: the map has another type or shape.
    """
    _check_map("radar", heatmap)
    if config.rows is not None and heatmap.shape[0] < config.rows <= heatmap.shape[1]:
        raise _unfit("radar", heatmap, f"(rows, columns), with ranges along the rows; the model uses {config.rows}")


def audio_tensor(samples: Array, config: AudioInput, sample_rate_hz: int | None = None) -> Tensor:
    """Convert sound to a normalized log-mel spectrogram float32 (channels, mels, frames).

    With `microphones_m` the result is a direction map (6, mels, azimuths), see
    `admn_ros.sensing.preprocess.sound_direction`.

    The newest fft + (frames - 1) * hop samples are used, and the last frame ends with the last sample. A shorter
    recording is preceded by silence. Samples beyond full scale are clipped. Of more channels than the model has, the
    first are used; fewer are repeated in turn.

    Args:
        samples: float32 (samples, channels).
        config: audio input of the model.
        sample_rate_hz: sample rate of the sound in Hz; None for the model's rate. The sound is resampled if needed.

    Raises:
        InputError: the sound has another type or shape (as a transposed one), or a sample is not finite.
    """
    if samples.dtype.kind != "f" or samples.ndim != 2 or not 0 < samples.shape[1] <= MOST_CHANNELS:
        raise _unfit("audio", samples, f"float32 (samples, channels), 1 to {MOST_CHANNELS} channels")
    if 0 < len(samples) < samples.shape[1]:
        raise _unfit("audio", samples, "float32 (samples, channels), with more samples than channels")
    sound: npt.NDArray[np.float32] = samples.astype(np.float32, copy=False)
    if not np.isfinite(sound).all():
        raise InputError("audio", "samples that are NaN or infinite", "finite samples")
    if sample_rate_hz is not None and sample_rate_hz != config.sample_rate_hz:
        sound = resample(sound, sample_rate_hz, config.sample_rate_hz)
    length = config.fft + (config.frames - 1) * config.hop
    used = sound[-length:, np.arange(config.channels) % sound.shape[1]]
    padded = np.zeros((config.channels, length), np.float32)
    padded[:, length - len(used):] = np.clip(used.T, -1.0, 1.0)
    if config.microphones_m:
        return torch.from_numpy(direction_map(padded, config))
    spectrogram = log_mel(padded, config.sample_rate_hz, config.fft, config.hop, config.mels)
    return torch.from_numpy((spectrogram - np.float32(config.mean)) / np.float32(config.std))


def input_tensor(data: Array, config: InputConfig) -> Tensor:
    """Convert a reading, an array as in `sample.Reading`, to float32 of shape `config.shape`.

    Audio must be at the model's sample rate.

    Raises:
        InputError: the reading does not fit its modality.
    """
    if isinstance(config, RgbInput):
        return rgb_tensor(data, config)
    if isinstance(config, DepthInput):
        return depth_tensor(data, config)
    if isinstance(config, RadarInput):
        return radar_tensor(data, config)
    return audio_tensor(data, config)


def check_inputs(config: ModelConfig, keys: Iterable[SensorKey]) -> None:
    """Check that a model has all inputs of a deployment.

    Raises:
        ConfigError: the model does not have a sensor node or modality.
    """
    for key in keys:
        if key.node not in config.sensor_nodes:
            raise ConfigError(f"input {key}", f"sensor node {key.node}",
                              f"the model's sensor nodes: {', '.join(config.sensor_nodes)}")
        if key.modality not in config.modalities:
            raise ConfigError(f"input {key}", f"modality {key.modality}",
                              f"the model's modalities: {', '.join(map(str, config.modalities))}")


def preprocess(config: ModelConfig, readings: Mapping[SensorKey, Array], stamp_ns: int = 0,
               make_tensor: Callable[[SensorKey, Array], Tensor] | None = None) -> MultimodalSample:
    """Make the sample of a frame.

    Rows of the tensors run over the model's sensor nodes in order. The row of a missing input is zero and not present.

    Args:
        config: description of the model.
        readings: readings by input, without the missing ones; audio at the model's sample rate.
        stamp_ns: stamp of the sample.
        make_tensor: maps an input and its reading to a tensor; None for `input_tensor`.

    Raises:
        InputError: a reading does not fit its modality; the field begins with the input (`node1/rgb`).
    """
    row = {node: number for number, node in enumerate(config.sensor_nodes)}
    inputs = {m: np.zeros((len(row), *c.input.shape), np.float32) for m, c in config.modalities.items()}
    present = {m: torch.zeros(len(row), dtype=torch.bool) for m in inputs}
    for key, data in readings.items():
        try:
            tensor = input_tensor(data, config.modalities[key.modality].input) if make_tensor is None \
                else make_tensor(key, data)
        except InputError as error:
            raise error.within(str(key)) from error
        inputs[key.modality][row[key.node]] = tensor.numpy()
        present[key.modality][row[key.node]] = True
    return MultimodalSample({m: torch.from_numpy(x) for m, x in inputs.items()}, present, stamp_ns)


class _Prepared(NamedTuple):
    """The tensor of a reading; it does not keep the reading alive."""

    of: weakref.ref[Array]
    tensor: Tensor


class Preprocessor:
    """Converts sensor frames to samples for one model, as `preprocess` does, and caches the tensors.

    The last few results of each input are kept. A reading that is held for many frames is converted once, and a reading
    that arrives before its frame is complete can be converted in the meantime (`ahead`, from any thread). Readings are
    identified by the identity of their arrays, which must not be modified.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._prepared: dict[SensorKey, tuple[_Prepared, ...]] = {}
        self._unused: dict[SensorKey, int] = {}

    def __call__(self, frame: SensorFrame) -> MultimodalSample:
        """Make the sample of a frame; audio at the model's sample rate.

        Raises:
            ConfigError: the model does not have an input of the frame.
            InputError: a reading does not fit its modality; the field begins with the input (`node1/rgb`).
        """
        check_inputs(self._config, frame.readings)
        there = {key: r.data for key, r in frame.readings.items() if r.data is not None}
        return preprocess(self._config, there, frame.stamp_ns, self._used)

    def ahead(self, key: SensorKey, data: Array) -> None:
        """Convert a reading that a later frame will probably use. Errors are raised by that frame.

        After a few readings that no frame has used, nothing is converted until a frame uses one: the input is much
        faster than the frames.
        """
        unused = self._unused.get(key, 0)
        if unused >= _MAX_UNUSED:
            return
        self._unused[key] = unused + 1
        with suppress(InputError):
            self._tensor(key, data)

    def _used(self, key: SensorKey, data: Array) -> Tensor:
        tensor = self._tensor(key, data)
        self._unused[key] = 0
        return tensor

    def _tensor(self, key: SensorKey, data: Array) -> Tensor:
        """Return the tensor of a reading, new or kept, which must not be modified."""
        kept = self._prepared.get(key, ())
        for prepared in kept:
            if prepared.of() is data:
                return prepared.tensor
        tensor = input_tensor(data, self._config.modalities[key.modality].input)
        # A new tuple, because another thread may be reading the old one.
        self._prepared[key] = (*kept[1 - _KEPT:], _Prepared(weakref.ref(data), tensor))
        return tensor


def _relief(metres: npt.NDArray[np.float32], seen: npt.NDArray[np.bool_], max_m: float) -> npt.NDArray[np.float32]:
    """Return depth, validity and relief of a depth image as float32 (3, H, W).

    The relief is inverse depth minus its mean over the valid pixels of the neighbourhood, in tenths of 1/m. It is about
    0 on every plane, where inverse depth is linear. Holes, which a network would treat as edges, are excluded.
    """
    valid = seen.astype(np.float32)
    inverse = valid / np.maximum(metres, np.float32(1e-3))
    near, there = (cv2.blur(x, (_AROUND, _AROUND), borderType=cv2.BORDER_CONSTANT) for x in (inverse, valid))
    standing = valid * (inverse - near / np.maximum(there, np.float32(1e-6)))
    return np.stack([metres / np.float32(max_m), valid, np.clip(10 * standing, -4, 4)]).astype(np.float32)


def _check_map(name: str, data: Array) -> None:
    if data.dtype.kind != "f" or data.ndim != 2 or 0 in data.shape:
        raise _unfit(name, data, "float32 (rows, columns)")


def _unfit(name: str, data: Array, allowed: str) -> InputError:
    return InputError(name, f"{data.dtype} {data.shape}", allowed)


def _resize(pixels: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    rows, columns = pixels.shape[:2]
    if (rows, columns) == (height, width):
        return pixels
    # OpenCV's area method is a mean only when no side grows.
    shrinks = height <= rows and width <= columns
    resized: npt.NDArray[Any] = cv2.resize(pixels, (width, height),
                                           interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized


def _repeat(image: npt.NDArray[np.float32], channels: int) -> Tensor:
    return torch.from_numpy(np.repeat(image[None], channels, axis=0))
