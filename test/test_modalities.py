# SPDX-License-Identifier: Apache-2.0
"""Every modality is known wherever one is handled. After adding one to `Modality`, each failure here names a place."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from pydantic import TypeAdapter

from admn_ros.config import InputConfig
from admn_ros.deployment import INPUT_TYPES, MESSAGE_TYPES, DeploymentConfig, InputTopic
from admn_ros.errors import InputError
from admn_ros.recordings.shard_format import decode, encode
from admn_ros.sample import Array, Modality
from admn_ros.sensing.corruption.corruption import GaussianNoise, check_reading
from admn_ros.sensing.corruption.presets import corruption_preset
from admn_ros.sensing.decode.audio_messages import SoundDecoder
from admn_ros.sensing.decode.decoders import decode_picture
from admn_ros.sensing.preprocess.tensors import input_tensor
from admn_ros.views.colorize import colorize
from admn_ros.views.palette import OTHER, modality_colour

RNG = np.random.default_rng(0)
READINGS: dict[Modality, Array] = {
    Modality.RGB: RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8),
    Modality.DEPTH: RNG.uniform(0.5, 5.0, (48, 64)).astype(np.float32),
    Modality.RADAR: RNG.uniform(0.0, 3.0, (64, 32)).astype(np.float32),
    Modality.AUDIO: RNG.uniform(-0.5, 0.5, (20000, 4)).astype(np.float32),
}
INPUT: TypeAdapter[InputConfig] = TypeAdapter(InputConfig)

every_modality = pytest.mark.parametrize("modality", list(Modality), ids=str)


@every_modality
def test_this_file_has_a_reading(modality: Modality) -> None:
    check_reading(READINGS[modality], modality)  # sensing/corruption/corruption.py has its type and shape


@every_modality
def test_config_describes_the_input(modality: Modality) -> None:
    """config/model.py: a class of `InputConfig`; sensing/preprocess/preprocessor.py: its tensor."""
    config = INPUT.validate_python({"kind": modality.value})
    tensor = input_tensor(READINGS[modality], config)
    assert tuple(tensor.shape) == config.shape
    assert tensor.isfinite().all()


@every_modality
def test_sensors_file_has_topic_types(modality: Modality) -> None:
    """deployment.py: `INPUT_TYPES`; the first one is the default."""
    file = DeploymentConfig.model_validate_json(f'{{"sensors": {{"n": {{"{modality}": {{"topic": "/t"}}}}}}}}')
    (entry,) = file.inputs.values()
    assert entry.type == INPUT_TYPES[modality][0]
    assert file.sync.of(modality).hold_s > 0


@pytest.mark.parametrize(("modality", "kind"), [(m, k) for m, kinds in INPUT_TYPES.items() for k in kinds], ids=str)
def test_topic_types_have_a_message_and_a_decoder(modality: Modality, kind: str) -> None:
    """deployment.py: `MESSAGE_TYPES`; sensing/decode: the decoder, which misses the fields of a message."""
    assert MESSAGE_TYPES[kind].count("/") == 2
    entry = InputTopic.model_validate({"topic": "/t", "type": kind})
    with pytest.raises((AttributeError, InputError)):
        if modality is Modality.AUDIO:
            SoundDecoder(entry).decode(object(), 1)
        else:
            decode_picture(modality, entry, object())


def test_every_topic_type_belongs_to_a_modality() -> None:
    assert {kind for kinds in INPUT_TYPES.values() for kind in kinds} == set(MESSAGE_TYPES)
    assert set(get_args(InputTopic.model_fields["type"].annotation)[0].__args__) == set(MESSAGE_TYPES)


@every_modality
def test_datasets_store_it(modality: Modality) -> None:
    """recordings/shard_format.py."""
    restored = decode(modality, encode(modality, READINGS[modality]))
    check_reading(restored, modality)
    np.testing.assert_allclose(restored, READINGS[modality], atol=1e-3)


@every_modality
def test_it_can_be_corrupted(modality: Modality) -> None:
    """sensing/corruption: Gaussian noise has a strength, and `room-all` covers it."""
    noisy = GaussianNoise(modality).apply(READINGS[modality], 1.0, np.random.default_rng(0))
    assert (noisy != READINGS[modality]).any()
    assert modality in corruption_preset("room-all").modalities


@every_modality
def test_it_can_be_drawn(modality: Modality) -> None:
    """views/colorize.py and views/palette.py."""
    picture = colorize(modality, READINGS[modality])
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert modality_colour(modality.value) != modality_colour(OTHER)
