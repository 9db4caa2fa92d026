# SPDX-License-Identifier: Apache-2.0
"""What all dataset readers have in common: samples of decoded readings, and the way from there to the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch

from admn_ros.config import AudioInput, ModelConfig, NodePose
from admn_ros.errors import InputError
from admn_ros.sample import Array, Availability, Modality, MultimodalSample, Reading, SensorFrame, SensorKey, Target
from admn_ros.sensing.decode.audio import resample
from admn_ros.sensing.preprocess.preprocessor import Preprocessor


@dataclass(frozen=True)
class LabeledReadings:
    """One sample of a dataset.

    readings: the arrays of `admn_ros.sample.Reading` for each input that has one; what is missing is
        absent. In datasets of clips (MM-Fi, AVE) each frame stands in the place of a sensor node.
    audio_rate_hz: of the audio readings; None when there are none.
    scene: whether corruptions of the outdoors are realistic.
    poses: where the sensor nodes stood; None: not known, and the model's own hold.
    """

    readings: Mapping[SensorKey, Array]
    target: Target
    stamp_ns: int = 0
    audio_rate_hz: int | None = None
    scene: Literal["indoor", "outdoor"] = "indoor"
    poses: Mapping[str, NodePose] | None = None

    def sample(self, config: ModelConfig) -> MultimodalSample:
        """`to_sample` of these readings."""
        sample = to_sample(config, self.readings, self.target, stamp_ns=self.stamp_ns,
                           audio_rate_hz=self.audio_rate_hz)
        if self.poses is None:
            return sample
        # A node of the model that the dataset does not have is absent, and its pose means nothing.
        poses = [self.poses.get(node, NodePose(x_m=0.0, y_m=0.0)) for node in config.sensor_nodes]
        return replace(sample, poses=torch.tensor([pose.numbers for pose in poses]))


class SampleSource(Protocol):
    """A dataset: a length, and samples by number. A sample that cannot be read is one `InputError`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabeledReadings: ...


def to_sample(config: ModelConfig, readings: Mapping[SensorKey, Array], target: Target | None, *, stamp_ns: int = 0,
              audio_rate_hz: int | None = None) -> MultimodalSample:
    """Readings to the tensors of a model. Inputs that the model does not have are left out.

    Args:
        config: the model's description.
        readings: by input; absent ones are missing.
        target: ground truth, put into the sample.
        stamp_ns: of the sample.
        audio_rate_hz: of the audio readings; they are resampled to the model's rate. None: they have it.

    Raises:
        InputError: none of the readings is an input of the model, or one does not fit its modality.
    """
    known = {k: x for k, x in readings.items() if k.node in config.sensor_nodes and k.modality in config.modalities}
    if readings and not known:
        raise InputError("readings", ", ".join(map(str, readings)),
                         f"{', '.join(map(str, config.modalities))} at {', '.join(config.sensor_nodes)}")
    audio = config.modalities.get(Modality.AUDIO)
    if audio_rate_hz is not None and audio is not None and isinstance(audio.input, AudioInput):
        known = {k: resample(x.astype(np.float32, copy=False), audio_rate_hz, audio.input.sample_rate_hz)
                 if k.modality is Modality.AUDIO else x
                 for k, x in known.items()}
    reference = next(iter(known), SensorKey(config.sensor_nodes[0], next(iter(config.modalities))))
    frame = SensorFrame(stamp_ns, reference,
                        {k: Reading(Availability.FRESH, x, stamp_ns) for k, x in known.items()})
    return replace(Preprocessor(config)(frame), target=target)


def check_index(index: int, length: int) -> int:
    """Index from the front; negative ones count from the end.

    Raises:
        IndexError: outside, which also ends a loop over the source.
    """
    if not -length <= index < length:
        raise IndexError(index)
    return index % length
