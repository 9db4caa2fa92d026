# SPDX-License-Identifier: Apache-2.0
"""Corruptions of decoded readings: what a bad sensor, bad light or bad weather does to the data.

For training and evaluation, on simulated and real data alike. A corruption takes and gives the arrays of
`admn_ros.sample.Reading`. Its severity runs from 0 (the data are returned as they are) to 1 (the physical
parameters given to its constructor); `parameters` says what a severity means. It takes its random numbers
from the given generator only, the same ones for every severity, so that a seed fixes the result and more
severity does more of the same damage. It never writes into its input.

The others are in `corruption_vision`, `weather`, `corruption_audio`, `corruption_radar` and
`corruption_temporal`; named mixtures, with the paper's levels, in `corruption_presets`.
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
from admn_ros.sample import Array, Modality

Floats = npt.NDArray[np.float32]
DEPTH_MAX_M = 9.0
"""Default range of depth, that of `config.DepthInput`."""
NEAREST_M = 1e-3
"""Where depth is clamped below: 0 would mean invalid."""
PAPER_SIGMA: Mapping[Modality, float] = {
    Modality.RGB: 3.0, Modality.DEPTH: 0.75, Modality.RADAR: 0.8, Modality.AUDIO: 0.3}
"""Largest sigma of Gaussian noise on [0, 1] data. RGB and depth: GDTM, paper Section A.3; radar: the
official code's three-modality model; audio: ours."""

_FORM: Mapping[Modality, tuple[str, int, str]] = {
    Modality.RGB: ("u1", 3, "uint8 (H, W, 3)"), Modality.DEPTH: ("f4", 2, "float32 (H, W)"),
    Modality.RADAR: ("f4", 2, "float32 (rows, columns)"), Modality.AUDIO: ("f4", 2, "float32 (samples, channels)")}


@dataclass(frozen=True)
class CorruptionLabel:
    """What was done to one modality of a sample.

    kind: name of the corruption, or "clean".
    severity: in [0, 1]; 0 is clean.
    parameters: the physical parameters (sigma, gamma, kernel_px, snr_db, ...); empty when clean.
    level: place among the levels of a preset that has levels (0 is clean), for a classifier of
        corruptions; -1 where the severity is continuous.
    """

    kind: str = "clean"
    severity: float = 0.0
    parameters: Mapping[str, float] = field(default_factory=dict)
    level: int = 0

    @property
    def value(self) -> float:
        """The first, characteristic parameter (the paper's sigma for Gaussian noise); 0 when clean."""
        return next(iter(self.parameters.values()), 0.0)


@dataclass(frozen=True)
class Corruption(ABC):
    """One way in which the readings of one modality go bad, frame by frame."""

    kind: ClassVar[str]
    modality: Modality

    def apply(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        """Corrupt one reading: same shape, same dtype. With severity 0 `data` itself is returned.

        Raises:
            InputError: a severity outside [0, 1], or data that are not of the modality.
        """
        check_severity(severity)
        check_reading(data, self.modality)
        return self._damage(data, severity, rng) if severity > 0 else data

    @abstractmethod
    def parameters(self, severity: float) -> dict[str, float]:
        """The physical parameters at a severity above 0, the characteristic one first."""

    @abstractmethod
    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        """`apply` for data and a severity above 0 that have been checked."""


@dataclass(frozen=True)
class GaussianNoise(Corruption):
    """Additive N(0, sigma) on data scaled to [0, 1], then clamped to [0, 1] (paper Sections 4.1.1, A.3).

    sigma = severity * `sigma`. The scale: 255 for RGB, `depth_max_m` for depth, the frame's largest
    magnitude for radar; audio is taken as it is, full scale 1, and clamped to [-1, 1].

    sigma: at severity 1; None for `PAPER_SIGMA` of the modality.
    depth_max_m: the depth that is 1.
    keep_invalid: depth only. True: invalid pixels stay NaN. False: they count as 0 and get noise like all
        others, as in the paper, whose noise is on the images; afterwards none is invalid.
    """

    kind: ClassVar[str] = "gaussian"
    sigma: float | None = None
    depth_max_m: float = DEPTH_MAX_M
    keep_invalid: bool = True

    def parameters(self, severity: float) -> dict[str, float]:
        """Sigma on [0, 1] data."""
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

    links: corruption and its share; it is applied with severity times share.
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
        """Those of all links."""
        return {name: value for c, share in self.links for name, value in c.parameters(severity * share).items()}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        for corruption, share in self.links:
            data = corruption.apply(data, severity * share, rng)
        return data


def kind_of(corruption: Corruption) -> str:
    """Name of a corruption for its label."""
    return corruption.name if isinstance(corruption, Chain) else corruption.kind


def label_of(corruption: Corruption, severity: float, level: int = -1) -> CorruptionLabel:
    """The label of a corruption that was applied with a severity; severity 0 gives clean.

    Raises:
        InputError: a severity outside [0, 1].
    """
    check_severity(severity)
    if severity == 0:
        return CorruptionLabel()
    return CorruptionLabel(kind_of(corruption), severity, corruption.parameters(severity), level)


def check_severity(severity: float) -> None:
    """Refuse a severity outside [0, 1], NaN included."""
    if not 0 <= severity <= 1:
        raise InputError("severity", severity, "0 to 1")


def check_reading(data: Array, modality: Modality) -> None:
    """Refuse data that are not a reading of the modality."""
    dtype, dimensions, allowed = _FORM[modality]
    fits = data.dtype == np.dtype(dtype) and data.ndim == dimensions and data.size > 0
    if not fits or (modality is Modality.RGB and data.shape[2] != 3):
        raise InputError(str(modality), f"{data.dtype} {data.shape}", f"{allowed}, not empty")


def to_uint8(image: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Clamp [0, 1] values and round them to uint8."""
    return np.asarray(np.rint(np.clip(image, 0, 1) * 255), dtype=np.uint8)


def clip_audio(sound: Floats, original: Floats) -> Floats:
    """Clip as a converter does: at full scale, or at the original's peak where that is beyond it."""
    limit = np.float32(max(1.0, float(np.abs(original).max())))
    return np.asarray(np.clip(sound, -limit, limit), dtype=np.float32)


def decibels(db: float) -> float:
    """Amplitude ratio of a level in dB."""
    return math.pow(10.0, db / 20.0)
