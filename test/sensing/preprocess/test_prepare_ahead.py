# SPDX-License-Identifier: Apache-2.0
"""Readings that are preprocessed before their frame: equal samples, no repeated work, no confused readings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.config import DepthInput, InputConfig, RadarInput, RgbInput
from admn_ros.errors import InputError
from admn_ros.sample import Array, Availability, Modality, Reading, SensorFrame, SensorKey
from admn_ros.sensing.preprocess import preprocessor as under_test
from admn_ros.sensing.preprocess.preprocessor import Preprocessor
from helpers import models

MODEL = models.inputs_only(("north", "south"), {
    Modality.RGB: RgbInput(height=32, width=48), Modality.DEPTH: DepthInput(height=32, width=48, relief=True),
    Modality.RADAR: RadarInput(height=32, width=16)})
KEYS = [SensorKey(node, modality) for node in MODEL.sensor_nodes for modality in MODEL.modalities]
RGB = KEYS[0]


def reading(key: SensorKey, number: int) -> Array:
    rng = np.random.default_rng(number)
    if key.modality is Modality.RGB:
        return rng.integers(0, 256, (60, 80, 3), np.uint8)
    return rng.uniform(-0.5, 6.0, (64, 50)).astype(np.float32)


def frame(data: dict[SensorKey, Array]) -> SensorFrame:
    return SensorFrame(7, RGB, {key: Reading(Availability.FRESH, x, 5) for key, x in data.items()})


@pytest.fixture
def worked_on(monkeypatch: pytest.MonkeyPatch) -> list[Array]:
    """Every array that is really preprocessed from here on."""
    seen: list[Array] = []
    real = under_test.input_tensor

    def count(data: Array, config: InputConfig) -> torch.Tensor:
        seen.append(data)
        return real(data, config)

    monkeypatch.setattr(under_test, "input_tensor", count)
    return seen


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 5), st.booleans()), max_size=25))
def test_samples_are_those_of_a_preprocessor_that_never_worked_ahead(
        steps: list[tuple[SensorKey, int, bool]]) -> None:
    preprocess = Preprocessor(MODEL)
    newest: dict[SensorKey, Array] = {}
    for key, number, emits in steps:
        newest[key] = reading(key, number)
        preprocess.ahead(key, newest[key])
        if emits:
            got, wanted = preprocess(frame(newest)), Preprocessor(MODEL)(frame(newest))
            assert all(torch.equal(got.inputs[m], wanted.inputs[m]) for m in MODEL.modalities)
            assert all(torch.equal(got.present[m], wanted.present[m]) for m in MODEL.modalities)


def test_a_held_reading_is_worked_on_once(worked_on: list[Array]) -> None:
    preprocess, held = Preprocessor(MODEL), reading(KEYS[2], 0)
    for number in range(5):
        preprocess(frame({RGB: reading(RGB, number), KEYS[2]: held}))
    assert sum(x is held for x in worked_on) == 1
    assert len(worked_on) == 6


def test_what_is_done_ahead_is_not_done_for_the_frame(worked_on: list[Array]) -> None:
    preprocess, data = Preprocessor(MODEL), {key: reading(key, 1) for key in KEYS}
    for key, x in data.items():
        preprocess.ahead(key, x)
    assert len(worked_on) == len(KEYS)
    preprocess(frame(data))
    assert len(worked_on) == len(KEYS)


def test_an_input_that_is_faster_than_the_frames_is_not_followed(worked_on: list[Array]) -> None:
    preprocess = Preprocessor(MODEL)
    for number in range(50):
        preprocess.ahead(RGB, reading(RGB, number))
    few = len(worked_on)
    assert few < 8
    newest = reading(RGB, 50)
    preprocess.ahead(RGB, newest)
    preprocess(frame({RGB: newest}))  # which takes what it needs
    assert len(worked_on) == few + 1
    preprocess.ahead(RGB, reading(RGB, 51))
    assert len(worked_on) == few + 2


def test_samples_do_not_share_memory_with_what_is_kept() -> None:
    preprocess, data = Preprocessor(MODEL), {RGB: reading(RGB, 3)}
    first = preprocess(frame(data))
    wanted = first.inputs[Modality.RGB].clone()
    first.inputs[Modality.RGB].zero_()
    assert torch.equal(preprocess(frame(data)).inputs[Modality.RGB], wanted)


def test_a_reading_at_the_address_of_one_that_is_gone_is_another() -> None:
    preprocess = Preprocessor(MODEL)
    for number in range(20):
        data = {RGB: reading(RGB, number)}
        assert torch.equal(preprocess(frame(data)).inputs[Modality.RGB],
                           Preprocessor(MODEL)(frame(data)).inputs[Modality.RGB])
        del data


def test_what_is_wrong_with_a_reading_is_said_by_its_frame() -> None:
    preprocess, grey = Preprocessor(MODEL), np.zeros((4, 4), np.uint8)
    preprocess.ahead(RGB, grey)
    with pytest.raises(InputError, match=r"north/rgb\.rgb"):
        preprocess(frame({RGB: grey}))
