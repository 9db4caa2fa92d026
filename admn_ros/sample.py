# SPDX-License-Identifier: Apache-2.0
"""Data types shared by all packages: modality, sensor key, sensor frame, multimodal sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from admn_ros.errors import InputError

Array = npt.NDArray[np.generic]
MOST_CHANNELS = 64
"""Maximum number of channels of a sound."""


class Modality(str, Enum):
    """Sensing modality. The value is the name in YAML files and messages."""

    RGB = "rgb"
    DEPTH = "depth"
    RADAR = "radar"
    AUDIO = "audio"

    def __str__(self) -> str:
        return self.value


class Availability(str, Enum):
    """State of an input in one frame.

    FRESH: the reading is within the modality's tolerance of the frame stamp.
    HELD: the last reading is older than the tolerance, but within the hold limit.
    MISSING: there is no usable reading. The input costs no layers.
    """

    FRESH = "fresh"
    HELD = "held"
    MISSING = "missing"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, order=True)
class SensorKey:
    """Input of a model: a modality at a sensor node, printed as `node1/rgb`."""

    node: str
    modality: Modality

    @classmethod
    def parse(cls, text: str) -> SensorKey:
        """Parse `NODE/MODALITY`.

        Raises:
            InputError: another form, or an unknown modality.
        """
        node, slash, modality = text.partition("/")
        if not node or not slash or modality not in {m.value for m in Modality}:
            raise InputError("input", repr(text), f"NODE/MODALITY with {', '.join(m.value for m in Modality)}")
        return cls(node, Modality(modality))

    def __str__(self) -> str:
        return f"{self.node}/{self.modality}"


@dataclass(frozen=True)
class Reading:
    """Reading of one input in a frame.

    Attributes:
        availability: state of the input.
        data: decoded reading; None if missing. By modality:
            rgb    uint8 (H, W, 3), RGB order
            depth  float32 (H, W), metres along the optical axis, NaN where invalid
            radar  float32 (rows, columns), linear magnitude, not negative (range-azimuth or range-Doppler)
            audio  float32 (samples, channels), full scale 1.0, at the model's sample rate, last sample at `stamp_ns`
        stamp_ns: stamp of the sensor in nanoseconds, after the configured offset; None if missing.
    """

    availability: Availability
    data: Array | None = None
    stamp_ns: int | None = None

    def __post_init__(self) -> None:
        missing = self.availability is Availability.MISSING
        if missing != (self.data is None) or missing != (self.stamp_ns is None):
            raise InputError("reading", f"{self.availability} with data {self.data is not None}",
                             "data and stamp together with fresh or held, neither with missing")


MISSING = Reading(Availability.MISSING)


@dataclass(frozen=True)
class SensorFrame:
    """Synchronized readings of all inputs.

    Attributes:
        stamp_ns: stamp of the reference reading in nanoseconds of the sensors' clock, carried by every output.
        reference: input whose message opened the frame.
        readings: one entry for each configured input.
        waited_s: seconds of the receive clock for which the frame waited for late inputs.
    """

    stamp_ns: int
    reference: SensorKey
    readings: Mapping[SensorKey, Reading]
    waited_s: float = 0.0

    @classmethod
    def of(cls, readings: Mapping[str, Array], stamp_ns: int = 0) -> SensorFrame:
        """Make a frame of fresh readings.

        Args:
            readings: decoded arrays as in `Reading`, by input: `{"node1/rgb": image, "node1/depth": depth}`.
            stamp_ns: stamp of the frame and of all readings.

        Raises:
            InputError: no readings, or a name that is not `NODE/MODALITY`.
        """
        fresh = {SensorKey.parse(name): Reading(Availability.FRESH, data, stamp_ns) for name, data in readings.items()}
        if not fresh:
            raise InputError.missing("readings", "at least one reading")
        return cls(stamp_ns, next(iter(fresh)), fresh)

    def availability(self, modality: Modality) -> Availability:
        """Return the best state among the sensor nodes that have this modality."""
        states = [r.availability for k, r in self.readings.items() if k.modality is modality]
        for state in (Availability.FRESH, Availability.HELD):
            if state in states:
                return state
        return Availability.MISSING

    def present_nodes(self, sensor_nodes: Sequence[str]) -> dict[Modality, tuple[int, ...]]:
        """Return the sensor nodes of a model that have a reading, as ascending indices, of each modality."""
        return {m: tuple(i for i, node in enumerate(sensor_nodes)
                         if self.readings.get(SensorKey(node, m), MISSING).data is not None)
                for m in {k.modality: None for k in self.readings}}

    def nodes(self, modality: Modality, *states: Availability) -> list[str]:
        """Return the sensor nodes whose input of this modality is in one of the given states, in order."""
        return [k.node for k, r in self.readings.items()
                if k.modality is modality and r.availability in states]


@dataclass(frozen=True)
class Target:
    """Ground truth of a sample.

    Attributes:
        position_m: (x, y, z) in the model's frame, in metres; NaN if there is no target.
        label: class index; -1 if unknown.
        corruption: severity per modality, 0 if clean; None if unknown.
        mask: int16 (H, W), class of each pixel of the RGB image, -1 if unknown; None without segmentation.
    """

    position_m: tuple[float, float, float]
    label: int = -1
    corruption: Mapping[Modality, float] | None = None
    mask: Array | None = field(default=None, compare=False)


@dataclass(frozen=True)
class MultimodalSample:
    """Preprocessed frame: the input of the network.

    Attributes:
        inputs: float32 (N, C, H, W) per modality, with N over the model's sensor nodes in order; rows of absent sensor
            nodes are zero.
        present: bool (N,) per modality: rows that hold a reading.
        stamp_ns: stamp of the frame in nanoseconds.
        target: ground truth, if known.
        poses: float32 (N, 5), x, y, z, yaw, tilt of each sensor node as in `admn_ros.config.NodePose`; None for those
            of the model's configuration.
    """

    inputs: Mapping[Modality, Tensor]
    present: Mapping[Modality, Tensor]
    stamp_ns: int = 0
    target: Target | None = None
    poses: Tensor | None = None

    def __post_init__(self) -> None:
        if set(self.inputs) != set(self.present):
            raise InputError("present", sorted(map(str, self.present)), sorted(map(str, self.inputs)))
        for modality, x in self.inputs.items():
            mask = self.present[modality]
            if x.ndim != 4 or mask.shape != x.shape[:1] or mask.dtype != torch.bool:
                raise InputError(str(modality), f"inputs {tuple(x.shape)}, present {tuple(mask.shape)} {mask.dtype}",
                                 "inputs (N, C, H, W) with present (N,) of bool")

    def present_nodes(self, modalities: Iterable[Modality]) -> dict[Modality, tuple[int, ...]]:
        """Return the present sensor nodes of each modality, as ascending indices."""
        masks = {m: x.tolist() for m, x in self.present.items()}
        return {m: tuple(i for i, here in enumerate(masks.get(m, ())) if here) for m in modalities}


@dataclass(frozen=True)
class SampleBatch:
    """Batch of samples: inputs (B, N, C, H, W), present (B, N), poses (B, N, 5) or None."""

    inputs: Mapping[Modality, Tensor]
    present: Mapping[Modality, Tensor]
    poses: Tensor | None = None

    @classmethod
    def stack(cls, samples: Sequence[MultimodalSample]) -> SampleBatch:
        """Stack samples that hold the same modalities with the same shapes."""
        if not samples:
            raise InputError.missing("samples", "at least one sample")
        modalities = samples[0].inputs.keys()
        poses = [s.poses for s in samples if s.poses is not None]
        if poses and len(poses) != len(samples):
            raise InputError("poses", f"{len(poses)} in {len(samples)} samples", "poses in all samples or in none")
        return cls({m: torch.stack([s.inputs[m] for s in samples]) for m in modalities},
                   {m: torch.stack([s.present[m] for s in samples]) for m in modalities},
                   torch.stack(poses) if poses else None)

    @property
    def device(self) -> torch.device:
        """Device of the batch."""
        return next(iter(self.present.values())).device

    def part(self, modalities: Sequence[Modality], rows: Tensor | None = None) -> SampleBatch:
        """Select modalities, and samples by their indices (R,); None selects all samples."""
        def pick(x: Tensor) -> Tensor:
            return x if rows is None else x[rows]

        return SampleBatch({m: pick(self.inputs[m]) for m in modalities},
                           {m: pick(self.present[m]) for m in modalities},
                           None if self.poses is None else pick(self.poses))

    def first(self, nodes: int) -> SampleBatch:
        """Select the first sensor nodes."""
        if all(present.shape[1] <= nodes for present in self.present.values()):
            return self
        return SampleBatch({m: x[:, :nodes] for m, x in self.inputs.items()},
                           {m: x[:, :nodes] for m, x in self.present.items()},
                           None if self.poses is None else self.poses[:, :nodes])

    def at(self, nodes: Sequence[Mapping[Modality, Sequence[int]]]) -> SampleBatch:
        """Make all sensor nodes absent but the given ones of each sample and modality."""
        def keep(m: Modality, present: Tensor) -> Tensor:
            kept = torch.zeros(present.shape, dtype=torch.bool)
            for row, of_sample in zip(kept, nodes, strict=True):
                row[list(of_sample.get(m, ()))] = True
            return present & kept.to(present.device)

        return replace(self, present={m: keep(m, present) for m, present in self.present.items()})

    def to(self, device: torch.device | str) -> SampleBatch:
        """Copy the batch to a device."""
        return SampleBatch({m: x.to(device) for m, x in self.inputs.items()},
                           {m: x.to(device) for m, x in self.present.items()},
                           None if self.poses is None else self.poses.to(device))
