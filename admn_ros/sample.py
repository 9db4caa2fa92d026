# SPDX-License-Identifier: Apache-2.0
"""The words that every room speaks: modality, sensor key, sensor frame, multimodal sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from admn_ros.errors import InputError

Array = npt.NDArray[np.generic]


class Modality(str, Enum):
    """A kind of sensing. The value is the name used in YAML files and messages."""

    RGB = "rgb"
    DEPTH = "depth"
    RADAR = "radar"
    AUDIO = "audio"

    def __str__(self) -> str:
        return self.value


class Availability(str, Enum):
    """How an input stands in one frame.

    FRESH: a reading within the modality's tolerance of the frame stamp.
    HELD: the last reading, older than the tolerance but not older than the hold limit.
    MISSING: nothing usable. It costs no layers.
    """

    FRESH = "fresh"
    HELD = "held"
    MISSING = "missing"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, order=True)
class SensorKey:
    """One input: a modality at a sensor node. Prints as `node1/rgb`."""

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
    """What one input contributes to a frame.

    data: the decoded reading, or None when missing. By modality:
        rgb    uint8 (H, W, 3), RGB order
        depth  float32 (H, W), metres along the optical axis, NaN where invalid
        radar  float32 (rows, columns), linear magnitude, not negative (range-azimuth or range-Doppler)
        audio  float32 (samples, channels), full scale is 1.0, at the model's sample rate,
               last sample at `stamp_ns`
    stamp_ns: the sensor's own stamp after the configured offset; None when missing.
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
    """All inputs at one instant, as the synchronizer gathered them.

    stamp_ns: stamp of the reference reading (nanoseconds, the sensors' clock). Every output of the
        frame carries it.
    reference: the input whose clock made this frame.
    readings: one entry for each configured input.
    waited_s: how long it was held open for inputs that had not come, by the clock of arrival.
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
            raise InputError("readings", "none", "at least one")
        return cls(stamp_ns, next(iter(fresh)), fresh)

    def availability(self, modality: Modality) -> Availability:
        """Best state among the sensor nodes that have this modality."""
        states = [r.availability for k, r in self.readings.items() if k.modality is modality]
        for state in (Availability.FRESH, Availability.HELD):
            if state in states:
                return state
        return Availability.MISSING

    def nodes(self, modality: Modality, *states: Availability) -> list[str]:
        """Sensor nodes whose input of this modality is in one of the given states, in order."""
        return [k.node for k, r in self.readings.items()
                if k.modality is modality and r.availability in states]


@dataclass(frozen=True)
class Target:
    """Ground truth of a sample, for training and evaluation.

    position_m: (x, y, z) in the model's frame, metres; NaN when there is no target.
    label: class index, or -1 when unknown.
    corruption: severity per modality, 0 is clean; absent when unknown.
    """

    position_m: tuple[float, float, float]
    label: int = -1
    corruption: Mapping[Modality, float] | None = None


@dataclass(frozen=True)
class MultimodalSample:
    """One frame as the network sees it.

    inputs: per modality float32 (N, C, H, W); N runs over the model's sensor nodes in order. Rows
        of absent sensor nodes are zero.
    present: per modality bool (N,): which rows hold a reading.
    poses: float32 (N, 5), x, y, z, yaw, tilt of each sensor node as in `admn_ros.config.NodePose`; None: those of
        the model's configuration.
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

    def present_nodes(self, modalities: Iterable[Modality]) -> dict[Modality, int]:
        """Return the number of present sensor nodes of each modality."""
        return {m: int(self.present[m].sum()) if m in self.present else 0 for m in modalities}


@dataclass(frozen=True)
class SampleBatch:
    """Samples stacked: inputs (B, N, C, H, W), present (B, N), poses (B, N, 5) or None."""

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
            raise InputError("poses", f"those of {len(poses)} of {len(samples)} samples", "those of all or none")
        return cls({m: torch.stack([s.inputs[m] for s in samples]) for m in modalities},
                   {m: torch.stack([s.present[m] for s in samples]) for m in modalities},
                   torch.stack(poses) if poses else None)

    def part(self, modalities: Sequence[Modality], rows: Tensor | None = None) -> SampleBatch:
        """Some of the modalities, of some samples (R,) or all."""
        def pick(x: Tensor) -> Tensor:
            return x if rows is None else x[rows]

        return SampleBatch({m: pick(self.inputs[m]) for m in modalities},
                           {m: pick(self.present[m]) for m in modalities},
                           None if self.poses is None else pick(self.poses))

    def to(self, device: torch.device | str) -> SampleBatch:
        """Copy to a device."""
        return SampleBatch({m: x.to(device) for m, x in self.inputs.items()},
                           {m: x.to(device) for m, x in self.present.items()},
                           None if self.poses is None else self.poses.to(device))
