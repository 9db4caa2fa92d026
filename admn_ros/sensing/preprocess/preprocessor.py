# SPDX-License-Identifier: Apache-2.0
"""A frame to the sample of a model, with the tensors of readings kept for later frames."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from admn_ros.config import ModelConfig
from admn_ros.errors import ConfigError, InputError
from admn_ros.sample import Array, MultimodalSample, SensorFrame, SensorKey
from admn_ros.sensing.preprocess.tensors import input_tensor

_KEPT = 4
"""Number of results kept per input. A waiting frame holds readings that are a few periods old."""
_MAX_UNUSED = 4
"""Maximum number of readings of an input that are prepared between two frames."""


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
    inputs = {m: np.empty((len(row), *c.input.shape), np.float32) for m, c in config.modalities.items()}
    present = {m: torch.zeros(len(row), dtype=torch.bool) for m in inputs}
    for key, data in readings.items():
        try:
            tensor = input_tensor(data, config.modalities[key.modality].input) if make_tensor is None \
                else make_tensor(key, data)
        except InputError as error:
            raise error.within(str(key)) from error
        inputs[key.modality][row[key.node]] = tensor.numpy()
        present[key.modality][row[key.node]] = True
    for modality, there in present.items():
        inputs[modality][~there.numpy()] = 0
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
