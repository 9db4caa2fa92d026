# SPDX-License-Identifier: Apache-2.0
"""Named mixtures of corruptions: what each sample of a dataset suffers, drawn at random, with labels.

One draw holds for all sensor nodes and all frames of a sample (paper Section A.3); the realisations of the
noise are independent. The levels are the paper's where it gives any:

    gdtm-gaussian          RGB sigma {0, 1, 2, 3}, depth {0, .25, .5, .75}, independent
    gdtm-lowlight          ordinary light with depth saturated, medium, severe; equally often
    gdtm-blur              RGB with no, medium, severe blur; equally often
    mmfi-gaussian          RGB sigma {0, .75, 1.5, 2}, depth {0, 2, 3, 4}, independent
    ave-rain-noise         image or audio, never both; outdoors rain with low light or wind, indoors low light or fan
    gdtm-three-modalities  RGB, depth, radar each with probability 1/2 extreme noise (Section 4.3)
    room-gaussian          ours: RGB sigma {0, .25, .5, 1}, radar noise 0, 5, 10, 20 dB above its floor, independent
    room-lowlight          ours: one of three: radar noise 20 dB above its floor, or RGB in half-dark, or in the dark
    room-blur              ours: RGB sharp, blurred or blurred much; radar clean or with noise 10 dB above its floor
    room-all               ours: every modality, every kind, continuous severity

Official code that differs is `variant="code"`: the Gaussian presets draw sigma evenly from 0 to the largest
(its training of the first stage; for MM-Fi depth only up to 3); ave-rain-noise has clean and doubly corrupted
samples too, four equal parts (its first stage; its controllers see the paper's two); in gdtm-three-modalities
depth is clean whenever RGB and radar both are not. Where the code does as the paper says, the variants are the same.
Gamma, kernels and the radar's sigma 0.8 are the code's in both, since the paper gives no numbers. The
strengths of rain, low light, wind and fan for AVE are published nowhere; those here are ours.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np

from admn_ros.errors import InputError
from admn_ros.sample import Array, Modality, SensorKey
from admn_ros.sensing.corruption.audio import Fan, Wind
from admn_ros.sensing.corruption.corruption import (
    DEPTH_MAX_M,
    Chain,
    Corruption,
    CorruptionLabel,
    GaussianNoise,
    label_of,
)
from admn_ros.sensing.corruption.radar import RadarInterference, RadarNoise
from admn_ros.sensing.corruption.temporal import Dropout
from admn_ros.sensing.corruption.vision import MEDIUM_GAMMA, MEDIUM_KERNEL, Blur, DepthSaturation, LowLight
from admn_ros.sensing.corruption.weather import RainHaze

Scene = Literal["indoor", "outdoor"]
Variant = Literal["paper", "code"]
_RGB, _DEPTH, _RADAR, _AUDIO = Modality.RGB, Modality.DEPTH, Modality.RADAR, Modality.AUDIO
ROOM_CLEAN = 0.4
"""room-all: probability that a modality is clean, and severity below which one modality stays."""


@dataclass(frozen=True)
class Draw:
    """What one modality of one sample suffers. `level`: as in `CorruptionLabel`."""

    corruption: Corruption | Dropout | None = None
    severity: float = 0.0
    level: int = 0

    @property
    def label(self) -> CorruptionLabel:
        """Label for training."""
        if self.corruption is None:
            return CorruptionLabel()
        if isinstance(self.corruption, Dropout):
            return self.corruption.label(self.severity)
        return label_of(self.corruption, self.severity, self.level)


Draws = Mapping[Modality, Draw]


class Corrupted(NamedTuple):
    """Readings after a preset (without those that dropped out), and what was done to each modality."""

    readings: dict[SensorKey, Array]
    labels: dict[Modality, CorruptionLabel]

    @property
    def severities(self) -> dict[Modality, float]:
        """For `Target.corruption`."""
        return {m: label.severity for m, label in self.labels.items()}


@dataclass(frozen=True)
class CorruptionPreset:
    """A named mixture.

    modalities: those that it draws for; others are left alone and not labelled.
    rule: draws for one sample of a scene.
    """

    name: str
    variant: Variant
    modalities: tuple[Modality, ...]
    rule: Callable[[np.random.Generator, Scene], Draws]

    def draw(self, rng: np.random.Generator, scene: Scene = "indoor") -> Draws:
        """Draw what one sample suffers; `scene` matters to ave-rain-noise alone."""
        return self.rule(rng, scene)

    def __call__(self, readings: Mapping[SensorKey, Array], rng: np.random.Generator,
                 scene: Scene = "indoor") -> Corrupted:
        """Draw for one sample and corrupt its readings.

        Raises:
            InputError: readings that are not of their modality; the field begins with the input.
        """
        draws = self.draw(rng, scene)
        return Corrupted(apply_draws(readings, draws, rng), {m: d.label for m, d in draws.items()})


def apply_draws(readings: Mapping[SensorKey, Array], draws: Draws, rng: np.random.Generator) -> dict[SensorKey, Array]:
    """Corrupt the readings of one frame as drawn; those that dropped out are left out.

    Each input has its own noise, which does not depend on what other inputs there are.

    Raises:
        InputError: readings that are not of their modality; the field begins with the input.
    """
    base = int(rng.integers(2**63))
    result: dict[SensorKey, Array] = {}
    for key, data in readings.items():
        draw = draws.get(key.modality, Draw())
        own = np.random.default_rng([base, zlib.crc32(str(key).encode())])
        if draw.corruption is None:
            result[key] = data
        elif isinstance(draw.corruption, Dropout):
            if draw.corruption.schedule(1, draw.severity, own) == [0]:
                result[key] = data
        else:
            try:
                result[key] = draw.corruption.apply(data, draw.severity, own)
            except InputError as error:
                raise error.within(str(key)) from error
    return result


def corruption_preset(name: str, variant: Variant = "paper", *, depth_max_m: float = DEPTH_MAX_M,
                      audio_rate_hz: int = 16000, modalities: Sequence[Modality] = tuple(Modality)) -> CorruptionPreset:
    """A preset by name.

    Args:
        name: one of `PRESET_NAMES`.
        variant: the paper's, or the official code's where that differs.
        depth_max_m: the depth that is 1 on the noise's scale.
        audio_rate_hz: sample rate of the readings.
        modalities: for room-all, those that the model has; one of them stays good.

    Raises:
        InputError: no such name or variant, or no modalities.
    """
    if name not in PRESET_NAMES:
        raise InputError("corruption preset", name, ", ".join(PRESET_NAMES))
    if variant not in ("paper", "code"):
        raise InputError("variant", variant, "paper or code")
    code = variant == "code"
    if name == "room-all":
        if not modalities:
            raise InputError("modalities", "none", "at least one")
        kinds = _room_kinds(depth_max_m, audio_rate_hz)
        return CorruptionPreset(name, variant, tuple(modalities), _room({m: kinds[m] for m in modalities}))
    if name in _ROOM:
        return CorruptionPreset(name, variant, (_RGB, _RADAR), _ROOM[name])
    if name == "ave-rain-noise":
        return CorruptionPreset(name, variant, (_RGB, _AUDIO), _ave(audio_rate_hz, code))
    if name in _GAUSSIAN:
        return CorruptionPreset(name, variant, (_RGB, _DEPTH), _gaussian(name, depth_max_m, code))
    if name == "gdtm-three-modalities":
        return CorruptionPreset(name, variant, (_RGB, _DEPTH, _RADAR), _three(depth_max_m, code))
    conditions = _lowlight_conditions(depth_max_m) if name == "gdtm-lowlight" else _blur_conditions()
    return CorruptionPreset(name, variant, (_RGB, _DEPTH), lambda rng, scene: _pick(conditions, rng))


# RGB and depth sigmas; in the code's first stage sigma is continuous, up to the last value.
_GAUSSIAN: Final = {
    "gdtm-gaussian": ((0.0, 1.0, 2.0, 3.0), (0.0, 0.25, 0.5, 0.75), (3.0, 0.75)),
    "mmfi-gaussian": ((0.0, 0.75, 1.5, 2.0), (0.0, 2.0, 3.0, 4.0), (2.0, 3.0)),
}
PRESET_NAMES: Final = (*_GAUSSIAN, "gdtm-lowlight", "gdtm-blur", "ave-rain-noise", "gdtm-three-modalities",
                       "room-gaussian", "room-lowlight", "room-blur", "room-all")


def _noise(modality: Modality, sigma: float, depth_max_m: float = DEPTH_MAX_M) -> GaussianNoise:
    """The paper's noise: on every pixel, invalid ones too."""
    return GaussianNoise(modality, sigma, depth_max_m, keep_invalid=False)


def _gaussian(name: str, depth_max_m: float, code: bool) -> Callable[[np.random.Generator, Scene], Draws]:
    rgb_sigmas, depth_sigmas, largest = _GAUSSIAN[name]

    def levels(rng: np.random.Generator, scene: Scene) -> Draws:
        draws = {}
        for modality, sigmas in ((_RGB, rgb_sigmas), (_DEPTH, depth_sigmas)):
            level = int(rng.integers(len(sigmas)))
            draws[modality] = Draw(_noise(modality, sigmas[-1], depth_max_m), sigmas[level] / sigmas[-1], level)
        return draws

    def continuous(rng: np.random.Generator, scene: Scene) -> Draws:
        return {m: Draw(_noise(m, sigma, depth_max_m), float(rng.uniform()), -1)
                for m, sigma in zip((_RGB, _DEPTH), largest, strict=True)}

    return continuous if code else levels


def _room_gaussian(rng: np.random.Generator, scene: Scene) -> Draws:
    """Four levels for each of RGB and radar, from clean to where a small picture of the room shows nothing."""
    rgb, radar = (0.0, 0.25, 0.5, 1.0), (0.0, 0.1, 0.2, 0.4)
    kinds: dict[Modality, tuple[Corruption, Sequence[float]]] = {
        _RGB: (GaussianNoise(_RGB, rgb[-1]), rgb), _RADAR: (RadarNoise(), radar)}
    draws = {}
    for modality, (corruption, levels) in kinds.items():
        level = int(rng.integers(len(levels)))
        draws[modality] = Draw(corruption if level else None, levels[level], level)
    return draws


def _room_lowlight(rng: np.random.Generator, scene: Scene) -> Draws:
    dark = LowLight()
    return _pick([{_RGB: Draw(), _RADAR: Draw(RadarNoise(), 0.4, 1)},
                  {_RGB: Draw(dark, dark.severity_of(MEDIUM_GAMMA), 1), _RADAR: Draw()},
                  {_RGB: Draw(dark, 1.0, 2), _RADAR: Draw()}], rng)


def _room_blur(rng: np.random.Generator, scene: Scene) -> Draws:
    blur = Blur()
    pictures = (Draw(), Draw(blur, blur.severity_of(MEDIUM_KERNEL), 1), Draw(blur, 1.0, 2))
    radars = Draw(), Draw(RadarNoise(), 0.2, 1)
    return _pick([{_RGB: rgb, _RADAR: radar} for rgb in pictures for radar in radars], rng)


_ROOM: Final = {"room-gaussian": _room_gaussian, "room-lowlight": _room_lowlight, "room-blur": _room_blur}


def _lowlight_conditions(depth_max_m: float) -> list[Draws]:
    dark = LowLight()
    return [{_RGB: Draw(), _DEPTH: Draw(DepthSaturation(depth_max_m=depth_max_m), 1.0, 1)},
            {_RGB: Draw(dark, dark.severity_of(MEDIUM_GAMMA), 1), _DEPTH: Draw()},
            {_RGB: Draw(dark, 1.0, 2), _DEPTH: Draw()}]


def _blur_conditions() -> list[Draws]:
    blur = Blur()
    return [{_RGB: rgb, _DEPTH: Draw()}
            for rgb in (Draw(), Draw(blur, blur.severity_of(MEDIUM_KERNEL), 1), Draw(blur, 1.0, 2))]


def _pick(conditions: Sequence[Draws], rng: np.random.Generator) -> Draws:
    return conditions[int(rng.integers(len(conditions)))]


def _ave(rate_hz: int, code: bool) -> Callable[[np.random.Generator, Scene], Draws]:
    dark = LowLight()
    medium = dark.severity_of(MEDIUM_GAMMA)
    image: dict[Scene, Corruption] = {"indoor": Chain(_RGB, ((dark, medium),)),
                                      "outdoor": Chain(_RGB, ((RainHaze(), 1.0), (dark, medium)))}
    audio: dict[Scene, Corruption] = {"indoor": Fan(sample_rate_hz=rate_hz), "outdoor": Wind(sample_rate_hz=rate_hz)}
    # (image, audio) corrupted
    parts = [(True, False), (False, True), (False, False), (True, True)] if code else [(True, False), (False, True)]

    def rule(rng: np.random.Generator, scene: Scene) -> Draws:
        if scene not in image:
            raise InputError("scene", scene, "indoor or outdoor")
        bad_image, bad_audio = parts[int(rng.integers(len(parts)))]
        return {_RGB: Draw(image[scene], 1.0, 1) if bad_image else Draw(),
                _AUDIO: Draw(audio[scene], 1.0, 1) if bad_audio else Draw()}

    return rule


def _three(depth_max_m: float, code: bool) -> Callable[[np.random.Generator, Scene], Draws]:
    extreme = {_RGB: 3.0, _DEPTH: 0.75, _RADAR: 0.8}

    def rule(rng: np.random.Generator, scene: Scene) -> Draws:
        bad = {m: bool(rng.random() < 0.5) for m in extreme}
        if code and bad[_RGB] and bad[_RADAR]:
            bad[_DEPTH] = False
        return {m: Draw(_noise(m, sigma, depth_max_m), 1.0, 1) if bad[m] else Draw() for m, sigma in extreme.items()}

    return rule


def _room_kinds(depth_max_m: float, rate_hz: int) -> dict[Modality, tuple[Corruption | Dropout, ...]]:
    return {
        _RGB: (GaussianNoise(_RGB, 1.0), LowLight(), Blur(kernel_px=101), RainHaze(), Dropout(_RGB)),
        _DEPTH: (GaussianNoise(_DEPTH, 0.5, depth_max_m), DepthSaturation(depth_max_m=depth_max_m), Dropout(_DEPTH)),
        _RADAR: (RadarNoise(), RadarInterference(), Dropout(_RADAR)),
        _AUDIO: (GaussianNoise(_AUDIO), Wind(sample_rate_hz=rate_hz), Fan(sample_rate_hz=rate_hz), Dropout(_AUDIO)),
    }


def _room(kinds: Mapping[Modality, Sequence[Corruption | Dropout]]) -> Callable[[np.random.Generator, Scene], Draws]:
    def one(choices: Sequence[Corruption | Dropout], rng: np.random.Generator) -> Draw:
        if rng.random() < ROOM_CLEAN:
            return Draw()
        corruption = choices[int(rng.integers(len(choices)))]
        return Draw(corruption, 1.0 if isinstance(corruption, Dropout) else 1.0 - float(rng.random()), -1)

    def rule(rng: np.random.Generator, scene: Scene) -> Draws:
        while True:  # of independent draws those in which something is left to see with; most are
            draws = {m: one(choices, rng) for m, choices in kinds.items()}
            if any(d.severity < ROOM_CLEAN for d in draws.values()):
                return draws

    return rule
