# SPDX-License-Identifier: Apache-2.0
"""Presets: named mixtures of corruptions, drawn at random for each sample of a dataset, with labels.

A draw applies to all sensor nodes and all frames of a sample (paper Section A.3); the noise of each is independent. The
levels are those of the paper if it gives any:

    gdtm-gaussian          RGB sigma {0, 1, 2, 3}, depth {0, .25, .5, .75}, independent
    gdtm-lowlight          ordinary light with depth saturated, medium, severe; equally often
    gdtm-blur              RGB with no, medium, severe blur; equally often
    mmfi-gaussian          RGB sigma {0, .75, 1.5, 2}, depth {0, 2, 3, 4}, independent
    ave-rain-noise         image or audio, never both; outdoors rain with low light or wind, indoors low light or fan
    gdtm-three-modalities  RGB, depth, radar each with probability 1/2 extreme noise (Section 4.3)
    room-gaussian          ours: RGB sigma {0, .25, .5, 1}, radar noise 0, 5, 10, 20 dB above its floor, independent
    room-gaussian-rgbd     ours: RGB as in room-gaussian, depth sigma {0, .05, .1, .2}, independent
    room-lowlight          ours: one of three: radar noise 20 dB above its floor, or RGB in medium, or severe low light
    room-blur              ours: RGB with no, medium, severe blur; radar clean or with noise 10 dB above its floor
    room-all               ours: every modality, every kind, continuous severity
    room-missing           ours: modalities without readings, and readings of single nodes that are missing
    room-unseen            ours: as room-all, with kinds that room-all does not have
    room-severe            ours: as room-all, each kind stronger than its strongest in room-all, up to 2.5 times
    room-freeze            ours: one modality repeats readings for spells of 10 frames, continuous severity
    room-delay             ours: one modality is 1 to 8 frames late, continuous severity

room-missing, room-unseen and room-severe are for tests of models that were trained with room-all: no training file of
this package uses them. room-freeze and room-delay need consecutive frames. A draw holds for a stretch of a recording
(`admn_ros.sensing.corruption.draws.StretchCorruption`, `admn_ros.datasets.corrupted.STRETCH_FRAMES`).

`variant="code"` follows the training of the first stage in the official code where it differs: the Gaussian presets
draw sigma uniformly from 0 to the largest value (for depth of MM-Fi only up to 3); ave-rain-noise also has clean and
doubly corrupted samples, in four equal parts; in gdtm-three-modalities depth is clean if RGB and radar are both
corrupted. `variant="code_controller"` follows its training of controllers, of which only the last differs from the
paper. Otherwise the variants are equal. Gamma, kernels and the sigma 0.8 of radar come from the code in all variants,
because the paper gives no numbers. The strengths of rain, low light, wind and fan for AVE are not published; those
here are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, get_args

import numpy as np

from admn_ros.config import AUDIO_RATE_HZ, DepthInput, ModelConfig
from admn_ros.errors import InputError
from admn_ros.sample import Modality
from admn_ros.sensing.corruption.audio import Fan, Wind
from admn_ros.sensing.corruption.corruption import DEPTH_MAX_M, PAPER_SIGMA, Chain, Corruption, GaussianNoise
from admn_ros.sensing.corruption.disturbances import DepthRipple, Glare, Knocks, RadarGhost
from admn_ros.sensing.corruption.draws import CorruptionPreset, Draw, Draws, Environment, Variant
from admn_ros.sensing.corruption.radar import RadarInterference, RadarNoise
from admn_ros.sensing.corruption.temporal import Delay, Dropout, Freezing, TemporalCorruption
from admn_ros.sensing.corruption.vision import (
    MEDIUM_GAMMA,
    MEDIUM_KERNEL,
    SEVERE_GAMMA,
    Blur,
    DepthSaturation,
    LowLight,
)
from admn_ros.sensing.corruption.weather import RainHaze

Rule = Callable[[np.random.Generator, Environment], Draws]
_RGB, _DEPTH, _RADAR, _AUDIO = Modality.RGB, Modality.DEPTH, Modality.RADAR, Modality.AUDIO
ROOM_CLEAN = 0.4
"""Probability in room-all that a modality is clean, and the severity below which at least one modality stays."""
SEVERE = 2.5
"""Strongest of room-severe relative to the strongest of room-all; its weakest is 1."""
_Kinds = Mapping[Modality, tuple[Corruption | TemporalCorruption, ...]]


@dataclass(frozen=True)
class PresetOptions:
    """Settings of a preset.

    Attributes:
        variant: the paper's values, or those of the official code where it differs, for its first stage (code) or for
            controllers (code_controller).
        depth_max_m: depth in metres that is 1 on the scale of the noise.
        audio_rate_hz: sample rate of the audio readings in Hz.
        modalities: modalities of the model, for presets that choose among them.
    """

    variant: Variant = "paper"
    depth_max_m: float = DEPTH_MAX_M
    audio_rate_hz: int = AUDIO_RATE_HZ
    modalities: tuple[Modality, ...] = tuple(Modality)

    @property
    def first_stage(self) -> bool:
        """Whether the values are those of the first stage of the official code."""
        return self.variant == "code"


def corruption_preset(name: str, variant: Variant = "paper", *, depth_max_m: float = DEPTH_MAX_M,
                      audio_rate_hz: int = AUDIO_RATE_HZ,
                      modalities: Sequence[Modality] = tuple(Modality)) -> CorruptionPreset:
    """Return a preset by name.

    Args:
        name: a key of `CORRUPTIONS`.
        variant: as in `PresetOptions`, like the other options.
        depth_max_m: see `PresetOptions`.
        audio_rate_hz: see `PresetOptions`.
        modalities: see `PresetOptions`.

    Raises:
        InputError: unknown name or variant, or no modalities.
    """
    if name not in CORRUPTIONS:
        raise InputError("corruption preset", name, ", ".join(CORRUPTIONS))
    if variant not in get_args(Variant):
        raise InputError("variant", variant, " or ".join(get_args(Variant)))
    if not modalities:
        raise InputError("modalities", "none", "at least one")
    options = PresetOptions(variant, depth_max_m, audio_rate_hz, tuple(modalities))
    mixture = CORRUPTIONS[name](options)
    return CorruptionPreset(name, variant, *mixture)


def preset_for_model(name: str, model: ModelConfig, variant: Variant = "paper", *,
                     audio_rate_hz: int | None = None) -> CorruptionPreset:
    """Return a preset for the inputs of a model.

    Args:
        name: a key of `CORRUPTIONS`.
        model: description of the model: its modalities, and the range of its depth input.
        variant: values of the paper, or of the official code where it differs.
        audio_rate_hz: sample rate of the audio readings in Hz; None for the model's rate.

    Raises:
        InputError: unknown name or variant.
    """
    depth = model.modalities.get(_DEPTH)
    depth_max_m = depth.input.max_m if depth is not None and isinstance(depth.input, DepthInput) else DEPTH_MAX_M
    return corruption_preset(name, variant, depth_max_m=depth_max_m,
                             audio_rate_hz=audio_rate_hz or model.audio_rate_hz, modalities=tuple(model.modalities))


# Sigmas of RGB and depth, and the largest sigmas of the code's first stage, where sigma is continuous.
_GAUSSIAN: Final = {
    "gdtm-gaussian": ((0.0, 1.0, 2.0, 3.0), (0.0, 0.25, 0.5, 0.75), (3.0, 0.75)),
    "mmfi-gaussian": ((0.0, 0.75, 1.5, 2.0), (0.0, 2.0, 3.0, 4.0), (2.0, 3.0)),
    "room-gaussian-rgbd": ((0.0, 0.25, 0.5, 1.0), (0.0, 0.05, 0.1, 0.2), (1.0, 0.2)),
}


def _noise(modality: Modality, sigma: float, depth_max_m: float = DEPTH_MAX_M) -> GaussianNoise:
    """Return the noise of the paper, which is on every pixel, including invalid ones."""
    return GaussianNoise(modality, sigma, depth_max_m, keep_invalid=False)


def _gaussian(name: str, depth_max_m: float, continuously: bool) -> Rule:
    rgb_sigmas, depth_sigmas, largest = _GAUSSIAN[name]

    def levels(rng: np.random.Generator, scene: Environment) -> Draws:
        draws = {}
        for modality, sigmas in ((_RGB, rgb_sigmas), (_DEPTH, depth_sigmas)):
            level = int(rng.integers(len(sigmas)))
            draws[modality] = Draw(_noise(modality, sigmas[-1], depth_max_m), sigmas[level] / sigmas[-1], level)
        return draws

    def continuous(rng: np.random.Generator, scene: Environment) -> Draws:
        return {m: Draw(_noise(m, sigma, depth_max_m), float(rng.uniform()), -1)
                for m, sigma in zip((_RGB, _DEPTH), largest, strict=True)}

    return continuous if continuously else levels


def _room_gaussian(rng: np.random.Generator, scene: Environment) -> Draws:
    """Draw one of four levels for each of RGB and radar; the last one leaves nothing visible in a small image."""
    rgb, radar = (0.0, 0.25, 0.5, 1.0), (0.0, 0.1, 0.2, 0.4)
    kinds: dict[Modality, tuple[Corruption, Sequence[float]]] = {
        _RGB: (GaussianNoise(_RGB, rgb[-1]), rgb), _RADAR: (RadarNoise(), radar)}
    draws = {}
    for modality, (corruption, levels) in kinds.items():
        level = int(rng.integers(len(levels)))
        draws[modality] = Draw(corruption if level else None, levels[level], level)
    return draws


def _room_lowlight(rng: np.random.Generator, scene: Environment) -> Draws:
    dark = LowLight()
    return _pick([{_RGB: Draw(), _RADAR: Draw(RadarNoise(), 0.4, 1)},
                  {_RGB: Draw(dark, dark.severity_of(MEDIUM_GAMMA), 1), _RADAR: Draw()},
                  {_RGB: Draw(dark, 1.0, 2), _RADAR: Draw()}], rng)


def _room_blur(rng: np.random.Generator, scene: Environment) -> Draws:
    blur = Blur()
    pictures = (Draw(), Draw(blur, blur.severity_of(MEDIUM_KERNEL), 1), Draw(blur, 1.0, 2))
    radars = Draw(), Draw(RadarNoise(), 0.2, 1)
    return _pick([{_RGB: rgb, _RADAR: radar} for rgb in pictures for radar in radars], rng)


def _one_stream(modalities: Sequence[Modality], kind: type[Freezing | Delay]) -> Rule:
    def rule(rng: np.random.Generator, scene: Environment) -> Draws:
        faulty = modalities[int(rng.integers(len(modalities)))]
        severity = 1.0 - float(rng.random())
        return {m: Draw(kind(m), severity, -1) if m is faulty else Draw() for m in modalities}

    return rule


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


def _ave(rate_hz: int, all_parts: bool) -> Rule:
    dark = LowLight()
    medium = dark.severity_of(MEDIUM_GAMMA)
    image: dict[Environment, Corruption] = {
        "indoor": Chain(_RGB, ((dark, medium),)), "outdoor": Chain(_RGB, ((RainHaze(), 1.0), (dark, medium)))}
    audio: dict[Environment, Corruption] = {
        "indoor": Fan(sample_rate_hz=rate_hz), "outdoor": Wind(sample_rate_hz=rate_hz)}
    # Whether image and audio are corrupted.
    parts = [(True, False), (False, True), *([(False, False), (True, True)] if all_parts else [])]

    def rule(rng: np.random.Generator, scene: Environment) -> Draws:
        if scene not in image:
            raise InputError("scene", scene, "indoor or outdoor")
        bad_image, bad_audio = parts[int(rng.integers(len(parts)))]
        return {_RGB: Draw(image[scene], 1.0, 1) if bad_image else Draw(),
                _AUDIO: Draw(audio[scene], 1.0, 1) if bad_audio else Draw()}

    return rule


def _three(depth_max_m: float, code: bool) -> Rule:
    extreme = {_RGB: 3.0, _DEPTH: 0.75, _RADAR: 0.8}

    def rule(rng: np.random.Generator, scene: Environment) -> Draws:
        bad = {m: bool(rng.random() < 0.5) for m in extreme}
        if code and bad[_RGB] and bad[_RADAR]:
            bad[_DEPTH] = False
        return {m: Draw(_noise(m, sigma, depth_max_m), 1.0, 1) if bad[m] else Draw() for m, sigma in extreme.items()}

    return rule


def _room_kinds(o: PresetOptions) -> _Kinds:
    rate_hz = o.audio_rate_hz
    return {
        _RGB: (GaussianNoise(_RGB, 1.0), LowLight(), Blur(kernel_px=101), RainHaze(), Dropout(_RGB)),
        _DEPTH: (GaussianNoise(_DEPTH, 0.5, o.depth_max_m), DepthSaturation(depth_max_m=o.depth_max_m),
                 Dropout(_DEPTH)),
        _RADAR: (RadarNoise(), RadarInterference(), Dropout(_RADAR)),
        _AUDIO: (GaussianNoise(_AUDIO), Wind(sample_rate_hz=rate_hz), Fan(sample_rate_hz=rate_hz), Dropout(_AUDIO)),
    }


def _unseen_kinds(o: PresetOptions) -> _Kinds:
    return {_RGB: (Glare(),), _DEPTH: (DepthRipple(),), _RADAR: (RadarGhost(),),
            _AUDIO: (Knocks(sample_rate_hz=o.audio_rate_hz),)}


def _severe_kinds(o: PresetOptions) -> _Kinds:
    """Kinds of room-all whose range can be exceeded; sound is measured down from 30 dB."""
    def loud(worst_db: float) -> float:
        return 30.0 - SEVERE * (30.0 - worst_db)

    rate_hz = o.audio_rate_hz
    return {
        _RGB: (GaussianNoise(_RGB, SEVERE), LowLight(gamma=SEVERE_GAMMA**SEVERE), Blur(kernel_px=int(100 * SEVERE) + 1),
               RainHaze(beta=SEVERE * RainHaze.beta)),
        _DEPTH: (GaussianNoise(_DEPTH, SEVERE * 0.5, o.depth_max_m),),
        _RADAR: (RadarNoise(floor_db=SEVERE * RadarNoise.floor_db),
                 RadarInterference(stripe_db=SEVERE * RadarInterference.stripe_db,
                                   floor_db=SEVERE * RadarInterference.floor_db)),
        _AUDIO: (GaussianNoise(_AUDIO, SEVERE * PAPER_SIGMA[_AUDIO]),
                 Wind(sample_rate_hz=rate_hz, worst_db=loud(Wind.worst_db)),
                 Fan(sample_rate_hz=rate_hz, worst_db=loud(Fan.worst_db))),
    }


def _room(options: PresetOptions, known: _Kinds, weakest: float = 0.0) -> Rule:
    kinds = {m: known[m] for m in options.modalities}

    def one(choices: Sequence[Corruption | TemporalCorruption], rng: np.random.Generator) -> Draw:
        if rng.random() < ROOM_CLEAN:
            return Draw()
        corruption = choices[int(rng.integers(len(choices)))]
        severity = 1.0 - (1 - weakest) * float(rng.random()) if not isinstance(corruption, Dropout) else 1.0
        return Draw(corruption, severity, -1)

    def rule(rng: np.random.Generator, scene: Environment) -> Draws:
        while True:  # Most draws leave at least one modality usable; the others are rejected.
            draws = {m: one(choices, rng) for m, choices in kinds.items()}
            if any(d.severity < ROOM_CLEAN for d in draws.values()):
                return draws

    return rule


def _missing(modalities: Sequence[Modality]) -> Rule:
    """Draw for each modality: everywhere, nowhere, or at some nodes; one modality is always everywhere."""
    def rule(rng: np.random.Generator, scene: Environment) -> Draws:
        spared = modalities[int(rng.integers(len(modalities)))]
        shares = {m: float(rng.choice([0.0, 1.0, 0.5])) for m in modalities}
        return {m: Draw(Dropout(m), shares[m], -1) if shares[m] and m is not spared else Draw() for m in modalities}

    return rule


class Mixture(NamedTuple):
    """Contents of a preset, as the fields of `CorruptionPreset`."""

    modalities: tuple[Modality, ...]
    rule: Rule
    temporal: bool = False


def _conditions(conditions: Sequence[Draws]) -> Rule:
    return lambda rng, scene: _pick(conditions, rng)


CORRUPTIONS: dict[str, Callable[[PresetOptions], Mixture]] = {
    "gdtm-gaussian": lambda o: Mixture((_RGB, _DEPTH), _gaussian("gdtm-gaussian", o.depth_max_m, o.first_stage)),
    "mmfi-gaussian": lambda o: Mixture((_RGB, _DEPTH), _gaussian("mmfi-gaussian", o.depth_max_m, o.first_stage)),
    "gdtm-lowlight": lambda o: Mixture((_RGB, _DEPTH), _conditions(_lowlight_conditions(o.depth_max_m))),
    "gdtm-blur": lambda o: Mixture((_RGB, _DEPTH), _conditions(_blur_conditions())),
    "ave-rain-noise": lambda o: Mixture((_RGB, _AUDIO), _ave(o.audio_rate_hz, o.first_stage)),
    "gdtm-three-modalities": lambda o: Mixture((_RGB, _DEPTH, _RADAR), _three(o.depth_max_m, o.variant != "paper")),
    "room-gaussian": lambda o: Mixture((_RGB, _RADAR), _room_gaussian),
    "room-gaussian-rgbd": lambda o: Mixture((_RGB, _DEPTH), _gaussian("room-gaussian-rgbd", o.depth_max_m, False)),
    "room-lowlight": lambda o: Mixture((_RGB, _RADAR), _room_lowlight),
    "room-blur": lambda o: Mixture((_RGB, _RADAR), _room_blur),
    "room-all": lambda o: Mixture(o.modalities, _room(o, _room_kinds(o))),
    "room-missing": lambda o: Mixture(o.modalities, _missing(o.modalities)),
    "room-unseen": lambda o: Mixture(o.modalities, _room(o, _unseen_kinds(o))),
    "room-severe": lambda o: Mixture(o.modalities, _room(o, _severe_kinds(o), 1 / SEVERE)),
    "room-freeze": lambda o: Mixture(o.modalities, _one_stream(o.modalities, Freezing), temporal=True),
    "room-delay": lambda o: Mixture(o.modalities, _one_stream(o.modalities, Delay), temporal=True),
}
"""Presets by name. Training files, evaluation plans, table grids and error messages take their names from here.

A new preset is one more entry: the modalities that it draws for, and a rule that draws.
"""
