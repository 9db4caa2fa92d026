# SPDX-License-Identifier: Apache-2.0
"""RGB-D folders to bags: pixels, depth, poses and stamps are kept, and errors name broken files."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from admn_ros.cli import main
from admn_ros.errors import InputError
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.rgbd_folder import convert_rgbd_folder

NUMBERS = (0, 4, 8)
POSE = np.array([[0.0, -1, 0, 1.5], [1, 0, 0, -2], [0, 0, 1, 0.25], [0, 0, 0, 1]])


def depth_of(number: int) -> np.ndarray:
    depth = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) + 500 + number
    depth[0, :2] = (0, 65535)
    return depth


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three frames, 64x48: a red left half; depth a ramp with both invalid values."""
    root = tmp_path / "sequence"
    root.mkdir()
    np.savetxt(root / "camera-intrinsics.txt", [[60, 0, 32], [0, 61, 24], [0, 0, 1]])
    bgr = np.zeros((48, 64, 3), np.uint8)
    bgr[:, :32, 2] = 255
    for number in NUMBERS:
        stem = root / f"frame-{number:06d}"
        cv2.imwrite(f"{stem}.color.jpg", bgr)
        cv2.imwrite(f"{stem}.depth.png", depth_of(number))
        np.savetxt(f"{stem}.pose.txt", POSE)
    (root / "notes.txt").write_text("not a frame")
    return root


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_pixels_metres_pose_and_pace(folder: Path, tmp_path: Path, storage: str) -> None:
    seen: list[tuple[int, int]] = []
    summary = convert_rgbd_folder(folder, tmp_path / "bag", storage=storage, start_ns=10**18,
                                  progress=lambda done, total: seen.append((done, total)))
    assert (summary.frames, summary.skipped) == (3, {})
    assert summary.seconds == pytest.approx(8 / 30)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    with BagReader(tmp_path / "bag") as bag:
        assert {t: i.count for t, i in bag.topics.items()} == summary.messages == dict.fromkeys((
            "/camera/rgb/image_raw", "/camera/rgb/camera_info", "/camera/depth/image_raw",
            "/camera/depth/camera_info", "/ground_truth/pose"), 3)
        by_topic: dict[str, list[tuple[int, object]]] = {}
        for topic, stamp, message in bag.messages():
            header = message.header
            assert header.stamp.sec * 10**9 + header.stamp.nanosec == stamp
            by_topic.setdefault(topic, []).append((stamp, message))
    for entries in by_topic.values():
        assert [stamp - 10**18 for stamp, _ in entries] == [0, 133333333, 266666667]
    rgb = by_topic["/camera/rgb/image_raw"][0][1]
    assert (rgb.encoding, rgb.header.frame_id, rgb.step) == ("rgb8", "camera_optical", 192)
    pixels = rgb.data.reshape(48, 64, 3)
    assert pixels[24, 8, 0] > 240
    assert pixels[24, 8, 2] < 15
    assert pixels[24, 56].max() < 15
    depth = by_topic["/camera/depth/image_raw"][1][1]
    expected = depth_of(4)
    expected[0, 1] = 0
    assert depth.encoding == "16UC1"
    assert np.array_equal(depth.data.view("<u2").reshape(48, 64), expected)
    pose = by_topic["/ground_truth/pose"][0][1]
    assert pose.header.frame_id == "map"
    assert (pose.pose.position.x, pose.pose.position.y, pose.pose.position.z) == (1.5, -2, 0.25)
    assert (pose.pose.orientation.z, pose.pose.orientation.w) == pytest.approx((np.sqrt(0.5), np.sqrt(0.5)))
    info = by_topic["/camera/depth/camera_info"][0][1]
    assert (info.width, info.height, info.k[0], info.k[4], info.k[2]) == (64, 48, 60, 61, 32)


def test_float_depth_node_name_and_limit(folder: Path, tmp_path: Path) -> None:
    summary = convert_rgbd_folder(folder, tmp_path / "bag", depth="32FC1", node="node1", limit=2, rate_hz=4.0)
    assert summary.frames == 2
    with BagReader(tmp_path / "bag") as bag:
        assert bag.end_ns - bag.start_ns == 10**9
        _, _, depth = next(bag.messages(["/node1/depth/image_raw"]))
    metres = depth.data.view("<f4").reshape(48, 64)
    assert np.isnan(metres[0, :2]).all()
    assert np.isfinite(metres[0, 2:]).all()
    assert np.array_equal(metres[1], (depth_of(0)[1] / 1000).astype(np.float32))
    assert depth.header.frame_id == "node1_optical"


def broken(folder: Path, name: str, content: bytes | None) -> None:
    path = folder / name
    path.unlink() if content is None else path.write_bytes(content)


@pytest.mark.parametrize(("name", "content", "words"), [
    ("frame-000004.color.jpg", None, "No such file"),
    ("frame-000004.depth.png", None, "No such file"),
    ("frame-000004.pose.txt", None, "No such file"),
    ("frame-000004.color.jpg", b"", "0 bytes that are no image"),
    ("frame-000004.color.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
    ("frame-000004.depth.png", b"\x89PNG\r\n\x1a\nbroken", "no image"),
    ("frame-000004.depth.png", cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes(), "uint8 with shape"),
    ("frame-000004.pose.txt", b"1 0 0\n", r"rows of \[3\]"),
    ("frame-000004.pose.txt", b"1 0 0 x\n", "could not convert"),
    ("frame-000004.pose.txt", b"\xff\xfe", "decode"),
    ("frame-000004.pose.txt", b"-inf 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "infinity"),
    ("frame-000004.pose.txt", b"2 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "no rigid motion"),
    ("frame-000004.pose.txt", b"-1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "no rigid motion"),
])
def test_a_bad_frame_is_skipped_and_named(folder: Path, tmp_path: Path, name: str, content: bytes | None,
                                          words: str) -> None:
    broken(folder, name, content)
    summary = convert_rgbd_folder(folder, tmp_path / "bag")
    assert (summary.frames, list(summary.skipped)) == (2, [4])
    assert re.search(words, summary.skipped[4])
    assert name in summary.skipped[4]
    with BagReader(tmp_path / "bag") as bag:
        assert {i.count for i in bag.topics.values()} == {2}


def test_an_orientation_tag_does_not_turn_the_picture(folder: Path, tmp_path: Path) -> None:
    file = (folder / "frame-000004.color.jpg").read_bytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # Turned by 90 degrees.
    tag = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    turned = file[:2] + tag + file[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (64, 48, 3)
    (folder / "frame-000004.color.jpg").write_bytes(turned)
    convert_rgbd_folder(folder, tmp_path / "bag")
    with BagReader(tmp_path / "bag") as bag:
        sizes = {(m.width, m.height) for topic, _, m in bag.messages() if topic == "/camera/rgb/image_raw"}
    assert sizes == {(64, 48)}


def test_all_frames_bad_is_refused_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("*.depth.png"):
        path.unlink()
    with pytest.raises(InputError, match=r"3 frames, none usable; first: .*frame-000000\.depth\.png"):
        convert_rgbd_folder(folder, tmp_path / "bag")
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize(("content", "words"), [
    (None, "No such file"), (b"", r"rows of \[\]"), (b"1 2\n3 4\n", "3 rows of 3"),
    (b"0 0 1\n0 5 1\n0 0 1\n", "fx, fy > 0"), (b"5 0 1\n0 5 1\n0 0 2\n", "last row 0 0 1"),
    (b"nan 0 1\n0 5 1\n0 0 1\n", "finite"), (b"five 0 1\n0 5 1\n0 0 1\n", "could not convert"),
])
def test_bad_intrinsics(folder: Path, tmp_path: Path, content: bytes | None, words: str) -> None:
    broken(folder, "camera-intrinsics.txt", content)
    with pytest.raises(InputError, match=words) as caught:
        convert_rgbd_folder(folder, tmp_path / "bag")
    assert "camera-intrinsics.txt" in str(caught.value)


def test_bad_folders_and_arguments(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no folder"):
        convert_rgbd_folder(tmp_path / "nothing", tmp_path / "bag")
    with pytest.raises(InputError, match="no frames"):
        convert_rgbd_folder(tmp_path / "empty", tmp_path / "bag")
    for argument, words in (({"rate_hz": 0.0}, "rate_hz"), ({"rate_hz": float("nan")}, "rate_hz"),
                            ({"node": "a/b"}, "node"), ({"depth": "8UC1"}, "depth"), ({"limit": 0}, "limit"),
                            ({"storage": "tape"}, "storage")):
        with pytest.raises(InputError, match=words):
            convert_rgbd_folder(folder, tmp_path / "bag", **argument)
    (tmp_path / "bag").mkdir()
    with pytest.raises(InputError, match="never overwritten"):
        convert_rgbd_folder(folder, tmp_path / "bag")


def test_real_sequence(shared_data: Path, tmp_path: Path) -> None:
    """20 frames of 7-Scenes: every 4th at 30 Hz, a Kinect's depth in a kitchen, a hand-held camera."""
    summary = convert_rgbd_folder(shared_data / "rgbd_sequence", tmp_path / "bag", limit=20, depth="32FC1")
    assert (summary.frames, summary.skipped) == (20, {})
    assert summary.seconds == pytest.approx(76 / 30)
    positions = []
    with BagReader(tmp_path / "bag") as bag:
        for topic, _, message in bag.messages(["/camera/depth/image_raw", "/ground_truth/pose"]):
            if topic == "/ground_truth/pose":
                positions.append([message.pose.position.x, message.pose.position.y, message.pose.position.z])
            else:
                metres = message.data.view("<f4")
                assert np.nanmin(metres) > 0.3
                assert np.nanmax(metres) < 10
                assert 0.5 < np.isfinite(metres).mean() < 1
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    assert 0 < steps.max() < 0.2


@pytest.mark.parametrize(("storage", "suffix"), [("mcap", ".mcap"), ("sqlite3", ".db3")])
def test_the_command_converts_as_asked(folder: Path, tmp_path: Path, capsys, storage: str, suffix: str) -> None:
    bag = tmp_path / "bag"
    options = ["--storage", storage, "--depth", "32FC1", "--limit", "2"]
    assert main(["convert", "rgbd", str(folder), str(bag), *options]) == 0
    assert "2 frames" in capsys.readouterr().out
    assert [file.suffix for file in bag.iterdir() if file.name != "metadata.yaml"] == [suffix]
    with BagReader(bag) as reader:
        assert next(m for _, _, m in reader.messages(["/camera/depth/image_raw"])).encoding == "32FC1"
