# SPDX-License-Identifier: Apache-2.0
"""`admn why` on recordings, and the instants that it takes."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

import pytest

from admn_ros.cli import main
from admn_ros.errors import InputError
from admn_ros.recordings.bag_messages import header
from admn_ros.recordings.bag_types import typestore
from admn_ros.recordings.bag_writer import BagWriter
from admn_ros.replay.instants import nearest_frame, time_text
from admn_ros.replay.recorded_decisions import ALLOCATION, recorded_decisions

START_NS = round(datetime(2026, 3, 1, 10, 32).timestamp()) * 10**9   # local time, as people say it
STAMPS_NS = [START_NS + k * 500_000_000 for k in range(20)]


def allocation(k: int):
    types = typestore().types
    inputs = [types["admn_ros/msg/InputAllocation"]("rgb", "node1", 2.0 + k, 1.0, True, "ran"),
              types["admn_ros/msg/InputAllocation"]("depth", "node1", 0.25, 1.0, False, f"adds too little, frame {k}"),
              types["admn_ros/msg/InputAllocation"]("audio", "node1", math.nan, 0.0, False, "no reading")]
    return types[ALLOCATION](
        header=header(STAMPS_NS[k], "map"), requested_limit=2.0, requested_unit=0, source="battery", granted_limit=2.0,
        granted_unit=0, spent=1.0, reason=0, reason_text="1 of 24 layers ran.", latency_ms=20.0, inference_ms=15.0,
        waiting_ms=0.0, frames_dropped=0, modalities=[], inputs=inputs)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    with BagWriter(tmp_path / "bag") as writer:
        for k, stamp_ns in enumerate(STAMPS_NS):
            writer.write("/admn/allocation", ALLOCATION, allocation(k), stamp_ns + 10_000_000)
    return tmp_path / "bag"


@pytest.mark.parametrize(("at", "frame"), [
    ("10:32", 0), ("10:32:03", 6), ("10:32:03.2", 6), ("3.3", 7), (str(START_NS / 1e9 + 9.5), 19), ("0", 0)])
def test_an_instant_is_the_nearest_frame(at: str, frame: int):
    assert nearest_frame(STAMPS_NS, at) == frame


@pytest.mark.parametrize("at", ["10:33", "09:32:03", "20", "noon", "25:00", "nan", "inf", "10:32:99:1"])
def test_an_instant_without_a_frame_is_refused(at: str):
    with pytest.raises(InputError, match="--at"):
        nearest_frame(STAMPS_NS, at)


def test_after_midnight_is_the_next_day():
    before_ns = round(datetime(2026, 3, 1, 23, 59, 59).timestamp()) * 10**9
    assert nearest_frame([before_ns, before_ns + 2 * 10**9], "00:00:01") == 1


def test_times_are_those_of_the_clock_if_the_stamps_are():
    assert time_text(STAMPS_NS[1], STAMPS_NS[0]) == "10:32:00.500"
    assert time_text(5_500_000_000, 2_000_000_000) == "3.500 s"


def test_a_recorded_frame_is_read_as_it_was_published(recording: Path):
    frames = recorded_decisions(recording)
    assert [frame.stamp_ns for frame in frames] == STAMPS_NS
    rgb, depth, audio = frames[3].inputs
    assert (rgb.name, rgb.value, rgb.ran) == ("node1/rgb", 5.0, True)
    assert (depth.value, depth.cost, depth.why) == (0.25, 1.0, "adds too little, frame 3")
    assert math.isnan(audio.value)


def test_one_input_is_one_line(recording: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["why", str(recording), "--at", "10:32:05", "--input", "node1/depth"]) == 0
    assert capsys.readouterr().out == ("10:32:05.000 node1/depth did not run: adds too little, frame 10 (value 0.25, "
                                       "cost 1 layers)\n")
    assert main(["why", str(recording), "--at", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[0] == "10:32:05.000 budget 2 layers, spent 1 layers: 1 of 24 layers ran."


@pytest.mark.parametrize(("arguments", "says"), [
    (["--at", "5", "--input", "node9/rgb"], "--input: found node9/rgb; allowed: node1/rgb, node1/depth"),
    (["--at", "5", "--topic", "/x"], "topic of allocations: found /x; allowed: /admn/allocation"),
    (["--at", "5", "--policy", "value"], "--policy: found value"),
    (["--at", "11:00"], "10:32:00.000 to 10:32:09.500")], ids=["input", "topic", "policy", "time"])
def test_a_wrong_question_is_one_clear_line(recording: Path, capsys: pytest.CaptureFixture[str], arguments, says):
    assert main(["why", str(recording), *arguments]) == 2
    assert says in capsys.readouterr().err
