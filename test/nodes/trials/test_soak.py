# SPDX-License-Identifier: Apache-2.0
"""A short soak, the sensor feed, and the latency benchmark."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage

from admn_ros.config import load_config, parse_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import InputError
from admn_ros.nodes.processes import Memory
from admn_ros.nodes.trials import faults, latency_benchmark, soak, sync_benchmark
from admn_ros.nodes.trials.feed import recorded_streams, restamped, synthetic_streams
from admn_ros.nodes.trials.perception_under_test import Interval
from admn_ros.nodes.trials.soak_report import Span, slope_mib_per_hour
from admn_ros.nodes.trials.synthetic_messages import Sizes
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_types import typestore
from admn_ros.recordings.bag_writer import BagWriter

pytestmark = pytest.mark.slow

SECOND_NS = 1_000_000_000
PERIOD_NS = 2 * SECOND_NS


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Two seconds of one camera and one radar of a deployment of eight topics."""
    written = []
    for k in range(31):
        written.append((PERIOD_NS + k * PERIOD_NS // 30, "/left/rgb", make.IMAGE,
                        make.rgb_image(np.full((8, 8, 3), k, np.uint8), 5, "camera")))
    for k in range(9):
        written.append((PERIOD_NS + k * PERIOD_NS // 8, "/left/radar", make.IMAGE,
                        make.radar_image(np.full((4, 4), k, np.float32), 5, "radar")))
    with BagWriter(tmp_path / "bag") as writer:
        for stamp_ns, topic, kind, message in sorted(written, key=lambda w: w[0]):
            writer.write(topic, kind, message, stamp_ns)
    return tmp_path / "bag"


@given(st.integers(1, 2**31 * SECOND_NS - 1))
def test_another_stamp_does_not_change_the_rest_of_a_message(stamp_ns):
    store, image = typestore(), make.rgb_image(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), 77, "camera")
    raw = bytes(store.serialize_cdr(image, make.IMAGE))
    moved = store.deserialize_cdr(restamped(raw, stamp_ns), make.IMAGE)
    assert moved.header.stamp.sec * SECOND_NS + moved.header.stamp.nanosec == stamp_ns
    assert moved.header.frame_id == "camera" and (moved.data == image.data).all()
    big = bytes(store.serialize_cdr(image, make.IMAGE, little_endian=False))
    moved = store.deserialize_cdr(restamped(big, stamp_ns), make.IMAGE)
    assert moved.header.stamp.sec * SECOND_NS + moved.header.stamp.nanosec == stamp_ns


def test_a_recording_becomes_streams_at_its_recorded_rates(bag, sensors_file):
    streams = {s.topic: s for s in recorded_streams(load_config(DeploymentConfig, sensors_file), bag)}
    assert set(streams) == {"/left/rgb", "/left/radar"}
    assert streams["/left/rgb"].rate_hz == pytest.approx(15.0, rel=1e-3) and len(streams["/left/rgb"].messages) == 31
    assert streams["/left/radar"].rate_hz == pytest.approx(4.0, rel=1e-3)
    rgb = streams["/left/rgb"]
    first = rgb.next_message()
    rgb.ticks = 31
    assert rgb.next_message() == first, "it repeats"


def test_a_recording_without_an_input_is_refused(bag, sensors_file):
    text = sensors_file.read_text().replace("/left/", "/attic/")
    sensors_file.write_text(text)
    with pytest.raises(InputError, match=r"allowed: some of .*/attic/rgb"):
        recorded_streams(load_config(DeploymentConfig, sensors_file), bag)


def test_synthetic_sensors_are_those_of_the_deployment(sensors_file):
    deployment = load_config(DeploymentConfig, sensors_file)
    streams = synthetic_streams(deployment, Sizes(rgb=(48, 64), depth=(24, 32)))
    assert [s.key for s in streams] == list(deployment.inputs)
    first = next(s for s in streams if s.topic == "/left/rgb")
    rgb = typestore().deserialize_cdr(first.messages[0], make.IMAGE)
    assert (rgb.height, rgb.width, rgb.encoding) == (48, 64, "rgb8")


def test_an_input_without_synthetic_messages_is_refused(sensors_file):
    raw = yaml.safe_load(sensors_file.read_text())
    raw["sensors"]["left"]["rgb"]["type"] = "compressed_image"
    streams = synthetic_streams(parse_config(DeploymentConfig, raw, "sensors"), Sizes(rgb=(48, 64)))
    assert next(s for s in streams if s.topic == "/left/rgb").kind is CompressedImage
    raw["sensors"]["left"]["radar"]["type"] = "point_cloud"
    with pytest.raises(InputError, match=r"left\.radar\.type: found point_cloud"):
        synthetic_streams(parse_config(DeploymentConfig, raw, "sensors"), Sizes())


def span(t_s: float, own_mib: float) -> Span:
    return Span.of(t_s, None, Interval([], [], 10.0, 0.5), Memory(own_mib + 30.0, 30.0))


@given(st.floats(-50, 50), st.floats(100, 1000), st.integers(0, 2**31))
def test_the_slope_is_that_of_the_second_half_and_its_interval_holds_it(slope, level, seed):
    noise = np.random.default_rng(seed).normal(0, 0.2, 180)
    spans = [span(10.0 * k, (level + slope * k / 360 + noise[k]) if k >= 90 else 5.0 * k) for k in range(180)]
    found, low, high = slope_mib_per_hour(spans)
    assert low <= found <= high
    assert found == pytest.approx(slope, abs=2.0)


def test_a_short_soak_has_no_slope():
    assert slope_mib_per_hour([]) is None
    assert slope_mib_per_hour([span(10.0 * k, 100.0) for k in range(5)]) is None


@pytest.mark.timeout(600)
def test_a_short_soak_keeps_every_budget_and_writes_its_figures(bag, sensors_file, model_folder, tmp_path):
    """A fifth of a minute with the node in a process of its own; the bag is repeated many times."""
    out = tmp_path / "out"
    assert soak.main(["--minutes", "0.2", "--bag", str(bag), "--model", str(model_folder),
                      "--sensors", str(sensors_file), "--span-seconds", "2", "--out", str(out)]) == 0
    result = json.loads((out / "soak.json").read_text())
    assert result["violations"] == result["failed"] == result["not_finite"] == 0
    assert result["frames"] >= 10 and result["poses"] >= 10 and result["budgets"] >= 1
    assert result["frames"] == sum(s["frames"] for s in result["spans"]) and len(result["spans"]) >= 5
    memory = [s["own_mib"] for s in result["spans"]]
    assert 0 < memory[-1] < memory[len(memory) // 2] + 100.0
    assert all(0 < q["median"] <= q["worst"] for q in result["latency_ms"].values())
    assert (out / "soak.png").stat().st_size > 10_000


@pytest.mark.timeout(600)
def test_added_latency_is_the_rest_after_waiting_and_inference(sensors_file, model_folder, tmp_path, capsys):
    """The command, over DDS, with small images."""
    assert latency_benchmark.main(["--model", str(model_folder), "--sensors", str(sensors_file), "--rgb", "64x48",
                                   "--depth", "64x48", "--seconds", "3", "--runs", "1", "--out", str(tmp_path)]) == 0
    (run,) = json.loads((tmp_path / "node_latency.json").read_text())["runs"]
    assert run["frames"] >= 2
    parts = {name: run[name] for name in latency_benchmark.PARTS}
    assert all(math.isfinite(q) for values in parts.values() for q in values.values())
    assert parts["inference"]["p50_ms"] > 0 and parts["end_to_end"]["p50_ms"] > parts["inference"]["p50_ms"]
    assert 0 < parts["added"]["p50_ms"] < parts["end_to_end"]["p95_ms"]
    assert "added by ROS" in capsys.readouterr().out


@pytest.mark.timeout(600)
def test_a_node_that_cannot_start_ends_the_benchmark(capfd):
    assert latency_benchmark.main(["--model", "nowhere/at/all"]) == 2
    message = capfd.readouterr().err
    assert "the perception node did not start" in message and "nowhere/at/all" in message


@pytest.mark.parametrize(("parse", "arguments", "message"), [
    (soak.parse, ["--minutes", "0"], "--minutes: found 0.0"), (soak.parse, ["--span-seconds", "nan"], "found nan"),
    (latency_benchmark.parse, ["--runs", "0"], "--runs: found 0; allowed: 1 or more"),
    (latency_benchmark.parse, ["--seconds", "inf"], "--seconds: found inf"),
    (latency_benchmark.parse, ["--layers", "nan"], "--layers: found nan; allowed: a finite number"),
    (faults.parse, ["--gap-seconds", "nan"], "--gap-seconds: found nan"),
    (sync_benchmark.main, ["--seconds", "-1"], "--seconds: found -1.0")])
def test_bad_durations_are_refused(parse, arguments, message, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
