# SPDX-License-Identifier: Apache-2.0
"""Bags of a simulated world: content, pace, failures, and the same bytes every time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from admn_ros.errors import InputError
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.sensing.decode.audio_messages import decode_audio
from admn_ros.sensing.decode.compressed_depth import decode_compressed_depth
from admn_ros.sensing.decode.compressed_images import decode_compressed_rgb
from admn_ros.sensing.decode.images import decode_depth, decode_radar, decode_rgb
from admn_ros.simulation.events import demo_events
from admn_ros.simulation.recording import BUDGET_LAYERS, NOTE, Recording, record
from admn_ros.simulation.streams import START_NS
from admn_ros.simulation.world import World
from admn_ros.views.contact_sheet import draw_sheet

pytestmark = pytest.mark.slow


def make_world(nodes: int = 1, seed: int = 7) -> World:
    return World(seed, target="red_car", nodes=nodes, quality="small")


def stamp(message: object) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def seconds(message: object) -> float:
    return (stamp(message) - START_NS) / 1e9


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    try:
        made = make_world()
    except InputError as error:
        if "MuJoCo" in str(error.allowed):
            pytest.skip(f"no renderer: {error}")
        raise
    with made:
        yield made


@pytest.fixture(scope="module")
def recording(world: World, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """2.4 s of one node; the lights go out at 2 s."""
    return record(tmp_path_factory.mktemp("recording") / "bag", world, 2.4)


def test_topics_types_and_rates(recording: Recording) -> None:
    with BagReader(recording.path) as bag:
        assert {t: i.type.rsplit("/", 1)[1] for t, i in bag.topics.items()} == {
            "/node1/rgb/image_raw": "Image", "/node1/rgb/camera_info": "CameraInfo",
            "/node1/depth/image_raw": "Image", "/node1/depth/camera_info": "CameraInfo",
            "/node1/radar/range_azimuth": "Image", "/node1/radar/range_doppler": "Image",
            "/node1/radar/points": "PointCloud2", "/node1/audio": "AudioFrame", "/temperature": "Temperature",
            "/ground_truth/pose": "PoseStamped", "/tf_static": "TFMessage", "/admn/budget": "ComputeBudget"}
        assert {t: i.count for t, i in bag.topics.items()} == recording.messages
        assert [t for t, i in bag.topics.items() if i.latched] == ["/tf_static"]
        stamps: dict[str, list[int]] = {}
        arrivals = []
        for topic, recorded, message in bag.messages():
            arrivals.append(recorded)
            if topic != "/tf_static":
                stamps.setdefault(topic, []).append(stamp(message))
                assert 0 <= recorded - stamp(message) < 50_000_000, topic
        assert arrivals == sorted(arrivals)
    for topic, rate in (("/node1/rgb/image_raw", 15), ("/node1/depth/image_raw", 15), ("/ground_truth/pose", 60),
                        ("/node1/radar/range_azimuth", 4), ("/node1/audio", 16000 / 1056)):
        steps = np.diff(stamps[topic]) / 1e9
        assert (steps > 0).all()
        assert steps.mean() == pytest.approx(1 / rate, rel=0.03), topic
    assert stamps["/node1/rgb/image_raw"] == stamps["/node1/rgb/camera_info"]
    assert np.ptp(np.diff(stamps["/node1/audio"])) <= 1  # the samples' clock does not jitter
    apart = [abs(s - START_NS - round((s - START_NS) / 1e9 * 15) / 15 * 1e9) for s in stamps["/node1/rgb/image_raw"]]
    assert max(apart) > 1e6
    assert not set(stamps["/node1/rgb/image_raw"]) & set(stamps["/node1/depth/image_raw"])


def test_messages_are_the_world(world: World, recording: Recording) -> None:
    with BagReader(recording.path) as bag:
        first: dict[str, object] = {}
        for topic, _, message in bag.messages():
            first.setdefault(topic, message)
        budgets = [(round(seconds(m), 3), m.limit, m.unit) for *_, m in bag.messages(["/admn/budget"])]
        for *_, pose in bag.messages(["/ground_truth/pose"]):
            car = world.drive.at(seconds(pose))
            assert np.allclose((pose.pose.position.x, pose.pose.position.y), car.position_m, atol=1e-6)
            yaw = 2 * np.arctan2(pose.pose.orientation.z, pose.pose.orientation.w)
            assert np.isclose(np.cos(yaw - car.heading_rad), 1)
        assert json.loads(bag.custom_data[NOTE])["events"][0]["kind"] == "lights_out"
    assert np.array_equal(decode_rgb(first["/node1/rgb/image_raw"]),
                          world.rgb(0, seconds(first["/node1/rgb/image_raw"]), 0))
    depth = decode_depth(first["/node1/depth/image_raw"])
    assert depth.shape == (60, 80) and 0.2 < np.nanmin(depth) < np.nanmax(depth) < 9
    assert decode_radar(first["/node1/radar/range_azimuth"]).shape == (128, 64)
    assert decode_audio(first["/node1/audio"]).shape == (1056, 4)
    assert budgets == [(0.0, BUDGET_LAYERS[0], 0), (1.5, BUDGET_LAYERS[1], 0)]
    frames = {t.child_frame_id: t.header.frame_id for t in first["/tf_static"].transforms}
    assert frames["node1_base"] == frames["optitrack"] == "map"
    for topic in ("/node1/rgb/image_raw", "/node1/depth/image_raw", "/node1/radar/range_azimuth", "/node1/audio"):
        assert frames[first[topic].header.frame_id] == "node1_base"


def test_lights_go_out(recording: Recording) -> None:
    (event,) = recording.events
    assert (event.kind, event.start_s) == ("lights_out", 2.0)
    with BagReader(recording.path) as bag:
        for *_, message in bag.messages(["/node1/rgb/image_raw"]):
            assert (decode_rgb(message).mean() < 60) == (seconds(message) >= 2.0)


@pytest.mark.slow
def test_same_seed_same_bag(world: World, recording: Recording, tmp_path: Path) -> None:
    """Messages and, under the same folder name, files are equal; another seed differs in every sensor."""
    again = record(tmp_path / "a" / "bag", world, 2.4)
    for name in ("bag.mcap", "metadata.yaml"):
        assert (again.path / name).read_bytes() == (recording.path / name).read_bytes()
    # A shorter recording, in the other storage, has the same messages.
    other = record(tmp_path / "b" / "bag", world, 0.9, storage="sqlite3")
    with make_world(seed=8) as stranger:
        differs = record(tmp_path / "c" / "bag", stranger, 0.9)
    sensors = [f"/node1/{t}" for t in ("rgb/image_raw", "depth/image_raw", "radar/range_azimuth", "audio")]
    with BagReader(recording.path) as a, BagReader(other.path) as b, BagReader(differs.path) as c:
        for topic in sensors:
            ours, theirs, others = (list(bag.raw([topic])) for bag in (a, b, c))
            assert len(theirs) >= 3
            assert [raw for *_, raw in theirs] == [raw for *_, raw in ours[:len(theirs)]], topic
            assert others[0][2] != ours[0][2]


def test_a_compact_recording_loses_less_than_the_noise(world: World, recording: Recording, tmp_path: Path) -> None:
    compact = record(tmp_path / "bag", world, 2.4, compact=True)
    assert compact.size_bytes < recording.size_bytes / 2
    names = {"/node1/rgb/image_raw": "/node1/rgb/image_raw/compressed",
             "/node1/depth/image_raw": "/node1/depth/image_raw/compressedDepth"}
    wanted = {names.get(t, t): n for t, n in recording.messages.items()
              if t not in ("/node1/radar/range_doppler", "/node1/radar/points")}
    assert compact.messages == wanted
    with BagReader(recording.path) as a, BagReader(compact.path) as b:
        def pair(topic: str) -> tuple[object, object]:
            return next(a.messages([topic]))[2], next(b.messages([names.get(topic, topic)]))[2]

        full, small = pair("/node1/rgb/image_raw")
        assert stamp(full) == stamp(small) and small.header.frame_id == full.header.frame_id
        assert np.abs(decode_rgb(full).astype(int) - decode_compressed_rgb(small)).mean() < 5
        full, small = pair("/node1/depth/image_raw")
        exact, rounded = decode_depth(full), decode_compressed_depth(small)
        assert np.array_equal(np.isnan(exact), np.isnan(rounded)) and np.nanmax(np.abs(exact - rounded)) < 0.00051
        full, small = (decode_radar(m) for m in pair("/node1/radar/range_azimuth"))
        assert np.abs(small / full - 1).max() <= 1 / 64 + 1e-6
        full, small = (decode_audio(m) for m in pair("/node1/audio"))
        assert np.abs(small - full).max() <= 33 / 32768


def test_which_topics_each_event_touches() -> None:
    events = {e.kind: e for e in demo_events(12.0, ["node1", "node2", "node3"])}
    assert list(events) == ["lights_out", "depth_saturated", "topic_dead", "radar_missing"]
    assert events["topic_dead"].topics == ("/node2/rgb/image_raw",)
    assert events["topic_dead"].silences("/node2/rgb/image_raw/compressed", 7.0)
    assert not events["topic_dead"].silences("/node2/rgb/image_raw_other", 7.0)
    for topic in ("range_azimuth", "range_doppler", "points"):
        assert events["radar_missing"].silences(f"/node3/radar/{topic}", 9.5)
        assert not events["radar_missing"].silences(f"/node3/radar/{topic}", 11.0)
    assert events["lights_out"].applies("/node1/rgb/image_raw", 3.0)
    assert not events["lights_out"].silences("/node1/rgb/image_raw", 3.0)
    assert not events["lights_out"].applies("/node1/depth/image_raw", 3.0)
    assert [e.kind for e in demo_events(12.0, ["node1"])] == ["lights_out", "depth_saturated", "radar_missing"]
    assert demo_events(1.9, ["node1"]) == ()


@pytest.mark.slow
def test_dead_topics_are_silent_and_saturated_depth_is_empty(world: World, tmp_path: Path) -> None:
    """The failures of the demo, all moved to the front to save time."""
    moved = [replace(e, start_s=0.3, end_s=0.8) for e in demo_events(12.0, ["node1", "node2"])
             if e.kind != "lights_out"]
    with make_world(nodes=2) as two:
        done = record(tmp_path / "bag", two, 1.1, events=moved)
    with BagReader(done.path) as bag:
        times: dict[str, list[float]] = {t: [] for t in bag.topics}
        for topic, _, message in bag.messages():
            if topic != "/tf_static":
                times[topic].append(seconds(message))
                if topic.endswith("depth/image_raw"):
                    assert (np.isnan(decode_depth(message)).mean() > 0.8) == (0.3 <= seconds(message) < 0.8)
    for topic in ("/node2/rgb/image_raw", "/node1/radar/range_azimuth", "/node2/radar/points"):
        assert times[topic] and not [t for t in times[topic] if 0.3 <= t < 0.8], topic
    assert [t for t in times["/node1/rgb/image_raw"] if 0.3 <= t < 0.8]
    assert [t for t in times["/node2/rgb/camera_info"] if 0.3 <= t < 0.8]
    assert "/node2/rgb/image_raw dead" in done.describe() and "red_car" in done.describe()


def test_a_short_recording_without_failures_reports_its_progress(world: World, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    done = record(tmp_path / "bag", world, 0.5, events=False, progress=lambda a, b: seen.append((a, b)))
    assert done.events == () and seen == sorted(seen) and seen[-1] == (500, 500)


@pytest.mark.parametrize(("argument", "field"), [
    ({"seconds": 0.1}, "seconds"), ({"seconds": float("nan")}, "seconds"), ({"storage": "tape"}, "storage")])
def test_bad_arguments(world: World, tmp_path: Path, argument: dict[str, object], field: str) -> None:
    with pytest.raises(InputError, match=f"{field}: found"):
        record(tmp_path / "bag", world, **{"seconds": 1.0, **argument})
    assert not (tmp_path / "bag").exists()


@pytest.mark.slow
def test_contact_sheet(recording: Recording, tmp_path: Path) -> None:
    """Two instants differ in the RGB panel: light, then dark."""
    sheets = [cv2.imread(str(draw_sheet(recording.path, tmp_path / f"{t}.png", t))) for t in (1.5, 2.3)]
    assert sheets[0].shape == sheets[1].shape
    assert sheets[0].shape[1] > 1000 and sheets[0].shape[0] > 250, "large enough to read"
    panel = [s[60:-30, 20:200].astype(int).mean() for s in sheets]
    assert panel[1] < panel[0] - 20
    with pytest.raises(InputError, match="at_s: found 9"):
        draw_sheet(recording.path, tmp_path / "x.png", 9)
    with pytest.raises(InputError, match="writable"):
        draw_sheet(recording.path, tmp_path / "1.5.png" / "x.png", 1)
