# SPDX-License-Identifier: Apache-2.0
"""Inputs whose messages are refused or never used are found, with the reason and the measured offset."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from admn_ros.config import ModelConfig, parse_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import InputError
from admn_ros.inference.frame_stream import FrameStream
from admn_ros.recordings import bag_messages as make
from admn_ros.sample import Modality, SensorKey
from admn_ros.sensing.sync.input_health import FIRST_S, WINDOW_S, InputProblem

START_NS = 1_700_000_000_000_000_000
RGB, DEPTH = SensorKey("node1", Modality.RGB), SensorKey("node1", Modality.DEPTH)
RGB2, DEPTH2 = SensorKey("node2", Modality.RGB), SensorKey("node2", Modality.DEPTH)
SOUND = {"audio": {"topic": "/a"}}


@pytest.fixture
def stream(config: ModelConfig) -> FrameStream:
    sensors = {node: {m: {"topic": f"/{node}/{m}"} for m in ("rgb", "depth")} for node in ("node1", "node2")}
    return FrameStream(config, parse_config(DeploymentConfig, {"sensors": sensors}, "test"))


def image(key: SensorKey, stamp_ns: int) -> object:
    if key.modality is Modality.RGB:
        return make.rgb_image(np.zeros((8, 8, 3), np.uint8), stamp_ns, "cam")
    return make.depth_image(np.ones((8, 8), np.float32), stamp_ns, "cam")


Change = Callable[[SensorKey, float], float | None]
"""Returns the stamp in seconds of an input's message at a time; None for no message."""


def play(stream: FrameStream, seconds: float, change: Change = lambda key, t: t, rate_hz: float = 15.0) -> None:
    """Send all inputs at a rate, and judge them each second, as the node and the reader of recordings do."""
    for k in range(round(seconds * rate_hz)):
        t = k / rate_hz
        for i, key in enumerate(stream.inputs):
            now_s, stamp_s = 1000.0 + t + 0.002 * i, change(key, t)
            if stamp_s is None:
                continue
            try:
                stream.receive(key, image(key, START_NS + round(stamp_s * 1e9)), now_s)
            except InputError as error:
                stream.refuse(key, error)
        if k % 15 == 0:
            stream.watch.update(1000.0 + t + 0.01, stream.sync)


def summary(stream: FrameStream) -> dict[SensorKey, InputProblem]:
    ignored = {key: s.ignored for key, s in stream.synchronizer.stats().inputs.items()}
    return stream.watch.summary(stream.sync, ignored)


def test_inputs_that_work_have_no_problem(stream: FrameStream) -> None:
    play(stream, 8.0)
    assert not stream.watch.problems and not summary(stream)
    recent = stream.watch.recent[DEPTH]
    assert recent.accepted == recent.used == recent.frames == 15 * WINDOW_S and not recent.led


@pytest.mark.parametrize(("ahead_s", "words"), [
    (37.0, "stamps 37.0 s ahead of node1/rgb (TAI against UTC?): synchronize the clocks, or set sync.depth.offset_s to "
           "37.0"),
    (-3600.0, "stamps 3600.0 s behind node1/rgb (1 h: local time against UTC?)"),
    (-START_NS / 1e9 + 500, "behind node1/rgb (time since the start of a machine against a date?)"),
    (-0.7, "stamps 0.7 s behind node1/rgb: if they are late, raise hold_s above that; if the clocks differ, set "
           "sync.depth.offset_s")])
def test_an_input_of_another_clock_is_never_used_and_its_offset_is_measured(
        stream: FrameStream, ahead_s: float, words: str) -> None:
    play(stream, FIRST_S + 2.0, lambda key, t: t + (ahead_s if key == DEPTH else 0.0))
    assert list(stream.watch.problems) == list(summary(stream)) == [DEPTH]
    for problem in (stream.watch.problems[DEPTH], summary(stream)[DEPTH]):
        assert problem.state == "unused" and problem.text.startswith("none of ") and words in problem.text


def test_a_known_offset_counts(config: ModelConfig) -> None:
    sensors = {"node1": {m: {"topic": f"/{m}"} for m in ("rgb", "depth")}}
    sync = {"modalities": {"depth": {"offset_s": 30.0}}}
    stream = FrameStream(config, parse_config(DeploymentConfig, {"sensors": sensors, "sync": sync}, "test"))
    play(stream, 5.0, lambda key, t: t + (37.0 if key == DEPTH else 0.0))
    assert "7.0 s ahead of node1/rgb: synchronize the clocks, or set sync.depth.offset_s to 37.0" in (
        stream.watch.problems[DEPTH].text)
    mended = stream.sync.model_copy(update={"modalities": {
        Modality.DEPTH: stream.sync.of(Modality.DEPTH).model_copy(update={"offset_s": 37.0})}})
    stream.retune(mended)
    play(stream, 7.0, lambda key, t: t + 20 + (37.0 if key == DEPTH else 0.0))
    assert not stream.watch.problems


def test_a_clock_that_steps_ahead_is_named_and_forgotten_when_it_is_mended(stream: FrameStream) -> None:
    play(stream, 30.0, lambda key, t: t + (37.0 if key == RGB and 8.0 < t < 20.0 else 0.0))
    assert not stream.watch.problems, "now it is fine"
    assert summary(stream)[RGB].text.startswith("for ") and "37.0 s ahead of node2/rgb" in summary(stream)[RGB].text


def test_a_recording_that_ends_soon_after_a_clock_stepped_ahead(stream: FrameStream) -> None:
    """Half of the readings are lost, though no window of the recording is lost as a whole."""
    play(stream, 6.0, lambda key, t: t + 3600.0 * (key == DEPTH and t >= 2.9))
    (found,) = summary(stream).items()
    assert found[0] == DEPTH and found[1].text.startswith("43 of 90 readings used: stamps 3600.0 s ahead")


def test_a_loss_in_the_midst_of_a_recording(stream: FrameStream) -> None:
    play(stream, 30.0, lambda key, t: t + 3600.0 * (key == DEPTH and 10.0 <= t < 17.0))
    assert not stream.watch.problems
    assert list(summary(stream)) == [DEPTH] and "3600.0 s ahead of node1/rgb" in summary(stream)[DEPTH].text


def test_slow_fast_and_silent_inputs_are_used(stream: FrameStream) -> None:
    """One input at a tenth of the rate of the frames; one that stops."""
    play(stream, 12.0, lambda key, t: None if (key == DEPTH and round(t * 15) % 10) or (key == RGB2 and t > 4) else t)
    assert not stream.watch.problems and not summary(stream)


def test_a_driver_that_repeats_its_last_stamp_is_named(stream: FrameStream) -> None:
    play(stream, 8.0, lambda key, t: 0.1 if key == DEPTH else t)
    assert "have the stamp of the one before; the driver may have stopped" in stream.watch.problems[DEPTH].text


def test_an_input_of_which_every_message_is_refused_is_named(stream: FrameStream) -> None:
    play(stream, 8.0, lambda key, t: -START_NS / 1e9 if key == DEPTH else t)  # a stamp of zero
    problem = stream.watch.problems[DEPTH]
    assert problem.state == "refused" and problem.text.startswith("all 75 messages refused, last: node1/depth.")
    assert summary(stream)[DEPTH].text.startswith("all 120 messages refused")


def test_without_frames_nothing_is_unused(stream: FrameStream) -> None:
    play(stream, 6.0, lambda key, t: None)
    assert not stream.watch.problems and not summary(stream)


def test_ignored_readings_are_in_the_summary(stream: FrameStream) -> None:
    play(stream, 20.0, lambda key, t: t - (3600.0 if key == RGB and t > 15 else 0.0))
    assert not any(f.state == "unused" for f in summary(stream).values() if f is not summary(stream)[RGB])
    assert summary(stream)[RGB] == InputProblem(
        "ignored", "74 of 300 readings ignored: their stamps jump back while other inputs go on")
