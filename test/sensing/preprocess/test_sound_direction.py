# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch

from admn_ros.config import AUDIO_PARTS, AudioInput, DepthInput
from admn_ros.sensing.preprocess.sound_direction import SOUND_MPS
from admn_ros.sensing.preprocess.tensors import input_tensor

RATE_HZ, SAMPLES = 16000, 4096
PLACES_M = ((0.03, 0.03), (-0.03, 0.03), (-0.03, -0.03), (0.03, -0.03))
CONFIG = AudioInput(sample_rate_hz=RATE_HZ, frames=1 + (SAMPLES - 512) // 256, mels=32, microphones_m=PLACES_M)


def sound_from(azimuth: float, microphones: int = 4) -> np.ndarray:
    """White noise (SAMPLES, microphones) of a distant source."""
    early_s = np.array(PLACES_M[:microphones]) @ [math.cos(azimuth), math.sin(azimuth)] / SOUND_MPS
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(SAMPLES))
    hertz = np.fft.rfftfreq(SAMPLES, 1 / RATE_HZ)
    heard = np.fft.irfft(spectrum * np.exp(2j * np.pi * hertz * early_s[:, None]), SAMPLES)
    return (0.1 * heard.T).clip(-1, 1).astype(np.float32)


@pytest.mark.parametrize("azimuth_deg", [-150, -40, 0, 75])
def test_phases_point_to_the_source(azimuth_deg: float):
    picture = input_tensor(sound_from(math.radians(azimuth_deg)), CONFIG)
    assert picture.shape == CONFIG.shape == (2 * AUDIO_PARTS, 32, 48)
    assert picture.dtype == torch.float32
    fits = picture[:AUDIO_PARTS].numpy()
    assert fits.max() <= 1 + 1e-3
    best = fits.mean(axis=(0, 1)).argmax()
    assert abs(-180 + (best + 0.5) * 360 / CONFIG.azimuths - azimuth_deg) <= 360 / CONFIG.azimuths


def test_levels_tell_loud_from_soft_and_phases_do_not():
    sound = sound_from(0.3)
    loud, soft = input_tensor(sound, CONFIG), input_tensor(sound / 8, CONFIG)
    torch.testing.assert_close(loud[:AUDIO_PARTS], soft[:AUDIO_PARTS], atol=1e-3, rtol=0)
    # A factor of 8 is ln 64 in power; the preprocessing divides by 4.
    torch.testing.assert_close((loud - soft)[AUDIO_PARTS:], torch.full((AUDIO_PARTS, 32, 48), math.log(64) / 4))


def test_levels_are_those_of_the_spectrogram():
    sound = sound_from(0.3)
    levels = input_tensor(sound, CONFIG)[AUDIO_PARTS:, :, 0]
    spectrogram = input_tensor(sound, CONFIG.model_copy(update={"microphones_m": ()})).mean(dim=0)
    assert CONFIG.frames % AUDIO_PARTS == 0
    expected = spectrogram.unflatten(1, (AUDIO_PARTS, -1)).mean(dim=2).t()
    torch.testing.assert_close(levels, expected, atol=0.015 / CONFIG.std, rtol=0)   # 1.5 % of the power


@pytest.mark.parametrize("sound", [np.zeros((SAMPLES, 4), np.float32), np.zeros((10, 1), np.float32),
                                   np.full((SAMPLES, 6), 5.0, np.float32)])
def test_silence_short_sound_and_other_channels_are_finite(sound: np.ndarray):
    assert bool(input_tensor(sound, CONFIG).isfinite().all())


def test_what_stands_on_a_plane_stands_out_and_holes_do_not():
    down = torch.linspace(0.3, 0.9, 30)[:, None].expand(30, 40)
    metres = 1 / down                  # of a floor
    metres = metres.clone()
    metres[10:13, 20:24] *= 0.9
    metres[18:22, 5:9] = torch.nan
    holes = torch.rand(metres.shape, generator=torch.Generator().manual_seed(0)) < 0.2
    metres[holes] = torch.nan
    picture = input_tensor(metres.numpy(), DepthInput(height=30, width=40, relief=True))
    valid = metres.isfinite()
    torch.testing.assert_close(picture[0], torch.where(valid, metres / 9, 0.0))
    torch.testing.assert_close(picture[1], valid.float())
    relief = picture[2]
    assert (relief[~valid] == 0).all()
    assert relief[10:13, 20:24].max() > 0.25
    assert relief[14:26, 4:36].abs().max() < 0.25   # the floor around the hole


@pytest.mark.parametrize(("fields", "words"), [
    ({"microphones_m": PLACES_M[:2]}, "one for each"), ({"microphones_m": PLACES_M, "frames": 2}, "at least 3"),
    ({"microphones_m": ((0.0, 0.0),), "channels": 1}, "at least 2")])
def test_invalid_microphones(fields: dict[str, object], words: str):
    with pytest.raises(ValueError, match=words):
        AudioInput(**fields)


def test_relief_has_three_channels():
    with pytest.raises(ValueError, match="3 channels"):
        DepthInput(relief=True, channels=1)


def test_the_channels_of_relief_are_standardized():
    metres = np.linspace(0.5, 3.0, 96, dtype=np.float32).reshape(8, 12)
    plain = input_tensor(metres, DepthInput(height=8, width=12, relief=True))
    mean, std = (0.2, 0.5, -0.1), (0.5, 2.0, 0.1)
    standard = input_tensor(metres, DepthInput(height=8, width=12, relief=True, mean=mean, std=std))
    expected = (plain - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(standard, expected)
    with pytest.raises(ValueError, match="require relief"):
        DepthInput(std=(0.5, 1.0, 1.0))
