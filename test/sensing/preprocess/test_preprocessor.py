# SPDX-License-Identifier: Apache-2.0
"""Preprocessing: each modality against known values, and complete frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from admn_ros.config import AudioInput, DepthInput, RadarInput, RgbInput
from admn_ros.errors import ConfigError, InputError
from admn_ros.sample import MISSING, Array, Availability, Modality, Reading, SensorFrame, SensorKey
from admn_ros.sensing.preprocess.mel import POWER_FLOOR, hertz_to_mel, mel_filters, spectra
from admn_ros.sensing.preprocess.preprocessor import Preprocessor, check_inputs
from admn_ros.sensing.preprocess.tensors import audio_tensor, radar_tensor
from admn_ros.sensing.preprocess.vision import depth_tensor, rgb_tensor
from helpers import models

RGB = RgbInput(height=32, width=48)
DEPTH = DepthInput(height=32, width=48, min_m=0.1, max_m=9.0)
RADAR = RadarInput(height=32, width=16, floor=2.0, mean=1.5, std=0.5)
AUDIO = AudioInput()


# --- rgb ----------------------------------------------------------------------------------------------


def test_rgb_is_normalized_channel_by_channel() -> None:
    image = np.empty((64, 96, 3), np.uint8)
    image[:] = (255, 0, 51)
    out = rgb_tensor(image, RGB)
    assert out.shape == RGB.shape
    assert out.dtype == torch.float32
    expected = (np.array([1.0, 0.0, 0.2]) - RGB.mean) / RGB.std
    np.testing.assert_allclose(out.numpy(), np.broadcast_to(expected[:, None, None], out.shape), atol=1e-5)


def test_rgb_shrinks_by_area() -> None:
    # One white pixel of 16 is a mean of 1/16, wherever it is; sampling would lose it or exaggerate it.
    image = np.zeros((128, 192, 3), np.uint8)
    image[1::4, 2::4] = 255
    plain = RgbInput(height=32, width=48, mean=(0, 0, 0), std=(1, 1, 1))
    np.testing.assert_allclose(rgb_tensor(image, plain).numpy(), 16 / 255, atol=1e-6)


@pytest.mark.filterwarnings("error")  # torch warns of tensors over read-only memory
@pytest.mark.parametrize("shape", [(32, 48, 3), (1, 1, 3), (10, 500, 3), (2000, 7, 3)])
def test_rgb_of_any_size_keeps_a_constant(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 51, np.uint8)
    image.flags.writeable = False
    plain = RgbInput(height=32, width=48, mean=(0, 0, 0), std=(1, 1, 1))
    np.testing.assert_allclose(rgb_tensor(image, plain).numpy(), 0.2, atol=1e-6)


def test_tensors_do_not_share_memory_with_the_message() -> None:
    image, depth, radar = np.ones((32, 48, 3), np.uint8), np.ones((32, 48), np.float32), np.ones((32, 16), np.float32)
    tensors = rgb_tensor(image, RGB), depth_tensor(depth, DEPTH), radar_tensor(radar, RADAR)
    before = [t.clone() for t in tensors]
    for array in (image, depth, radar):
        array[:] = 7
    assert all(torch.equal(t, b) for t, b in zip(tensors, before, strict=True))


# --- depth --------------------------------------------------------------------------------------------


def test_depth_is_clipped_and_scaled_and_repeated() -> None:
    depth = np.full((32, 48), 4.5, np.float32)
    depth[0], depth[1], depth[2] = 20.0, 0.05, np.nan
    out = depth_tensor(depth, DEPTH)
    assert out.shape == (3, 32, 48)
    np.testing.assert_allclose(out[0, :4, 0], [1.0, 0.1 / 9.0, 0.0, 0.5], rtol=1e-6)
    assert torch.equal(out[0], out[1])
    assert torch.equal(out[0], out[2])


@pytest.mark.parametrize("size", [(128, 192), (75, 113), (16, 24), (10, 100)])
def test_depth_does_not_mix_invalid_with_valid(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    depth = np.full(size, 4.5, np.float32)
    depth[rng.random(size) < 0.5] = np.nan
    values = np.unique(depth_tensor(depth, DEPTH).numpy().round(5))
    assert set(values.tolist()) <= {0.0, 0.5}
    assert 0.5 in values


def test_depth_keeps_the_mean_of_what_is_valid() -> None:
    depth = np.full((64, 96), np.nan, np.float32)
    depth[0::2, 0::2], depth[1::2, 1::2] = 2.0, 4.0  # two of four pixels of each cell
    np.testing.assert_allclose(depth_tensor(depth, DEPTH).numpy(), 3.0 / 9.0, rtol=1e-5)


def test_depth_with_holes_larger_than_a_pixel() -> None:
    depth = np.full((128, 192), 1.8, np.float32)
    depth[:64] = np.nan
    out = depth_tensor(depth, DEPTH)[0]
    assert not out[:16].any()
    np.testing.assert_allclose(out[16:], 0.2, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -3.0])
def test_depth_without_a_valid_pixel_is_zero(bad: float) -> None:
    out = depth_tensor(np.full((100, 100), bad, np.float32), DEPTH)
    assert not out.any()


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 0.0, -3.0])
def test_what_is_out_of_range_elsewhere_changes_no_pixel(odd: float) -> None:
    depth = np.random.default_rng(0).uniform(0.2, 8.0, (64, 96)).astype(np.float32)
    beyond = depth.copy()
    beyond[:2], beyond[2:4], beyond[4:6] = odd, 20.0, 0.01
    found, expected = depth_tensor(beyond, DEPTH)[0], depth_tensor(depth, DEPTH)[0]
    np.testing.assert_allclose(found[3:], expected[3:], rtol=1e-6)
    np.testing.assert_allclose(found[:3, 0], [0.0, 1.0, 0.1 / 9.0], rtol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])   # of invalid pixels
@pytest.mark.parametrize("near_m", [0.0, 0.1, 2.0])
def test_depth_is_the_mean_of_what_is_valid_however_little_that_is(near_m: float, share: float) -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(-0.5, 12.0, (256, 384)).astype(np.float32)
    depth[rng.random(depth.shape) < share] = rng.choice([np.nan, np.inf, -np.inf, 0.0])
    valid = np.isfinite(depth) & (depth > 0)
    cells = (32, 8, 48, 8)
    count = valid.reshape(cells).sum(axis=(1, 3))
    total = np.where(valid, np.clip(depth, near_m, 9.0), 0).astype(float).reshape(cells).sum(axis=(1, 3))
    expected = np.where(count > 0, total / np.maximum(count, 1), 0) / 9.0
    assert share < 0.99 or (count == 0).any()
    found = depth_tensor(depth, DepthInput(height=32, width=48, min_m=near_m, max_m=9.0))[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)


@settings(deadline=None, max_examples=60)
@given(arrays(np.float32, st.tuples(st.integers(1, 70), st.integers(1, 70)),
              elements=st.floats(width=32) | st.floats(0.125, 9.0, width=32)))
def test_depth_is_always_zero_or_in_range(depth: np.ndarray) -> None:
    out = depth_tensor(depth, DEPTH).numpy()
    assert ((out == 0) | ((out >= 0.1 / 9.0 - 1e-6) & (out <= 1.0))).all()


# --- radar --------------------------------------------------------------------------------------------


def test_radar_is_compressed_and_normalized() -> None:
    heatmap = np.full((32, 16), 2.0 * (np.e ** 3 - 1), np.float32)
    out = radar_tensor(heatmap, RADAR)
    assert out.shape == RADAR.shape
    np.testing.assert_allclose(out.numpy(), (3.0 - 1.5) / 0.5, rtol=1e-5)


def test_radar_counts_what_is_outside_the_view_as_zero() -> None:
    heatmap = np.full((32, 16), np.nan, np.float32)
    heatmap[3] = -5.0
    out = radar_tensor(heatmap, RADAR)
    assert torch.equal(out, radar_tensor(np.zeros((32, 16), np.float32), RADAR))
    np.testing.assert_allclose(out.numpy(), -3.0)


@settings(deadline=None, max_examples=60)
@given(arrays(np.float32, st.tuples(st.integers(1, 60), st.integers(1, 60)), elements=st.floats(width=32)),
       st.sampled_from([1e-30, 1.0, 1e12]))
def test_radar_is_always_finite(heatmap: np.ndarray, floor: float) -> None:
    assert radar_tensor(heatmap, RadarInput(height=32, width=16, floor=floor)).isfinite().all()


# --- audio --------------------------------------------------------------------------------------------


def tone(hertz: float, rate: int = 16000, seconds: float = 1.1, channels: int = 4) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


@pytest.mark.parametrize("hertz", [200.0, 1000.0, 4000.0, 7000.0])
def test_a_tone_is_loudest_in_its_mel_band(hertz: float) -> None:
    out = audio_tensor(tone(hertz), AUDIO)
    assert out.shape == (4, 64, 64)
    mel, top = hertz_to_mel(np.array([hertz, 8000.0])).tolist()
    loudest = out.mean(dim=2).argmax(dim=1)
    assert ((loudest + 1 - mel / (top / 65)).abs() <= 1).all()


def test_htk_formula() -> None:
    np.testing.assert_allclose(hertz_to_mel(np.array([0.0, 700.0, 1000.0])), [0.0, 781.17, 999.99], atol=0.01)


@pytest.mark.parametrize(("rate", "fft", "mels"), [(16000, 512, 64), (16000, 512, 128), (48000, 1024, 128)])
def test_every_mel_filter_hears_something(rate: int, fft: int, mels: int) -> None:
    filters = mel_filters(rate, fft, mels)
    assert filters.shape == (mels, fft // 2 + 1)
    assert (filters >= 0).all()
    assert (filters.sum(axis=1) > 0.1).all()


def test_power_is_that_of_the_windowed_dft() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, (16640, 1)).astype(np.float32)
    out = audio_tensor(sound, AudioInput(channels=1, mean=0.0, std=1.0))
    window = np.sin(np.pi * np.arange(512) / 512) ** 2
    for frame in (0, 30, 63):
        power = np.abs(np.fft.rfft(sound[frame * 256:frame * 256 + 512, 0] * window)) ** 2
        np.testing.assert_allclose(out[0, :, frame], np.log(mel_filters(16000, 512, 64) @ power), atol=1e-3)


@pytest.mark.parametrize("fft", [1, 2, 15, 509, 512])
def test_spectra_are_windowed_dfts(fft: int) -> None:
    rng = np.random.default_rng(0)
    sound, window = rng.normal(0, 0.1, (2, 2000)).astype(np.float32), rng.uniform(size=fft).astype(np.float32)
    found = spectra(sound, window, 100)
    assert found.shape == (2, 1 + (2000 - fft) // 100, fft // 2 + 1)
    expected = np.fft.rfft(sound[:, 700:700 + fft] * window)
    np.testing.assert_allclose(found[:, 7], expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_silence_and_no_samples_are_the_floor() -> None:
    expected = (np.log(POWER_FLOOR) - AUDIO.mean) / AUDIO.std
    for sound in (np.zeros((16384, 4), np.float32), np.zeros((0, 4), np.float32)):
        np.testing.assert_allclose(audio_tensor(sound, AUDIO).numpy(), expected, rtol=1e-5)


def test_short_sound_is_at_the_end() -> None:
    out = audio_tensor(tone(1000.0, seconds=0.25), AUDIO)
    floor = (np.log(POWER_FLOOR) - AUDIO.mean) / AUDIO.std
    np.testing.assert_allclose(out[:, :, :47].numpy(), floor, rtol=1e-5)
    assert (out[:, 22, 50:] > 1.0).all()


def test_only_the_newest_samples_count() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, (40000, 4)).astype(np.float32)
    assert torch.equal(audio_tensor(sound, AUDIO), audio_tensor(sound[-16640:], AUDIO))


def test_channels_are_repeated_or_cut() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, (16640, 6)).astype(np.float32)
    four = audio_tensor(sound[:, :4], AUDIO)
    assert torch.equal(audio_tensor(sound, AUDIO), four)
    two = audio_tensor(sound[:, :2], AUDIO)
    assert torch.equal(two, four[[0, 1, 0, 1]])
    one = audio_tensor(sound[:, :1], AUDIO)
    assert torch.equal(one, four[[0, 0, 0, 0]])


def test_another_rate_gives_nearly_the_same_spectrogram() -> None:
    at_model, at_48k = audio_tensor(tone(1000.0), AUDIO), audio_tensor(tone(1000.0, 48000), AUDIO, 48000)
    loud = at_model > 0.5
    assert loud.sum() > 500
    np.testing.assert_allclose(at_48k[loud], at_model[loud], atol=0.05)


def test_loud_sound_is_clipped_and_stays_finite() -> None:
    out = audio_tensor(np.full((16640, 1), 3e38, np.float32), AUDIO)
    assert out.isfinite().all()
    assert torch.equal(out, audio_tensor(np.ones((16640, 1), np.float32), AUDIO))


# --- refusals and whole frames ------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "data", "config"), [
    (rgb_tensor, np.zeros((4, 4), np.uint8), RGB),
    (rgb_tensor, np.zeros((4, 4, 4), np.uint8), RGB),
    (rgb_tensor, np.zeros((4, 4, 3), np.float32), RGB),
    (rgb_tensor, np.zeros((0, 4, 3), np.uint8), RGB),
    (depth_tensor, np.zeros((4, 4), np.uint16), DEPTH),
    (depth_tensor, np.zeros((4, 4, 1), np.float32), DEPTH),
    (radar_tensor, np.zeros((4, 0), np.float32), RADAR),
    (audio_tensor, np.zeros(9, np.float32), AUDIO),
    (audio_tensor, np.zeros((9, 2), np.int16), AUDIO),
    (audio_tensor, np.zeros((9, 0), np.float32), AUDIO),
    (audio_tensor, np.full((9, 2), np.nan, np.float32), AUDIO),
])
def test_data_that_do_not_fit_are_refused(call: object, data: Array, config: object) -> None:
    with pytest.raises(InputError):
        call(data, config)  # type: ignore[operator]


MODEL = models.inputs_only(("north", "east", "south"), {
    Modality.RGB: RGB, Modality.DEPTH: DEPTH, Modality.RADAR: RADAR, Modality.AUDIO: AUDIO})
DATA: dict[Modality, Array] = {
    Modality.RGB: np.full((40, 60, 3), 200, np.uint8), Modality.DEPTH: np.full((40, 60), 2.0, np.float32),
    Modality.RADAR: np.full((64, 16), 50.0, np.float32), Modality.AUDIO: tone(500.0)}


def frame_of(readings: dict[SensorKey, Reading]) -> SensorFrame:
    return SensorFrame(123, next(iter(readings)), readings)


def fresh(data: Array) -> Reading:
    return Reading(Availability.FRESH, data, 120)


def test_rows_follow_the_model_not_the_frame() -> None:
    darker = np.full((40, 60, 3), 20, np.uint8)
    sample = Preprocessor(MODEL)(frame_of({
        SensorKey("south", Modality.RGB): fresh(DATA[Modality.RGB]),
        SensorKey("north", Modality.RGB): Reading(Availability.HELD, darker, 1),
        SensorKey("east", Modality.RGB): MISSING,
        SensorKey("east", Modality.AUDIO): fresh(DATA[Modality.AUDIO])}))
    assert sample.stamp_ns == 123
    assert list(sample.inputs) == list(MODEL.modalities)
    assert {m: p.tolist() for m, p in sample.present.items()} == {
        Modality.RGB: [True, False, True], Modality.DEPTH: [False] * 3, Modality.RADAR: [False] * 3,
        Modality.AUDIO: [False, True, False]}
    assert torch.equal(sample.inputs[Modality.RGB][0], rgb_tensor(darker, RGB))
    assert torch.equal(sample.inputs[Modality.RGB][2], rgb_tensor(DATA[Modality.RGB], RGB))
    for modality, x in sample.inputs.items():
        assert x.shape == (3, *MODEL.modalities[modality].input.shape)
        assert x.dtype == torch.float32
        assert not x[~sample.present[modality]].any()
        assert all(row.any() for row in x[sample.present[modality]])


@given(st.sets(st.sampled_from([SensorKey(n, m) for n in MODEL.sensor_nodes for m in MODEL.modalities]), min_size=1))
@settings(deadline=None, max_examples=20)
def test_present_is_exactly_what_the_frame_holds(keys: set[SensorKey]) -> None:
    sample = Preprocessor(MODEL)(frame_of({k: fresh(DATA[k.modality]) for k in keys}))
    present = {SensorKey(MODEL.sensor_nodes[i], m) for m, p in sample.present.items() for i in range(3) if p[i]}
    assert present == keys


def test_an_unknown_input_names_what_the_model_has() -> None:
    small = models.inputs_only(("north",), {Modality.RGB: RGB})
    check_inputs(small, [SensorKey("north", Modality.RGB)])
    with pytest.raises(ConfigError, match=r"west.*allowed: the model's sensor nodes: north"):
        check_inputs(small, [SensorKey("west", Modality.RGB)])
    with pytest.raises(ConfigError, match=r"north/audio.*allowed: the model's modalities: rgb"):
        check_inputs(small, [SensorKey("north", Modality.AUDIO)])
    with pytest.raises(ConfigError):
        Preprocessor(small)(frame_of({SensorKey("north", Modality.AUDIO): MISSING}))


def test_a_bad_reading_names_its_input() -> None:
    with pytest.raises(InputError, match=r"east/rgb\.rgb"):
        Preprocessor(MODEL)(frame_of({SensorKey("east", Modality.RGB): fresh(np.zeros((4, 4), np.uint8))}))


def test_rows_that_do_not_count_are_cut_off():
    heatmap = np.random.default_rng(0).uniform(0, 100, (256, 64)).astype(np.float32)
    near = RadarInput(height=128, width=64, rows=128)
    assert torch.equal(radar_tensor(heatmap, near), radar_tensor(heatmap[:128], near))
    assert torch.equal(radar_tensor(heatmap[:100], near), radar_tensor(heatmap[:100], RadarInput(height=128, width=64)))


@pytest.mark.parametrize("shape", [(6, 16_000), (6, 65), (4, 5), (1, 2)])
def test_sound_that_is_transposed_is_refused_by_its_shape(shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"audio: found float32 \(\d, \d+\); allowed: float32 \(samples, channels\)"):
        audio_tensor(np.zeros(shape, np.float32), AudioInput())


def test_a_transposed_heatmap_is_refused() -> None:
    config = RadarInput(height=32, width=16, rows=128)
    radar_tensor(np.ones((256, 64), np.float32), config)
    with pytest.raises(InputError, match=r"radar: found float32 \(64, 256\).*ranges .*the model uses 128"):
        radar_tensor(np.ones((64, 256), np.float32), config)
