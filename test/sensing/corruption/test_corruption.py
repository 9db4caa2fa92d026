# SPDX-License-Identifier: Apache-2.0
"""Corruptions of single readings: identity at 0, more damage with more severity, seeds, shapes, exact physics."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.errors import InputError
from admn_ros.sample import Modality
from admn_ros.sensing.corruption.audio import Fan, Wind
from admn_ros.sensing.corruption.corruption import Chain, Corruption, CorruptionLabel, GaussianNoise, kind_of, label_of
from admn_ros.sensing.corruption.radar import RadarInterference, RadarNoise
from admn_ros.sensing.corruption.vision import Blur, DepthSaturation, LowLight
from admn_ros.sensing.corruption.weather import RainHaze

ALL: list[Corruption] = [
    *(GaussianNoise(m) for m in Modality), GaussianNoise(Modality.DEPTH, 4.0, keep_invalid=False), LowLight(), Blur(),
    RainHaze(), DepthSaturation(), Wind(), Fan(), RadarNoise(), RadarInterference(), RadarInterference(axis="rows"),
    Chain(Modality.RGB, ((RainHaze(), 1.0), (LowLight(), 0.35))),
]
IDS = [f"{kind_of(c)}-{c.modality}-{i}" for i, c in enumerate(ALL)]


def scene_rgb(height: int = 90, width: int = 160) -> np.ndarray:
    """A bright picture with edges and texture."""
    rng = np.random.default_rng(5)
    image = cv2.resize(rng.integers(40, 256, (9, 16, 3)).astype(np.uint8), (width, height),
                       interpolation=cv2.INTER_NEAREST)
    return np.clip(image + rng.integers(-10, 10, image.shape), 0, 255).astype(np.uint8)


def scene_depth(height: int = 60, width: int = 80) -> np.ndarray:
    depth = np.linspace(0.5, 8, height * width, dtype=np.float32).reshape(height, width)
    depth[10:15, 20:40] = np.nan
    return depth


def scene_radar() -> np.ndarray:
    rng = np.random.default_rng(6)
    heatmap = np.sqrt(rng.standard_exponential((128, 64))).astype(np.float32)
    heatmap[40:44, 30:33] += 300
    return heatmap


def scene_audio(samples: int = 8000) -> np.ndarray:
    t = np.arange(samples) / 16000
    return np.stack([0.2 * np.sin(2 * np.pi * 440 * t + k) for k in range(4)], axis=1).astype(np.float32)


SCENES = {Modality.RGB: scene_rgb(), Modality.DEPTH: scene_depth(), Modality.RADAR: scene_radar(),
          Modality.AUDIO: scene_audio()}


def damage(clean: np.ndarray, bad: np.ndarray) -> float:
    """Mean absolute error; a lost pixel counts as an error of its whole range."""
    clean, bad = clean.astype(np.float64), bad.astype(np.float64)
    valid = np.isfinite(clean)
    return float(np.abs(np.where(np.isfinite(bad), bad, 0) - clean)[valid].mean())


@pytest.mark.parametrize("corruption", ALL, ids=IDS)
def test_zero_is_the_identity(corruption: Corruption) -> None:
    data = SCENES[corruption.modality]
    assert corruption.apply(data, 0.0, np.random.default_rng(1)) is data
    assert label_of(corruption, 0.0) == CorruptionLabel("clean", 0.0, {}, 0)


@pytest.mark.parametrize("corruption", ALL, ids=IDS)
@settings(max_examples=5, deadline=None)
@given(severity=st.floats(0.01, 1), seed=st.integers(0, 2**32))
def test_shape_type_seed_and_input_untouched(corruption: Corruption, severity: float, seed: int) -> None:
    data = SCENES[corruption.modality]
    before = data.copy()
    bad = corruption.apply(data, severity, np.random.default_rng(seed))
    assert (bad.shape, bad.dtype) == (data.shape, data.dtype)
    again = corruption.apply(data, severity, np.random.default_rng(seed))
    assert np.array_equal(bad, again, equal_nan=bad.dtype.kind == "f")
    assert np.array_equal(data, before, equal_nan=data.dtype.kind == "f")
    if corruption.modality in (Modality.RADAR, Modality.AUDIO):
        assert np.isfinite(bad).all()
    if corruption.modality is not Modality.AUDIO:
        assert not (bad < 0).any()
    else:
        assert np.abs(bad).max() <= 1


@pytest.mark.parametrize("corruption", ALL, ids=IDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_damage_grows_with_severity(corruption: Corruption, seed: int) -> None:
    data = SCENES[corruption.modality]
    errors = [damage(data, corruption.apply(data, s, np.random.default_rng(seed)))
              for s in (0, 0.1, 0.25, 0.5, 0.75, 1)]
    assert errors[0] == 0
    assert all(a < b for a, b in pairwise(errors)), errors
    # and it is worth its name: at least a tenth of the data's own scale at the end
    assert errors[-1] > 0.1 * float(np.nanmean(np.abs(data))), errors


@pytest.mark.parametrize("corruption", [c for c in ALL if not isinstance(c, Blur)],
                         ids=[i for i in IDS if not i.startswith("blur")])
def test_seeds_differ(corruption: Corruption) -> None:
    data = SCENES[corruption.modality]
    one, other = (corruption.apply(data, 0.7, np.random.default_rng(seed)) for seed in (1, 2))
    assert not np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


@pytest.mark.parametrize("corruption", ALL, ids=IDS)
@pytest.mark.parametrize("severity", [-0.1, 1.01, float("nan"), float("inf")])
def test_bad_severity(corruption: Corruption, severity: float) -> None:
    with pytest.raises(InputError, match="severity"):
        corruption.apply(SCENES[corruption.modality], severity, np.random.default_rng(0))
    with pytest.raises(InputError, match="severity"):
        label_of(corruption, severity)


@pytest.mark.parametrize(("modality", "data"), [
    (Modality.RGB, np.zeros((4, 4), np.uint8)), (Modality.RGB, np.zeros((4, 4, 4), np.uint8)),
    (Modality.RGB, np.zeros((4, 4, 3), np.float32)), (Modality.RGB, np.zeros((0, 4, 3), np.uint8)),
    (Modality.DEPTH, np.zeros((4, 4), np.uint16)), (Modality.AUDIO, np.zeros(4, np.float32)),
    (Modality.RADAR, np.zeros((4, 4), np.float64)),
])
def test_bad_data(modality: Modality, data: np.ndarray) -> None:
    with pytest.raises(InputError, match=str(modality)):
        GaussianNoise(modality).apply(data, 0.5, np.random.default_rng(0))


# --- Gaussian noise ---------------------------------------------------------------------------------


def test_gaussian_rgb_is_on_unit_data_then_clamped() -> None:
    grey = np.full((300, 300, 3), 128, np.uint8)
    faint = GaussianNoise(Modality.RGB, 0.1).apply(grey, 0.5, np.random.default_rng(0))
    assert faint.astype(float).std() / 255 == pytest.approx(0.05, rel=0.02)
    assert faint.astype(float).mean() / 255 == pytest.approx(128 / 255, abs=0.002)
    # sigma 3: nearly all is clamped; half-half, as a mean near the middle demands
    wild = GaussianNoise(Modality.RGB, 3.0).apply(grey, 1.0, np.random.default_rng(0))
    assert np.isin(wild, (0, 255)).mean() == pytest.approx(0.867, abs=0.01)  # P(|N| > 0.5 / 3)


def test_gaussian_depth_scale_and_invalid_pixels() -> None:
    depth = np.full((200, 200), 4.5, np.float32)
    depth[:20] = np.nan
    depth[20:30] = np.inf
    kept = GaussianNoise(Modality.DEPTH, 0.05, depth_max_m=9.0).apply(depth, 1.0, np.random.default_rng(0))
    assert np.isnan(kept[:30]).all()
    assert kept[30:].std() == pytest.approx(0.45, rel=0.03)
    filled = GaussianNoise(Modality.DEPTH, 0.75, 9.0, keep_invalid=False).apply(depth, 1.0, np.random.default_rng(0))
    assert np.isfinite(filled).all()
    assert filled.min() > 0
    assert filled.max() == pytest.approx(9.0)
    # noise around 0 is positive half the time
    assert (filled[:30] > 0.01).mean() == pytest.approx(0.5, abs=0.02)


def test_label_carries_the_papers_sigma() -> None:
    label = label_of(GaussianNoise(Modality.RGB), 2 / 3, 2)
    assert (label.kind, label.level) == ("gaussian", 2)
    assert label.value == label.parameters["sigma"] == pytest.approx(2.0)


# --- low light --------------------------------------------------------------------------------------


def test_lowlight_levels_are_the_codes() -> None:
    dark = LowLight()
    medium = dark.parameters(dark.severity_of(5))
    assert medium == pytest.approx({"gamma": 5, "sigma": 25 / 255, "gain": 0.5, "offset": 10 / 255, "blue": 30 / 255})
    severe = dark.parameters(1.0)
    assert severe == pytest.approx({**medium, "gamma": 100})
    grey = np.full((300, 300, 3), 128, np.uint8)
    image = dark.apply(grey, 1.0, np.random.default_rng(0)).astype(float)
    # 128 -> 0; half of N(0, 25) is clipped at 0, the mean of the rest is 25 / sqrt(2 pi); times 0.5, + 10, + 30 blue
    expected = 10 + 0.5 * 25 / np.sqrt(2 * np.pi)
    assert image.mean((0, 1)) == pytest.approx([expected, expected, expected + 30], abs=0.2)
    with pytest.raises(InputError, match="gamma"):
        LowLight(gamma=2.0)


# --- blur -------------------------------------------------------------------------------------------


def test_blur_kernels() -> None:
    blur = Blur()
    assert blur.severity_of(51) == 0.25
    assert blur.parameters(0.25) == pytest.approx({"kernel_px": 51, "sigma_px": 8.0})
    assert blur.parameters(1.0) == pytest.approx({"kernel_px": 201, "sigma_px": 30.5})
    image = scene_rgb(224, 224)
    for severity, kernel in ((0.25, 51), (1.0, 201)):
        assert np.array_equal(blur.apply(image, severity, np.random.default_rng(0)),
                              cv2.GaussianBlur(image, (kernel, kernel), 0))


def test_blur_is_the_same_after_the_resize() -> None:
    """A reading of 480x270 blurred, then resized to 224x224, is as one that was resized first."""
    image = scene_rgb(270, 480)
    before = Blur().apply(cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA), 0.25, np.random.default_rng(0))
    after = cv2.resize(Blur().apply(image, 0.25, np.random.default_rng(0)), (224, 224), interpolation=cv2.INTER_AREA)
    assert np.abs(before.astype(int) - after).mean() < 1.0


# --- saturation, rain -------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(severity=st.floats(0.05, 1), seed=st.integers(0, 1000))
def test_saturation_loses_its_share_and_invents_no_valid_pixels_elsewhere(severity: float, seed: int) -> None:
    depth = np.full((60, 80), 3.0, np.float32)
    bad = DepthSaturation(false_returns=0.0).apply(depth, severity, np.random.default_rng(seed))
    assert np.isnan(bad).mean() == pytest.approx(severity, abs=0.002)
    assert np.abs(bad[np.isfinite(bad)] - 3).max(initial=0) < 3 * 0.05 * 6


def test_full_saturation_says_nothing_about_the_scene() -> None:
    depths = [np.full((120, 160), z, np.float32) for z in (1.0, 6.0)]
    one, other = (DepthSaturation().apply(d, 1.0, np.random.default_rng(3)) for d in depths)
    assert np.array_equal(one, other, equal_nan=True)
    assert np.isfinite(one).mean() == pytest.approx(0.05, abs=0.01)


def test_saturation_keeps_invalid_pixels_invalid_where_nothing_is_lost() -> None:
    depth = scene_depth()
    bad = DepthSaturation(false_returns=0.0).apply(depth, 0.3, np.random.default_rng(0))
    assert np.isnan(bad[np.isnan(depth)]).all()


def test_rain_has_streaks_that_stand_and_a_veil_that_thickens_upwards() -> None:
    black = np.zeros((180, 320, 3), np.uint8)
    rain = RainHaze(tilt_deg=0.0).apply(black, 1.0, np.random.default_rng(0)).astype(float)
    quiet = np.median(rain, axis=(1, 2))  # streaks cover less than half of a row
    assert quiet[5] > 2 * quiet[-5] > 0
    light = rain[..., 0] - quiet[:, None]
    along, across = np.abs(np.diff(light, axis=0)).mean(), np.abs(np.diff(light, axis=1)).mean()
    assert across > 3 * along


# --- audio ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Wind, Fan])
@pytest.mark.parametrize(("severity", "snr_db"), [(0.5, 10.0), (0.75, 0.0), (1.0, -10.0)])
def test_snr_is_exact(kind: type[Wind | Fan], severity: float, snr_db: float) -> None:
    sound = scene_audio() * 0.1  # quiet, so that nothing clips
    corruption = kind(worst_db=-10.0)
    noise = corruption.apply(sound, severity, np.random.default_rng(0)) - sound
    assert corruption.parameters(severity) == {"snr_db": snr_db}
    assert 10 * np.log10((sound.astype(float) ** 2).mean() / (noise.astype(float) ** 2).mean()) == pytest.approx(
        snr_db, abs=0.01)


def power_below(noise: np.ndarray, hz: float) -> float:
    power = np.abs(np.fft.rfft(noise[:, 0])) ** 2
    return float(power[np.fft.rfftfreq(len(noise), 1 / 16000) < hz].sum() / power.sum())


def test_wind_rumbles_and_gusts_and_fan_hums() -> None:
    wind, fan = (k().noise(64000, 2, np.random.default_rng(4)) for k in (Wind, Fan))
    assert power_below(wind, 300) > 0.9
    assert power_below(fan, 300) < 0.9
    # wind swells, a fan does not: spread of the power over quarters of a second
    spread = [np.std(np.log((n.reshape(16, -1) ** 2).mean(1))) for n in (wind, fan)]
    assert spread[0] > 3 * spread[1]
    # a fan's power is in lines: the strongest hundredth of the bins hold more than half
    power = np.sort(np.abs(np.fft.rfft(fan[:, 0])) ** 2)
    assert power[-len(power) // 100:].sum() > 0.5 * power.sum()
    # microphones: wind is each one's own
    assert abs(np.corrcoef(wind.T)[0, 1]) < 0.6


def test_noise_in_silence_and_in_short_chunks() -> None:
    for kind in (Wind, Fan):
        bad = kind().apply(np.zeros((1056, 4), np.float32), 1.0, np.random.default_rng(0))
        assert np.sqrt((bad ** 2).mean()) == pytest.approx(1e-3 * 10 ** (-kind().worst_db / 20), rel=0.01)


# --- radar ------------------------------------------------------------------------------------------


def test_interference_is_stripes_and_noise_is_not() -> None:
    clean = scene_radar()
    stripes = RadarInterference(stripes=1).apply(clean, 0.8, np.random.default_rng(2))
    noise = RadarNoise().apply(clean, 0.8, np.random.default_rng(2))
    columns = [np.median(x, axis=0) for x in (stripes, noise)]
    assert columns[0].max() > 20 * np.median(columns[0])
    assert columns[1].max() < 2 * np.median(columns[1])
    rows = RadarInterference(stripes=1, axis="rows").apply(clean, 0.8, np.random.default_rng(2))
    assert np.median(rows, axis=1).max() > 20 * np.median(np.median(rows, axis=1))


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-3, 1e6))
def test_radar_damage_does_not_depend_on_the_unit(scale: float) -> None:
    clean = scene_radar()
    for corruption in (RadarNoise(), RadarInterference(), GaussianNoise(Modality.RADAR)):
        one = corruption.apply(clean, 0.5, np.random.default_rng(0))
        scaled = corruption.apply(clean * np.float32(scale), 0.5, np.random.default_rng(0))
        assert np.allclose(scaled / np.float32(scale), one, rtol=1e-3, atol=1e-3 * one.max())


def test_radar_noise_is_relative_to_the_median() -> None:
    heatmap = np.full((200, 100), 2.0, np.float32)
    heatmap[:20] = 2000  # an echo, which is not the floor
    noise = RadarNoise(floor_db=40.0)
    bad = noise.apply(heatmap, 0.5, np.random.default_rng(0))
    assert noise.parameters(0.5) == {"noise_db": 20.0}
    # power: the signal's and that of an amplitude of (10 - 1) floors
    assert (bad[20:].astype(float) ** 2).mean() == pytest.approx(2.0 ** 2 + (9 * 2.0) ** 2, rel=0.03)


def test_radar_without_a_single_echo() -> None:
    empty = np.zeros((8, 8), np.float32)
    assert RadarNoise().apply(empty, 1.0, np.random.default_rng(0)).min() > 0
    assert np.array_equal(GaussianNoise(Modality.RADAR).apply(empty, 1, np.random.default_rng(0)) > 1e-30, empty > 0)
    for corruption in (RadarNoise(), RadarInterference()):
        assert np.isfinite(corruption.apply(empty, 1.0, np.random.default_rng(0))).all()


# --- chains -----------------------------------------------------------------------------------------


def test_chain() -> None:
    rain, dark = RainHaze(), LowLight()
    chain = Chain(Modality.RGB, ((rain, 1.0), (dark, 0.5)))
    label = label_of(chain, 0.8, 1)
    assert label.kind == "rain+lowlight"
    assert label.parameters == {**rain.parameters(0.8), **dark.parameters(0.4)}
    rng = np.random.default_rng(7)
    image = SCENES[Modality.RGB]
    assert np.array_equal(dark.apply(rain.apply(image, 0.8, rng), 0.4, rng),
                          chain.apply(image, 0.8, np.random.default_rng(7)))
    for links in ((), ((DepthSaturation(), 1.0),), ((rain, 0.0),), ((rain, 1.5),)):
        with pytest.raises(InputError, match="links"):
            Chain(Modality.RGB, links)
