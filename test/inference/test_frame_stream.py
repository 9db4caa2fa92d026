# SPDX-License-Identifier: Apache-2.0
"""Messages in, readings out: what belongs to one input, and what the model expects of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from admn_ros.config import RadarInput, parse_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import InputError
from admn_ros.inference.frame_stream import FrameStream
from admn_ros.model.presets import preset
from admn_ros.sample import Modality, SensorKey

START_NS = 10**18
SOUND = {"type": "audio_data", "sound": {"channels": 1}}


def message(stamp_ns: int, **fields: Any) -> SimpleNamespace:
    stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp, frame_id="n"), **fields)


def stream(**inputs: dict[str, object]) -> FrameStream:
    config = preset("gdtm-tiny")
    sensors = {node: {modality: {"topic": f"/{node}", **entry}} for node, (modality, entry) in zip(
        config.sensor_nodes, ((name.rstrip("0123456789"), entry) for name, entry in inputs.items()), strict=False)}
    return FrameStream(config, parse_config(DeploymentConfig, {"sensors": sensors}, "sensors"))


def test_the_rest_of_a_sample_belongs_to_its_input_and_ends_with_a_restart() -> None:
    frames = stream(audio1=SOUND, audio2=SOUND)
    first, second = frames.inputs
    tone = (8000 * np.sin(np.arange(4000) / 9)).astype("<i2").tobytes()

    def send(key: SensorKey, start: int, stop: int) -> None:
        piece = SimpleNamespace(data=tone[start:stop])
        frames.receive(key, message(START_NS + stop * 10**9 // 32_000, audio=piece), 0.0)

    for start, stop in ((0, 321), (321, 642), (642, 643), (643, 2001)):
        send(first, start, stop)
    send(second, 0, 2000)
    expected = np.frombuffer(tone, "<i2")[:1000] / np.float32(32768)
    for key in (first, second):
        np.testing.assert_array_equal(frames.newest[key][-1000:, 0], expected)
    frames.restart()
    with pytest.raises(InputError, match="no chunk so far"):
        send(first, 0, 1)
    send(second, 2000, 4000)
    expected = np.frombuffer(tone, "<i2")[1000:2000] / np.float32(32768)
    np.testing.assert_array_equal(frames.newest[second][-1000:, 0], expected)
    assert [frames.health[key].refused for key in (first, second)] == [0, 0]


def test_a_transposed_heatmap_is_refused_where_it_arrives() -> None:
    frames = stream(radar={})
    (key,) = frames.inputs
    rows = 64
    radar = frames._config.modalities[Modality.RADAR]
    frames._config.modalities[Modality.RADAR] = radar.model_copy(update={"input": RadarInput(rows=rows)})
    for height, width in ((rows, 16), (rows, 128), (32, rows)):
        heatmap = np.ones((height, width), "<f4")
        sent = message(START_NS + width, height=height, width=width, step=4 * width, encoding="32FC1", is_bigendian=0,
                       data=heatmap.tobytes())
        if height == rows:
            frames.receive(key, sent, 0.0)
        else:
            with pytest.raises(InputError, match=rf"{key}\.radar: found float32 \(32, 64\); .*ranges along the rows"):
                frames.receive(key, sent, 0.0)
