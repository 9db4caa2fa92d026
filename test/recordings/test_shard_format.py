# SPDX-License-Identifier: Apache-2.0
"""The encoding of readings in shards: round trips within half a step, and bounds that are no special values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from admn_ros.recordings.shard_format import MAX_DEPTH_MM, MAX_RADAR, decode, encode, stack
from admn_ros.sample import Array, Modality, SensorKey
from admn_ros.sensing.decode.images import depth_of_millimetres

RGB, DEPTH, RADAR, AUDIO = Modality.RGB, Modality.DEPTH, Modality.RADAR, Modality.AUDIO
ANY = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(arrays(np.float32, (3, 4), elements=ANY))
def test_depth(metres: np.ndarray) -> None:
    stored = encode(DEPTH, metres)
    assert stored.dtype == np.uint16
    valid = (metres > 0) & (metres < np.inf)
    assert ((stored > 0) == valid).all()
    assert stored.max() <= MAX_DEPTH_MM
    back = decode(DEPTH, stored)
    assert (np.isnan(back) == ~valid).all()
    inside = valid & (metres >= 0.0005) & (metres <= 65.534)
    assert np.abs(back - metres)[inside].max(initial=0) <= 0.0005 + 1e-5
    # The same number means the same depth in a 16UC1 image.
    assert np.allclose(depth_of_millimetres(stored), back, rtol=1e-6, equal_nan=True)
    assert np.array_equal(encode(DEPTH, back), stored)


@pytest.mark.parametrize(("metres", "stored"), [
    (0.0, 0), (-1.0, 0), (np.nan, 0), (np.inf, 0), (1e-6, 1), (0.001, 1), (65.534, 65534), (65.535, 65534),
    (1e9, 65534)])
def test_bounds_of_depth(metres: float, stored: int) -> None:
    assert encode(DEPTH, np.full((1, 1), metres, np.float32)).item() == stored


@given(arrays(np.float32, (5, 2), elements=st.floats(-4, 4, width=32)))
def test_audio(sound: np.ndarray) -> None:
    stored = encode(AUDIO, sound)
    assert stored.dtype == np.int16
    back = decode(AUDIO, stored)
    assert np.abs(back).max() <= 1.0
    assert np.abs(back - np.clip(sound, -1, 1)).max() <= 0.5 / 32767 + 1e-7
    assert np.array_equal(encode(AUDIO, back), stored)
    assert np.array_equal(encode(AUDIO, -sound), -stored)


@pytest.mark.parametrize(("value", "stored"), [(1.0, 32767), (-1.0, -32767), (2.0, 32767), (-2.0, -32767), (0.0, 0)])
def test_bounds_of_audio(value: float, stored: int) -> None:
    assert encode(AUDIO, np.full((1, 1), value, np.float32)).item() == stored


def test_stack_encodes_as_single_readings_are_encoded() -> None:
    rng = np.random.default_rng(0)

    def readings(node: str) -> dict[SensorKey, Array]:
        found: dict[Modality, Array] = {
            RGB: rng.integers(0, 256, (4, 6, 3)).astype(np.uint8), DEPTH: rng.uniform(0, 70, (4, 6)).astype(np.float32),
            RADAR: np.array([[0.0, 0.5], [1e6, 100.0]], np.float32), AUDIO: rng.normal(size=(9, 2)).astype(np.float32)}
        return {SensorKey(node, m): x for m, x in found.items()}

    samples = [readings("a") | readings("b") for _ in range(3)]
    stacked = stack(samples, ["a", "b"])
    for i, sample in enumerate(samples):
        for k, node in enumerate("ab"):
            for m in (RGB, DEPTH, AUDIO):
                assert np.array_equal(stacked[m.value][i, k], encode(m, sample[SensorKey(node, m)]))
            assert decode(RADAR, stacked["radar"][i, k]).tolist() == [[0.0, 0.5], [MAX_RADAR, 100.0]]
