# SPDX-License-Identifier: Apache-2.0
"""Corruptions of decoded readings: the effects of faulty sensors, bad light and bad weather.

They serve training and evaluation, on simulated and real data. A corruption maps an array as in
`admn_ros.sample.Reading` to another one. Its severity is between 0 (the data are returned unchanged) and 1 (the
physical parameters of the constructor); `parameters` returns the physical parameters of a severity. All random numbers
come from the given generator and are the same for every severity, so that a seed determines the result, and a larger
severity does more of the same damage. The input is never modified.

Further corruptions are in `vision`, `weather`, `audio`, `radar` and `temporal`; named mixtures, with the levels of the
paper, in `presets`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.sample import MOST_CHANNELS, Array, Modality

Floats = npt.NDArray[np.float32]
DEPTH_MAX_M = 9.0
"""Default range of depth in metres, as in `config.DepthInput`."""
NEAREST_M = 1e-3
"""Lower limit of depth in metres, because 0 means invalid."""
PAPER_SIGMA: Mapping[Modality, float] = {
    Modality.RGB: 3.0, Modality.DEPTH: 0.75, Modality.RADAR: 0.8, Modality.AUDIO: 0.3}
"""Largest sigma of Gaussian noise on [0, 1] data.

RGB and depth: GDTM, paper Section A.3. Radar: three-modality model of the official code. Audio: ours.
"""

_FORM: Mapping[Modality, tuple[str, int, str]] = {
    Modality.RGB: ("u1", 3, "uint8 (H, W, 3)"), Modality.DEPTH: ("f4", 2, "float32 (H, W)"),
    Modality.RADAR: ("f4", 2, "float32 (rows, columns)"), Modality.AUDIO: ("f4", 2, "float32 (samples, channels)")}


@dataclass(frozen=True)
class CorruptionLabel:
    """The corruption of one modality of a sample.

    Attributes:
        kind: name of the corruption, or "clean".
        severity: severity in [0, 1]; 0 is clean.
        parameters: physical parameters (sigma, gamma, kernel_px, snr_db, ...); empty if clean.
        level: level of the preset, for a classifier of corruptions: 0 is clean, -1 a continuous severity.
    """

    kind: str = "clean"
    severity: float = 0.0
    parameters: Mapping[str, float] = field(default_factory=dict)
    level: int = 0

    @property
    def value(self) -> float:
        """First, characteristic parameter (sigma of Gaussian noise, as in the paper); 0 if clean."""
        return next(iter(self.parameters.values()), 0.0)


@dataclass(frozen=True)
class Corruption(ABC):
    """A corruption of single readings of one modality.

    Attributes:
        kind: name of the corruption.
        modality: modality of the readings.
    """

    kind: ClassVar[str]
    modality: Modality

    def apply(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        """Corrupt one reading. The result has the same shape and dtype; severity 0 returns `data` itself.

        Args:
            data: reading.
            severity: severity in [0, 1].
            rng: source of random numbers.

        Raises:
            InputError: the severity is outside [0, 1], or the data are not of the modality.
        """
        check_severity(severity)
        check_reading(data, self.modality)
        return self._damage(data, severity, rng) if severity > 0 else data

    @abstractmethod
    def parameters(self, severity: float) -> dict[str, float]:
        """Return the physical parameters at a severity above 0, the characteristic one first."""

    @abstractmethod
    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        """Corrupt checked data with a severity above 0."""


@dataclass(frozen=True)
class GaussianNoise(Corruption):
    """Additive N(0, sigma) on data scaled to [0, 1], then clamped to [0, 1] (paper Sections 4.1.1, A.3).

    Sigma is severity * `sigma`. The scale is 255 for RGB, `depth_max_m` for depth and the largest magnitude of the
    frame for radar. Audio, full scale 1, is not scaled, and clamped to [-1, 1].

    Attributes:
        sigma: sigma at severity 1; None for `PAPER_SIGMA` of the modality.
        depth_max_m: depth in metres that is 1 on the scale.
        keep_invalid: whether invalid pixels of depth stay NaN. Otherwise they count as 0 and get noise like all others,
            as in the paper, whose noise is on images; then no pixel is invalid.
    """

    kind: ClassVar[str] = "gaussian"
    sigma: float | None = None
    depth_max_m: float = DEPTH_MAX_M
    keep_invalid: bool = True

    def parameters(self, severity: float) -> dict[str, float]:
        """Return sigma on [0, 1] data."""
        return {"sigma": severity * (PAPER_SIGMA[self.modality] if self.sigma is None else self.sigma)}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        noise = rng.standard_normal(data.shape, dtype=np.float32) * np.float32(self.parameters(severity)["sigma"])
        if self.modality is Modality.RGB:
            return to_uint8(data.astype(np.float32) / np.float32(255) + noise)
        values: Floats = data.astype(np.float32, copy=False)
        if self.modality is Modality.DEPTH:
            return self._noisy_depth(values, noise)
        if self.modality is Modality.AUDIO:
            return clip_audio(values + noise, values)
        peak = np.float32(max(float(np.nanmax(values, initial=0.0)), np.finfo(np.float32).tiny))
        return np.asarray(np.clip(values / peak + noise, 0, 1) * peak, dtype=np.float32)

    def _noisy_depth(self, metres: Floats, noise: Floats) -> Floats:
        largest = np.float32(self.depth_max_m)
        valid = (metres > 0) & (metres < np.inf)
        scaled = np.where(valid, metres, np.float32(0)) / largest + noise
        noisy: Floats = np.clip(scaled * largest, np.float32(NEAREST_M), largest)
        if self.keep_invalid:
            noisy[~valid] = np.nan
        return noisy


@dataclass(frozen=True)
class Chain(Corruption):
    """Several corruptions of one modality, one after the other (rain, then low light).

    Attributes:
        links: corruptions with their shares; each is applied with severity times share.
    """

    kind: ClassVar[str] = "chain"
    links: tuple[tuple[Corruption, float], ...] = ()

    def __post_init__(self) -> None:
        if not self.links or any(c.modality is not self.modality or not 0 < s <= 1 for c, s in self.links):
            raise InputError("links", [(c.kind, str(c.modality), s) for c, s in self.links],
                             f"corruptions of {self.modality}, each with a share in (0, 1]")

    @property
    def name(self) -> str:
        """Kinds of the links, joined by `+`."""
        return "+".join(c.kind for c, _ in self.links)

    def parameters(self, severity: float) -> dict[str, float]:
        """Return the parameters of all links."""
        return {name: value for c, share in self.links for name, value in c.parameters(severity * share).items()}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        for corruption, share in self.links:
            data = corruption.apply(data, severity * share, rng)
        return data


def kind_of(corruption: Corruption) -> str:
    """Return the name of a corruption for its label."""
    return corruption.name if isinstance(corruption, Chain) else corruption.kind


def label_of(corruption: Corruption, severity: float, level: int = -1) -> CorruptionLabel:
    """Return the label of a corruption with a severity; severity 0 gives clean.

    Raises:
        InputError: the severity is outside [0, 1].
    """
    check_severity(severity)
    if severity == 0:
        return CorruptionLabel()
    return CorruptionLabel(kind_of(corruption), severity, corruption.parameters(severity), level)


def check_severity(severity: float) -> None:
    """Check a severity.

    Raises:
        InputError: the severity is outside [0, 1], or NaN.
    """
    if not 0 <= severity <= 1:
        raise InputError("severity", severity, "0 to 1")


def check_reading(data: Array, modality: Modality) -> None:
    """Check a reading.

    Raises:
        InputError: the data are no reading of the modality.
    """
    dtype, dimensions, allowed = _FORM[modality]
    fits = data.dtype == np.dtype(dtype) and data.ndim == dimensions and data.size > 0
    if not fits or (modality is Modality.RGB and data.shape[2] != 3) or (
            modality is Modality.AUDIO and data.shape[1] > MOST_CHANNELS):
        raise InputError(str(modality), f"{data.dtype} {data.shape}", f"{allowed}, not empty")


def to_uint8(image: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Convert values in [0, 1] to uint8, clamped and rounded."""
    return np.asarray(np.rint(np.clip(image, 0, 1) * 255), dtype=np.uint8)


def clip_audio(sound: Floats, original: Floats) -> Floats:
    """Clip sound at full scale, or at the peak of the original if that is larger."""
    limit = np.float32(max(1.0, float(np.abs(original).max())))
    return np.asarray(np.clip(sound, -limit, limit), dtype=np.float32)


def decibels(db: float) -> float:
    """Return the amplitude ratio of a level in dB."""
    return math.pow(10.0, db / 20.0)
