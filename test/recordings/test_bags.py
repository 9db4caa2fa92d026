# SPDX-License-Identifier: Apache-2.0
"""Bags: round trips through both storages, and one-line errors for broken files."""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from admn_ros.errors import InputError
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.bag_types import OWN_TYPES, typestore
from admn_ros.recordings.bag_writer import STORAGES, BagWriter
from helpers.bags import QUARTER, small_bag
from helpers.bags import START_NS as START

RNG = np.random.default_rng(3)
K = np.array([[228.0, 0, 160], [0, 229.0, 120], [0, 0, 1]])


def every_kind() -> dict[str, tuple[str, object]]:
    """Topic -> (type, message), one of each kind we write."""
    rgb = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    depth = RNG.uniform(0, 9, (6, 8)).astype(np.float32)
    depth[0, 0] = np.nan
    return {
        "/rgb": (make.IMAGE, make.rgb_image(rgb, START, "a")),
        "/depth": (make.IMAGE, make.depth_image(depth, START, "a")),
        "/depth_mm": (make.IMAGE, make.depth_image_mm(np.arange(48, dtype=np.uint16).reshape(6, 8), START, "a")),
        "/radar": (make.IMAGE, make.radar_image(np.abs(depth[1:]), START, "r")),
        "/audio": (make.AUDIO_FRAME, make.audio_frame(RNG.uniform(-1, 1, (66, 4)), 16000, START, "mic")),
        "/info": (make.CAMERA_INFO, make.camera_info(K, 320, 240, START, "a")),
        "/pose": (make.POSE, make.pose_stamped((1, 2, 3), QUARTER, START, "map")),
        "/budget": (make.COMPUTE_BUDGET, make.compute_budget(12, "layers", START, source="test", valid_for_ns=1500)),
        "/tf_static": (make.TF, make.static_transforms([make.Transform("map", "a", (1, 2, 3), QUARTER)], START)),
    }


def same(a: object, b: object) -> bool:
    """Equal content, field by field, whichever store made the class."""
    if is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b))
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("storage", STORAGES)
def test_every_kind_comes_back(tmp_path: Path, storage: str) -> None:
    kinds = every_kind()
    with BagWriter(tmp_path / "bag", storage) as bag:
        bag.add_topic("/tf_static", make.TF, latched=True)
        bag.add_topic("/rgb", make.IMAGE, best_effort=True)
        bag.note({"who": "test"})
        for i, (topic, (kind, message)) in enumerate(kinds.items()):
            bag.write(topic, kind, message, START + i * 1000)
    with BagReader(tmp_path / "bag") as bag:
        assert {t: (i.type, i.count) for t, i in bag.topics.items()} == {t: (k, 1) for t, (k, _) in kinds.items()}
        assert (bag.start_ns, bag.end_ns, bag.message_count) == (START, START + 8000, 9)
        assert bag.custom_data == {"who": "test"}
        assert bag.topics["/tf_static"].latched
        assert not bag.topics["/pose"].latched
        assert (bag.topics["/rgb"].reliability, bag.topics["/pose"].reliability) == ("best_effort", "reliable")
        back = list(bag.messages())
        assert [(t, s) for t, s, _ in back] == [(t, START + i * 1000) for i, t in enumerate(kinds)]
        for topic, _, message in back:
            assert same(kinds[topic][1], message), topic
        for topic, _, raw in bag:
            assert same(kinds[topic][1], bag.deserialize(topic, raw)), topic


@pytest.mark.parametrize("storage", STORAGES)
def test_iteration_is_in_time_order_and_filtered(tmp_path: Path, storage: str) -> None:
    stamps = RNG.permutation(50)
    with BagWriter(tmp_path / "bag", storage) as bag:
        for i in stamps:
            bag.write(f"/pose{i % 3}", make.POSE, make.pose_stamped((i, 0, 0), QUARTER, START, "map"), START + int(i))
    with BagReader(tmp_path / "bag") as bag:
        assert [s - START for _, s, _ in bag] == list(range(50))
        assert [s - START for _, s, _ in bag.messages(["/pose1"])] == list(range(1, 50, 3))
        assert [m.pose.position.x for *_, m in bag.messages(None, START + 5, START + 9)] == [5, 6, 7, 8]
        with pytest.raises(InputError, match=r"topic: found /nothing; allowed: /pose0, /pose1, /pose2"):
            next(bag.messages(["/nothing"]))


@pytest.mark.parametrize("storage", STORAGES)
def test_bare_storage_file_opens(tmp_path: Path, storage: str) -> None:
    bag = small_bag(tmp_path / "bag", storage)
    (file,) = [p for p in bag.iterdir() if p.suffix != ".yaml"]
    with BagReader(file) as reader:
        assert len(list(reader)) == reader.message_count == 20
        assert reader.topics["/pose"].durability == "volatile"


def test_compressed_mcap_is_smaller_and_equal(tmp_path: Path) -> None:
    image = make.depth_image(np.ones((100, 100), np.float32), START, "a")
    for name, compress in (("plain", False), ("zstd", True)):
        with BagWriter(tmp_path / name, compress=compress) as bag:
            bag.write("/depth", make.IMAGE, image, START)
    plain, packed = ((tmp_path / n / f"{n}.mcap").stat().st_size for n in ("plain", "zstd"))
    assert packed < plain / 5
    with BagReader(tmp_path / "zstd") as bag:
        assert same(next(bag.messages())[2], image)


def test_empty_bag_says_so(tmp_path: Path) -> None:
    for storage in STORAGES:
        BagWriter(tmp_path / storage, storage).close()
        with BagReader(tmp_path / storage) as bag:
            assert (bag.message_count, bag.topics, bag.start_ns, bag.end_ns, list(bag)) == (0, {}, 0, 0, [])


# --- types ------------------------------------------------------------------------------------------


def test_type_hash_is_the_one_ros_computed() -> None:
    """ROS compares hashes when a bag is played: ours must be what rosidl wrote for the same definitions."""
    installed = Path(sys.prefix, "share", "admn_ros", "msg")
    if not (installed / "ComputeBudget.json").is_file():
        pytest.skip("admn_ros was installed without its ROS messages")
    # The installed definitions, not the checkout's, which can be newer than the last installation.
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in OWN_TYPES:
        store.register(get_types_from_msg((installed / f"{name}.msg").read_text(), f"admn_ros/msg/{name}"))
    for name in OWN_TYPES:
        hashes = json.loads((installed / f"{name}.json").read_text())["type_hashes"]
        (ros,) = [h["hash_string"] for h in hashes if h["type_name"] == f"admn_ros/msg/{name}"]
        assert store.hash_rihs01(f"admn_ros/msg/{name}") == ros


def test_bag_carries_hash_and_definition_of_our_messages(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", "sqlite3") as bag:
        bag.write("/budget", *every_kind()["/budget"], START)
    (topic,) = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())[
        "rosbag2_bagfile_information"]["topics_with_message_count"]
    assert topic["topic_metadata"]["type_description_hash"] == typestore().hash_rihs01(make.COMPUTE_BUDGET)
    with Reader(tmp_path / "bag") as plain:  # rosbags alone, without our .msg files
        assert "float64 limit" in plain.connections[0].msgdef.data


def test_rclpy_reads_our_bytes(tmp_path: Path) -> None:
    rclpy = pytest.importorskip("rclpy.serialization", reason="needs ROS 2")
    from geometry_msgs.msg import PoseStamped
    from sensor_msgs.msg import CameraInfo, Image

    kinds = every_kind()
    wanted = {"/depth": Image, "/info": CameraInfo, "/pose": PoseStamped}
    with BagWriter(tmp_path / "bag") as bag:
        for topic in wanted:
            bag.write(topic, *kinds[topic], START)
    with BagReader(tmp_path / "bag") as bag:
        got = {t: rclpy.deserialize_message(raw, wanted[t]) for t, _, raw in bag}
    assert (got["/depth"].encoding, got["/depth"].height, got["/depth"].step) == ("32FC1", 6, 32)
    assert bytes(got["/depth"].data) == kinds["/depth"][1].data.tobytes()
    assert got["/info"].k.tolist() == K.reshape(-1).tolist()
    assert got["/info"].header.stamp.sec == START // 10**9
    assert got["/pose"].pose.position.z == 3.0


def test_rclpy_reads_our_own_messages() -> None:
    rclpy = pytest.importorskip("rclpy.serialization", reason="needs ROS 2")
    ours = pytest.importorskip("admn_ros.msg", reason="admn_ros was installed without its ROS messages")
    kinds = every_kind()
    kind, audio = kinds["/audio"]
    got = rclpy.deserialize_message(bytes(typestore().serialize_cdr(audio, kind)), ours.AudioFrame)
    assert (got.sample_rate, got.channels, got.encoding) == (16000, 4, "S16LE")
    assert bytes(got.data) == audio.data.tobytes()
    kind, budget = kinds["/budget"]
    got = rclpy.deserialize_message(bytes(typestore().serialize_cdr(budget, kind)), ours.ComputeBudget)
    assert (got.limit, got.unit, got.source, got.valid_for.nanosec) == (12.0, 0, "test", 1500)


def test_real_bags(shared_data: Path) -> None:
    """Third-party recordings: audio and cameras deserialise; an unknown radar type raises an error with its name."""
    bags = shared_data / "rosbag2"
    with BagReader(bags / "sound_classification_sample_rosbag_applause_757eae") as bag:
        assert bag.topics["/audio"].type == "audio_common_msgs/msg/AudioData"
        assert bag.topics["/audio"].latched
        assert sum(len(m.data) > 0 for *_, m in bag.messages()) == bag.message_count == 1603
    with BagReader(bags / "fiducial_slam_test_aruco_images_d99eed") as bag:
        assert {t: i.count for t, i in bag.topics.items()} == {
            "/raspicam_node/camera_info": 15, "/raspicam_node/image/compressed": 1}
        info = next(bag.messages(["/raspicam_node/camera_info"]))[2]
        assert info.k[0] > 100
    for folder in (p.parent for p in (bags / "nebula_continental_radar").rglob("metadata.yaml")):
        with BagReader(folder) as bag:
            ((topic, info),) = bag.topics.items()
            assert (info.type, info.reliability) == ("nebula_msgs/msg/NebulaPackets", "best_effort")
            assert sum(len(raw) > 100 for _, _, raw in bag) == info.count > 0
            with pytest.raises(InputError, match=r"message type nebula_msgs/msg/NebulaPackets.*read raw"):
                next(bag.messages([topic]))


# --- bad bags ----------------------------------------------------------------------------------------


def test_paths_that_are_no_bags(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "old.bag").touch()
    (tmp_path / "film.mp4").touch()
    for name, words in (("nothing", "missing; required"), ("folder", "without metadata.yaml"),
                        ("old.bag", "a ROS 1 bag.*rosbags-convert"), ("film.mp4", r"a file \.mp4")):
        with pytest.raises(InputError, match=words) as caught:
            BagReader(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("text", ["", "]", "a: 1", "rosbag2_bagfile_information: {version: 99}",
                                  "rosbag2_bagfile_information: [1]", "\x00"])
def test_broken_metadata(tmp_path: Path, text: str) -> None:
    bag = small_bag(tmp_path / "bag")
    (bag / "metadata.yaml").write_text(text)
    with pytest.raises(InputError, match="cannot be read"):
        BagReader(bag)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("keep", [0.0, 0.001, 0.3, 0.7])
def test_truncated_file(tmp_path: Path, storage: str, keep: float) -> None:
    bag = small_bag(tmp_path / "bag", storage, count=300)
    (file,) = [p for p in bag.iterdir() if p.suffix != ".yaml"]
    file.write_bytes(file.read_bytes()[:int(file.stat().st_size * keep)])
    with pytest.raises(InputError) as caught, BagReader(bag) as reader:
        for _ in reader.messages():
            pass
    assert "cannot be read" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("storage", STORAGES)
def test_missing_storage_file(tmp_path: Path, storage: str) -> None:
    bag = small_bag(tmp_path / "bag", storage)
    next(p for p in bag.iterdir() if p.suffix != ".yaml").unlink()
    with pytest.raises(InputError, match="missing"):
        BagReader(bag)


def test_broken_cdr_names_topic_and_type(tmp_path: Path) -> None:
    with BagReader(small_bag(tmp_path / "bag")) as bag:
        for raw in (b"", b"\x00\x01\x00\x00", b"\x00\x01\x00\x00" + b"\xff" * 40):
            with pytest.raises(InputError, match=r"/pose: found bytes that are not a geometry_msgs/msg/PoseStamped"):
                bag.deserialize("/pose", raw)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_may_be_closed_before_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str) -> None:
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    with BagReader(small_bag(tmp_path / "bag", storage)) as bag:
        messages = bag.messages()
        next(messages)
    del messages
    gc.collect()
    assert not ignored


def test_text_that_is_damaged(tmp_path: Path) -> None:
    bag = small_bag(tmp_path / "bag", "sqlite3")
    content = (bag / "bag.db3").read_bytes()
    (bag / "bag.db3").write_bytes(content.replace(b"CREATE TABLE topics", b"CREATE TABL\xec topics"))
    with pytest.raises(InputError, match="cannot be read"):
        BagReader(bag)


def test_closed_bag(tmp_path: Path) -> None:
    bag = BagReader(small_bag(tmp_path / "bag"))
    bag.close()
    bag.close()
    with pytest.raises(InputError, match="a closed bag"):
        next(iter(bag))


# --- writer ------------------------------------------------------------------------------------------


def test_writer_refuses(tmp_path: Path) -> None:
    small_bag(tmp_path / "bag")
    with pytest.raises(InputError, match="never overwritten"):
        BagWriter(tmp_path / "bag")
    with pytest.raises(InputError, match="storage: found 'tape'; allowed: mcap or sqlite3"):
        BagWriter(tmp_path / "new", "tape")
    with pytest.raises(InputError, match="only with mcap"):
        BagWriter(tmp_path / "new", "sqlite3", compress=True)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="a folder that can be written"):
        BagWriter(tmp_path / "file" / "bag")
    pose = make.pose_stamped((0, 0, 0), QUARTER, START, "map")
    with BagWriter(tmp_path / "new") as bag:
        bag.write("/pose", make.POSE, pose, START)
        with pytest.raises(InputError, match="message on /pose"):
            bag.write("/pose", make.IMAGE, pose, START)
        with pytest.raises(InputError, match="type of /pose: found sensor_msgs/msg/Image"):
            bag.write_raw("/pose", make.IMAGE, b"", START)
        with pytest.raises(InputError, match="type of /x: found nebula_msgs/msg/NebulaPackets"):
            bag.write_raw("/x", "nebula_msgs/msg/NebulaPackets", b"", START)
    with pytest.raises(InputError, match="a closed bag"):
        bag.write("/pose", make.POSE, pose, START)


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), BagWriter(tmp_path / "bag") as bag:
        bag.write("/pose", make.POSE, make.pose_stamped((0, 0, 0), QUARTER, START, "map"), START)
        raise RuntimeError("stop")
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize(("call", "words"), [
    (lambda: make.rgb_image(np.zeros((4, 4), np.uint8), START, "a"), "rgb: found uint8"),
    (lambda: make.rgb_image(np.zeros((4, 4, 4), np.uint8), START, "a"), "4 channels"),
    (lambda: make.depth_image(np.zeros((4, 4)), START, "a"), "depth_m: found float64"),
    (lambda: make.depth_image_mm(np.zeros((0, 4), np.uint16), START, "a"), "not empty"),
    (lambda: make.radar_image(np.full((2, 2), -1, np.float32), START, "a"), "at least 0"),
    (lambda: make.radar_image(np.full((2, 2), np.nan, np.float32), START, "a"), "NaN"),
    (lambda: make.audio_frame(np.zeros(4), 16000, START, "a"), r"samples: found shape \(4,\)"),
    (lambda: make.audio_frame(np.full((4, 1), np.inf), 16000, START, "a"), "finite"),
    (lambda: make.camera_info(np.zeros((3, 3)), 4, 4, START, "a"), "positive focal"),
    (lambda: make.pose_stamped((0, 0, 0), (0, 0, 0, 2), START, "a"), "unit quaternion"),
    (lambda: make.pose_stamped((0, 0, np.nan), (0, 0, 0, 1), START, "a"), "three finite"),
    (lambda: make.compute_budget(-1, "layers", START), "limit"),
    (lambda: make.compute_budget(float("nan"), "layers", START), "limit"),
    (lambda: make.compute_budget(1, "horses", START), "unit"),
    (lambda: make.header(-1, ""), "stamp_ns"),
])
def test_constructors_refuse(call: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_audio_full_scale_is_clipped() -> None:
    frame = make.audio_frame(np.array([[1.0, -1.0], [2.0, 0.5]]), 16000, START, "mic")
    assert frame.data.view("<i2").tolist() == [32767, -32768, 32767, 16384]
    assert (frame.channels, frame.encoding, frame.sample_rate) == (2, "S16LE", 16000)


@given(hnp.arrays(np.float64, 4, elements=st.floats(-1, 1)))
def test_quaternion_of_inverts_rotation(q: np.ndarray) -> None:
    norm = np.linalg.norm(q)
    if norm < 1e-3:
        return
    x, y, z, w = q / norm
    rotation = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])
    got = np.array(make.quaternion_of(rotation))
    assert got[3] >= 0
    assert abs(abs(got @ (x, y, z, w)) - 1) < 1e-9
