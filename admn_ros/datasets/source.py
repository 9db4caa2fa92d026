# SPDX-License-Identifier: Apache-2.0
"""Samples of datasets: decoded readings, their conversion to network inputs, and views of a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch

from admn_ros.config import AudioInput, ModelConfig, NodePose
from admn_ros.errors import InputError
from admn_ros.sample import Array, Modality, MultimodalSample, SensorKey, Target
from admn_ros.sensing.corruption.draws import Environment
from admn_ros.sensing.decode.audio import resample
from admn_ros.sensing.preprocess.preprocessor import preprocess


@dataclass(frozen=True)
class LabeledReadings:
    """One sample of a dataset.

    Attributes:
        readings: array of each input, as in `admn_ros.sample.Reading`, without the missing ones. In datasets of clips
            (MM-Fi, AVE) each frame of the clip takes the place of a sensor node.
        target: ground truth.
        stamp_ns: stamp of the sample in nanoseconds.
        audio_rate_hz: sample rate of the audio readings in Hz; None without audio, or if it is the model's rate.
        scene: environment, which determines the realistic corruptions.
        poses: poses of the sensor nodes; None if unknown, and the poses of the model apply.
        tensors: inputs that the dataset stores preprocessed, float32 in the shape of the model's input.
    """

    readings: Mapping[SensorKey, Array]
    target: Target
    stamp_ns: int = 0
    audio_rate_hz: int | None = None
    scene: Environment = "indoor"
    poses: Mapping[str, NodePose] | None = None
    tensors: Mapping[SensorKey, Array] = field(default_factory=dict)

    def inputs_of(self, config: ModelConfig) -> LabeledReadings:
        """Return the sample with only those readings that are inputs of a model.

        Raises:
            InputError: there are readings, but none is an input of the model.
        """
        readings, tensors = ({k: x for k, x in found.items()
                              if k.node in config.sensor_nodes and k.modality in config.modalities}
                             for found in (self.readings, self.tensors))
        if not (readings or tensors) and (self.readings or self.tensors):
            raise InputError("readings", ", ".join(map(str, (*self.readings, *self.tensors))),
                             f"{', '.join(map(str, config.modalities))} at {', '.join(config.sensor_nodes)}")
        return replace(self, readings=readings, tensors=tensors)

    def sample(self, config: ModelConfig) -> MultimodalSample:
        """Convert to the input tensors of a model. Readings that are no input of the model are left out.

        Raises:
            InputError: none of the readings is an input of the model, or one does not fit its modality.
        """
        own = self.inputs_of(config)
        audio = config.modalities.get(Modality.AUDIO)
        readings = own.readings
        if self.audio_rate_hz is not None and audio is not None and isinstance(audio.input, AudioInput):
            rate_hz = audio.input.sample_rate_hz
            readings = {k: resample(x.astype(np.float32, copy=False), self.audio_rate_hz, rate_hz)
                        if k.modality is Modality.AUDIO else x for k, x in readings.items()}
        sample = replace(preprocess(config, readings, self.stamp_ns), target=self.target)
        for key, tensor in own.tensors.items():
            if config.modalities[key.modality].input.shape != tensor.shape:
                raise InputError(str(key), f"a preprocessed input of shape {tensor.shape}",
                                 f"{config.modalities[key.modality].input.shape}, the shape of the model's input")
            row = config.sensor_nodes.index(key.node)
            sample.inputs[key.modality][row] = torch.from_numpy(tensor)
            sample.present[key.modality][row] = True
        if self.poses is None:
            return sample
        # A node of the model that the dataset does not have is absent, and its pose means nothing.
        poses = [self.poses.get(node, NodePose(x_m=0.0, y_m=0.0)) for node in config.sensor_nodes]
        return replace(sample, poses=torch.tensor([pose.numbers for pose in poses]))


class SampleSource(Protocol):
    """A dataset: its length, and its samples by number. A sample that cannot be read raises one `InputError`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabeledReadings: ...


@runtime_checkable
class RecordedSource(SampleSource, Protocol):
    """A source of several recordings."""

    def recording(self, index: int) -> str:
        """Return the name of the recording that a sample belongs to."""
        ...


@runtime_checkable
class SequentialSource(SampleSource, Protocol):
    """A source in which neighbouring samples, within a recording if it names them, are consecutive frames."""

    consecutive: Literal[True]


@runtime_checkable
class ClipSource(SampleSource, Protocol):
    """A source whose samples are windows of longer clips; by number, the first window."""

    def random_clip(self, index: int, rng: np.random.Generator) -> LabeledReadings:
        """Read a random window of a clip."""
        ...


@runtime_checkable
class SelectiveSource(SampleSource, Protocol):
    """A source that need not read what a model does not use."""

    def read_only(self, nodes: Sequence[str]) -> None:
        """Read no other sensor nodes than these from now on."""
        ...


class SourceView:
    """Samples of another source: some of them, in another order, or with other readings.

    The base class shows the source as it is.
    """

    def __init__(self, source: SampleSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> LabeledReadings:
        """Return one sample.

        Raises:
            InputError: the source cannot read the sample.
            IndexError: there is no such sample.
        """
        index = check_index(index, len(self))
        return self.view(self.source[self.origin(index)], index)

    def origin(self, index: int) -> int:
        """Return the number that a sample has in the source."""
        return index

    def view(self, sample: LabeledReadings, index: int) -> LabeledReadings:
        """Return a sample of the source as sample `index` shows it."""
        return sample


class RandomWindows(SourceView):
    """Random windows of the clips of a source. The window of a sample depends on the seed and its number alone.

    Raises:
        InputError: the samples of the source are no windows of clips.
    """

    def __init__(self, source: SampleSource, seed: int) -> None:
        super().__init__(source)
        self._seed = seed
        clips, _ = _innermost(source, 0)
        if not isinstance(clips, ClipSource):
            raise InputError("windows", "random", f"first; the samples of {type(clips).__name__} have one window each")

    def __getitem__(self, index: int) -> LabeledReadings:
        """Return one sample. Raises as `SourceView`."""
        index = check_index(index, len(self))
        return _random_window(self.source, index, np.random.default_rng([self._seed, index]))


def _random_window(source: SampleSource, index: int, rng: np.random.Generator) -> LabeledReadings:
    if isinstance(source, SourceView):
        return source.view(_random_window(source.source, source.origin(index), rng), index)
    assert isinstance(source, ClipSource)
    return source.random_clip(index, rng)


class ModelInputs(SourceView):
    """A source with only the inputs of a model, so that nothing else is read, corrupted or converted in vain."""

    def __init__(self, source: SampleSource, model: ModelConfig) -> None:
        super().__init__(source)
        self._model = model
        if isinstance(source, SelectiveSource):
            source.read_only(model.sensor_nodes)

    def view(self, sample: LabeledReadings, index: int) -> LabeledReadings:
        """See `SourceView`."""
        return sample.inputs_of(self._model)


class JoinedSource:
    """Samples of several sources, one after the other."""

    def __init__(self, parts: Sequence[SampleSource]) -> None:
        self._parts = tuple(parts)

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __getitem__(self, index: int) -> LabeledReadings:
        """Return one sample. Raises as `SourceView`."""
        index = check_index(index, len(self))
        for part in self._parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise AssertionError("check_index allows no other number")


class Spread(SourceView):
    """At most `limit` samples of a source, evenly spread over it."""

    def __init__(self, source: SampleSource, limit: int) -> None:
        super().__init__(source)
        self._origins = spread_indices(len(source), limit)

    def __len__(self) -> int:
        return len(self._origins)

    def origin(self, index: int) -> int:
        """See `SourceView`."""
        return self._origins[index]


def spread_indices(length: int, limit: int | None) -> list[int]:
    """Return at most `limit` of the numbers below `length`, evenly spread; None for all of them."""
    found: list[int] = np.linspace(0, length - 1, min(limit or length, length)).round().astype(int).tolist()
    return found


def recording_of(source: SampleSource, index: int) -> str | None:
    """Return the name of the recording that a sample belongs to, or None if the source does not tell."""
    source, index = _innermost(source, index)
    return source.recording(index) if isinstance(source, RecordedSource) else None


def frame_number(source: SampleSource, index: int) -> int:
    """Return the number of a sample among the consecutive frames of a source.

    Raises:
        InputError: neighbouring samples of the source are not consecutive frames.
    """
    source, index = _innermost(source, index)
    if not isinstance(source, SequentialSource):
        raise InputError("dataset", f"{type(source).__name__}, single samples", "consecutive frames of recordings")
    return index


def _innermost(source: SampleSource, index: int) -> tuple[SampleSource, int]:
    """Return the source that views show, and the number that a sample has there."""
    if not isinstance(source, SourceView):
        return source, index
    return _innermost(source.source, source.origin(index))


def earlier_sample(source: SampleSource, index: int, frames: int) -> LabeledReadings | None:
    """Return the sample `frames` frames before another one, or None if the recording begins later."""
    if isinstance(source, SourceView):
        found = earlier_sample(source.source, source.origin(index), frames)
        return None if found is None else source.view(found, index)
    if frames > index or recording_of(source, index - frames) != recording_of(source, index):
        return None
    return source[index - frames]


def check_index(index: int, length: int) -> int:
    """Return an index counted from the front; negative ones count from the end.

    Raises:
        IndexError: the index is out of range. This also ends a loop over the source.
    """
    if not -length <= index < length:
        raise IndexError(index)
    return index % length
