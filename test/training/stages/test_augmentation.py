# SPDX-License-Identifier: Apache-2.0
"""Augmentation stays within the recorded data, and depends on the seed only."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.config import ModelConfig
from admn_ros.datasets.source import LabeledReadings
from admn_ros.model.presets import preset
from admn_ros.sample import Modality, SensorKey, Target
from admn_ros.training.stages.augmentation import ASPECTS, AugmentConfig, AugmentedSamples, augmented, crop_box

RGB, DEPTH, RADAR, AUDIO = (SensorKey("node1", m) for m in Modality)
NOWHERE = Target((math.nan,) * 3)


@pytest.fixture(scope="module")
def tiny() -> ModelConfig:
    return preset("gdtm-tiny")


@settings(deadline=None)
@given(height=st.integers(1, 400), width=st.integers(1, 400), aspect=st.floats(0.1, 10),
       smallest=st.floats(0.01, 1), seed=st.integers(0, 2**32))
def test_crops_lie_inside(height: int, width: int, aspect: float, smallest: float, seed: int) -> None:
    top, left, rows, columns = crop_box(height, width, aspect, smallest, np.random.default_rng(seed))
    assert top >= 0
    assert left >= 0
    assert 1 <= rows <= height - top
    assert 1 <= columns <= width - left


def test_crops_have_the_configured_areas_and_aspects() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([crop_box(2000, 3000, 1.5, 0.2, rng) for _ in range(500)])
    shares = boxes[:, 2] * boxes[:, 3] / 6e6
    aspects = boxes[:, 3] / boxes[:, 2] / 1.5
    assert 0.199 < shares.min() < 0.25
    assert shares.max() > 0.9
    assert ASPECTS[0] - 0.01 < aspects.min() < 0.8
    assert 1.25 < aspects.max() < ASPECTS[1] + 0.01


def recording(rows: int = 24) -> LabeledReadings:
    rgb = np.arange(rows * 32 * 3).reshape(rows, 32, 3).astype(np.uint8)
    sound = np.linspace(0, 0.5, 60000, dtype=np.float32)[:, None]
    return LabeledReadings({RGB: rgb, DEPTH: np.arange(rows * 32, dtype=np.float32).reshape(rows, 32),
                            RADAR: np.ones((8, 8), np.float32), AUDIO: sound,
                            SensorKey("node9", Modality.RGB): rgb}, NOWHERE, audio_rate_hz=16000)


def test_augmentation_of_each_modality(tiny: ModelConfig) -> None:
    sample, rng = recording(), np.random.default_rng(1)
    length = 512 + 63 * 256
    mirrored = 0
    starts = set()
    for _ in range(100):
        out = augmented(sample, tiny, AugmentConfig(smallest_crop=0.5, gain_db=6), rng)
        assert set(out.readings) == {RGB, DEPTH, RADAR, AUDIO}  # the model has no node9
        assert out.readings[RADAR] is sample.readings[RADAR]
        depth = out.readings[DEPTH]
        mirrored += int(depth[0, 0] > depth[0, -1])
        assert np.isin(depth, sample.readings[DEPTH]).all()
        sound = out.readings[AUDIO][:, 0]
        assert len(sound) == length
        gain = (sound[-1] - sound[0]) / (length - 1) / (0.5 / 59999)
        assert 10 ** (-6.1 / 20) < gain < 10 ** (6.1 / 20)
        starts.add(round(float(sound[0] / gain) * 59999 / 0.5))
    assert 30 < mirrored < 70
    assert len(starts) > 90
    assert min(starts) >= 0
    assert max(starts) <= 60000 - length


def test_disabled_augmentation_changes_nothing(tiny: ModelConfig) -> None:
    sample = recording()
    out = augmented(sample, tiny, AugmentConfig(smallest_crop=1, flip=False, gain_db=0), np.random.default_rng(0))
    assert np.array_equal(out.readings[RGB], sample.readings[RGB])
    assert np.array_equal(out.readings[DEPTH], sample.readings[DEPTH])


def test_a_short_recording_is_not_cut(tiny: ModelConfig) -> None:
    short = LabeledReadings({AUDIO: np.ones((100, 1), np.float32)}, NOWHERE, audio_rate_hz=8000)
    assert len(augmented(short, tiny, AugmentConfig(), np.random.default_rng(0)).readings[AUDIO]) == 100
    # 8 kHz: half the samples are the same window.
    longer = LabeledReadings({AUDIO: np.ones((20000, 1), np.float32)}, NOWHERE, audio_rate_hz=8000)
    out = augmented(longer, tiny, AugmentConfig(), np.random.default_rng(0))
    assert len(out.readings[AUDIO]) == (512 + 63 * 256) // 2


def test_epochs_differ_and_repeat(tiny: ModelConfig) -> None:
    def inputs(samples: AugmentedSamples, epoch: int) -> torch.Tensor:
        return next(samples.batches(epoch, 2, shuffle=False)).samples.inputs[Modality.RGB]

    source = [recording(), recording(30)]
    first, again, other = (AugmentedSamples(source, tiny, AugmentConfig(), seed=s) for s in (1, 1, 2))  # type: ignore[arg-type]
    assert torch.equal(inputs(first, 3), inputs(again, 3))
    assert not torch.equal(inputs(first, 3), inputs(first, 4))
    assert not torch.equal(inputs(first, 3), inputs(other, 3))
    assert not torch.equal(inputs(first, 3)[0], inputs(first, 3)[1])
    two = AugmentedSamples(source, tiny, AugmentConfig(), seed=1, draws=2, cache_mb=50)  # type: ignore[arg-type]
    assert torch.equal(inputs(two, 1), inputs(two, 3))
    assert not torch.equal(inputs(two, 0), inputs(two, 1))
