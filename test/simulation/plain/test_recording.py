# SPDX-License-Identifier: Apache-2.0
"""The demo's bag: what is in it, at which pace, with which mishaps, and always the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from admn_ros.errors import InputError
from admn_ros.recordings.bags import BagReader
from admn_ros.simulation.plain.recording import BUDGET_LAYERS, NOTE, START_NS, Recording, demo_events, record
from admn_ros.simulation.scene.geometry import Motion
from admn_ros.views.contact_sheet import draw_sheet, pcm, pixels


def stamp(message: object) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


@pytest.fixture(scope="module")
def two_seconds(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """2.4 s of one node, with the lights going out at 2 s."""
    return record(tmp_path_factory.mktemp("demo") / "bag", seconds=2.4, seed=7, nodes=1)


def test_topics_types_and_rates(two_seconds: Recording) -> None:
    with BagReader(two_seconds.path) as bag:
        assert {t: i.type.rsplit("/", 1)[1] for t, i in bag.topics.items()} == {
            "/node1/rgb/image_raw": "Image", "/node1/rgb/camera_info": "CameraInfo",
            "/node1/depth/image_raw": "Image", "/node1/depth/camera_info": "CameraInfo",
            "/node1/radar/range_azimuth": "Image", "/node1/audio": "AudioFrame",
            "/ground_truth/pose": "PoseStamped", "/tf_static": "TFMessage", "/admn/budget": "ComputeBudget"}
        assert {t: i.count for t, i in bag.topics.items()} == two_seconds.messages
        assert [t for t, i in bag.topics.items() if i.latched] == ["/tf_static"]
        stamps: dict[str, list[int]] = {}
        for topic, recorded, message in bag.messages():
            if topic != "/tf_static":
                stamps.setdefault(topic, []).append(stamp(message))
                assert 0 <= recorded - stamp(message) < 50_000_000, topic
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


def test_messages_are_what_they_should_be(two_seconds: Recording) -> None:
    motion = Motion.seeded(7)
    with BagReader(two_seconds.path) as bag:
        first = {}
        for topic, _, message in bag.messages():
            first.setdefault(topic, message)
        budgets = [(round((stamp(m) - START_NS) / 1e9, 3), m.limit, m.unit)
                   for *_, m in bag.messages(["/admn/budget"])]
        for *_, pose in bag.messages(["/ground_truth/pose"]):
            car = motion.at((stamp(pose) - START_NS) / 1e9)
            assert np.allclose((pose.pose.position.x, pose.pose.position.y), car.position_m, atol=1e-6)
            yaw = 2 * np.arctan2(pose.pose.orientation.z, pose.pose.orientation.w)
            assert np.isclose(np.cos(yaw - car.heading_rad), 1)
        assert json.loads(bag.custom_data[NOTE])["events"][0]["kind"] == "lights_out"
    assert pixels(first["/node1/rgb/image_raw"]).shape == (240, 320, 3)
    depth = pixels(first["/node1/depth/image_raw"])
    assert (depth.shape, depth.dtype) == ((120, 160), np.float32)
    assert 0.3 < np.nanmin(depth) < np.nanmax(depth) < 9
    assert pixels(first["/node1/radar/range_azimuth"]).shape == (128, 64)
    assert pcm(first["/node1/audio"]).shape == (1056, 4)
    assert 0.005 < pcm(first["/node1/audio"]).std() < 0.2
    assert budgets == [(0.0, BUDGET_LAYERS[0], 0), (1.5, BUDGET_LAYERS[1], 0)]
    frames = {t.child_frame_id: t.header.frame_id for t in first["/tf_static"].transforms}
    assert frames["node1_base"] == "map"
    for topic in ("/node1/rgb/image_raw", "/node1/depth/image_raw", "/node1/radar/range_azimuth", "/node1/audio"):
        assert frames[first[topic].header.frame_id] == "node1_base"
    info = first["/node1/rgb/camera_info"]
    assert (info.width, info.height, info.k[0]) == (320, 240, 228.0)


def test_lights_go_out(two_seconds: Recording) -> None:
    (event,) = two_seconds.events
    assert (event.kind, event.start_s) == ("lights_out", 2.0)
    with BagReader(two_seconds.path) as bag:
        for *_, message in bag.messages(["/node1/rgb/image_raw"]):
            dark = (stamp(message) - START_NS) / 1e9 >= 2.0
            assert (pixels(message).mean() < 60) == dark


def test_same_seed_same_bag(two_seconds: Recording, tmp_path: Path) -> None:
    """Messages and, under the same folder name, files are equal; another seed differs in every sensor."""
    again = record(tmp_path / "a" / "bag", seconds=2.4, seed=7, nodes=1)
    for name in ("bag.mcap", "metadata.yaml"):
        assert (again.path / name).read_bytes() == (two_seconds.path / name).read_bytes()
    # A shorter recording of more nodes, in the other storage: node1 has the same messages.
    other = record(tmp_path / "b" / "bag", seconds=0.9, seed=7, nodes=2, storage="sqlite3")
    differs = record(tmp_path / "c" / "bag", seconds=0.9, seed=8, nodes=1)
    mine = [f"/node1/{t}" for t in ("rgb/image_raw", "depth/image_raw", "radar/range_azimuth", "audio")]
    with BagReader(two_seconds.path) as a, BagReader(other.path) as b, BagReader(differs.path) as c:
        for topic in mine[:3]:
            ours, theirs, others = (list(bag.raw([topic])) for bag in (a, b, c))
            assert len(theirs) >= 3
            assert [raw for *_, raw in theirs] == [raw for *_, raw in ours[:len(theirs)]], topic
            assert others[0][2] != ours[0][2]
        assert next(a.raw(mine[3:]))[2] != next(c.raw(mine[3:]))[2]


def test_which_topics_each_event_touches() -> None:
    events = {e.kind: e for e in demo_events(12.0, ["node1", "node2", "node3"])}
    assert list(events) == ["lights_out", "depth_saturated", "topic_dead", "radar_missing"]
    assert events["topic_dead"].topics == ("/node2/rgb/image_raw",)
    assert events["radar_missing"].holds("/node3/radar/range_azimuth", 9.5)
    assert not events["radar_missing"].holds("/node3/radar/range_azimuth", 11.0)
    assert not events["lights_out"].holds("/node1/depth/image_raw", 3.0)
    assert [e.kind for e in demo_events(12.0, ["node1"])] == ["lights_out", "depth_saturated", "radar_missing"]
    assert demo_events(1.9, ["node1"]) == ()


def test_dead_topics_are_silent_and_saturated_depth_is_empty(tmp_path: Path) -> None:
    """The demo's mishaps, all moved to the front to save time."""
    moved = [replace(e, start_s=0.3, end_s=0.8) for e in demo_events(12.0, ["node1", "node2"])
             if e.kind != "lights_out"]
    done = record(tmp_path / "bag", seconds=1.1, nodes=2, car="green", events=moved)
    with BagReader(done.path) as bag:
        times = {t: [] for t in bag.topics}
        for topic, _, message in bag.messages():
            if topic != "/tf_static":
                t = (stamp(message) - START_NS) / 1e9
                times[topic].append(t)
                if topic.endswith("depth/image_raw"):
                    assert (np.isnan(pixels(message)).mean() > 0.8) == (0.3 <= t < 0.8)
    for topic in ("/node2/rgb/image_raw", "/node1/radar/range_azimuth", "/node2/radar/range_azimuth"):
        assert times[topic]
        assert not [t for t in times[topic] if 0.3 <= t < 0.8], topic
    assert [t for t in times["/node1/rgb/image_raw"] if 0.3 <= t < 0.8]
    assert [t for t in times["/node2/rgb/camera_info"] if 0.3 <= t < 0.8]
    assert "/node2/rgb/image_raw dead" in done.describe()
    assert "green car" in done.describe()


def test_no_events_and_progress(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    done = record(tmp_path / "bag", seconds=0.5, nodes=1, events=False, progress=lambda a, b: seen.append((a, b)))
    assert done.events == ()
    assert seen[-1][0] == seen[-1][1] > 0


@pytest.mark.parametrize(("argument", "words"), [
    ({"seconds": 0.1}, "seconds"), ({"seconds": float("nan")}, "seconds"), ({"seed": -1}, "seed"),
    ({"nodes": 0}, "nodes"), ({"nodes": 4}, "nodes"), ({"car": "blue"}, "car"), ({"storage": "tape"}, "storage")])
def test_bad_arguments(tmp_path: Path, argument: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=f"{words}: found"):
        record(tmp_path / "bag", **argument)
    assert not (tmp_path / "bag").exists()


def test_contact_sheet(two_seconds: Recording, tmp_path: Path) -> None:
    """Two instants differ in the RGB panel: light, then dark."""
    sheets = [cv2.imread(str(draw_sheet(two_seconds.path, tmp_path / f"{t}.png", t))) for t in (1.5, 2.3)]
    assert sheets[0].shape == sheets[1].shape
    assert sheets[0].shape[1] > 1000 and sheets[0].shape[0] > 250, "large enough to read"
    panel = [s[60:-30, 20:200].astype(int).mean() for s in sheets]
    assert panel[1] < panel[0] - 20
    with pytest.raises(InputError, match="at_s: found 9"):
        draw_sheet(two_seconds.path, tmp_path / "x.png", 9)
    with pytest.raises(InputError, match="a file that can be written"):
        draw_sheet(two_seconds.path, tmp_path / "nowhere" / "x.png", 1)
