# SPDX-License-Identifier: Apache-2.0
"""MM-Fi: folders and pickles in their exact layout, and the official splits."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from admn_ros.datasets.mmfi import (
    ACTIONS,
    DAILY,
    REHABILITATION,
    SUBJECTS,
    Clip,
    MmfiCache,
    MmfiFolder,
    mmfi_split,
    points_heatmap,
)
from admn_ros.datasets.source import LabeledReadings, ModelInputs, RandomWindows, Spread
from admn_ros.errors import InputError
from admn_ros.model.presets import preset
from admn_ros.sample import Modality, SensorKey

RGB, DEPTH, RADAR = Modality.RGB, Modality.DEPTH, Modality.RADAR


def write_clip(root: Path, clip: Clip, frames: int = 40) -> Path:
    folder = root / clip.folder
    for name in ("rgb", "depth", "mmwave"):
        (folder / name).mkdir(parents=True)
    for i in range(1, frames + 1):
        cv2.imwrite(str(folder / "rgb" / f"frame{i:03d}.png"), np.full((24, 32, 3), i, np.uint8))
        cv2.imwrite(str(folder / "depth" / f"frame{i:03d}.png"), np.full((24, 32), 1000 + i, np.uint16))
        np.array([[0.0, 1.0 + i / 10, 0, 0.5, 12.0]]).tofile(folder / "mmwave" / f"frame{i:03d}.bin")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for clip in (Clip("S01", "A01"), Clip("S01", "A27"), Clip("S31", "A02")):
        write_clip(tmp_path, clip)
    return tmp_path


def test_folders(root: Path) -> None:
    source = MmfiFolder(root, modalities=(RGB, DEPTH, RADAR))
    assert [(c.scene, c.subject, c.action) for c in source.clips] == [
        ("E01", "S01", "A01"), ("E01", "S01", "A27"), ("E04", "S31", "A02")]
    assert [source[i].target.label for i in range(3)] == [0, 26, 1]
    readings = source[0].readings
    assert len(readings) == 45
    for i in range(15):  # frames 1, 3, 5, ... 29
        node = f"frame{i + 1:02d}"
        assert readings[SensorKey(node, RGB)][0, 0].tolist() == [2 * i + 1] * 3
        assert readings[SensorKey(node, DEPTH)] == pytest.approx(1.001 + 0.002 * i)
        row, column = np.argwhere(readings[SensorKey(node, RADAR)] == 12)[0]
        assert (int(row), int(column)) == (int((1.1 + 0.2 * i) / 6 * 64), 32)
    later = source.clip(0, start=7).readings
    assert later[SensorKey("frame01", RGB)][0, 0, 0] == 8
    # frames beyond the end are missing, and so is what has no folder
    assert SensorKey("frame15", RGB) not in source.clip(0, start=20).readings
    assert len(MmfiFolder(root, [Clip("S31", "A02")], frames=3, stride=1)) == 1


def test_to_the_network(root: Path) -> None:
    sample = MmfiFolder(root, [Clip("S01", "A27")])[0].sample(preset("mmfi"))
    assert sample.inputs[RGB].shape == (15, 3, 224, 224)
    assert sample.present[DEPTH].all()
    assert sample.target is not None
    assert sample.target.label == 26


def test_keypoints_are_no_pictures_and_pictures_may_be_elsewhere(
        root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    clip = Clip("S01", "A01")
    for path in (root / clip.folder / "rgb").iterdir():
        path.unlink()
    np.save(root / clip.folder / "rgb" / "frame001.npy", np.zeros((17, 2)))
    assert {k.modality for k in MmfiFolder(root, [clip])[0].readings} == {DEPTH}
    other = tmp_path_factory.mktemp("images")
    write_clip(other, clip, 3)
    assert SensorKey("frame02", RGB) in MmfiFolder(root, [clip], rgb_root=other)[0].readings


def test_empty_files_are_missing_and_invalid_depth_is_nan(root: Path) -> None:
    folder = root / "E01/S01/A01/depth"
    (folder / "frame001.png").write_bytes(b"")
    cv2.imwrite(str(folder / "frame003.png"), np.array([[0, 2500]], np.uint16))
    readings = MmfiFolder(root)[0].readings
    assert SensorKey("frame01", DEPTH) not in readings
    assert np.array_equal(readings[SensorKey("frame02", DEPTH)], np.array([[np.nan, 2.5]], np.float32), equal_nan=True)


@pytest.mark.parametrize(("name", "content", "words"), [
    ("depth/frame001.png", b"\x89PNG\r\n\x1a\nbroken", "16-bit"),
    ("depth/frame001.png", cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes(), "16-bit"),
    ("depth/frame001.png", cv2.imencode(".png", np.zeros((4, 4, 3), np.uint16))[1].tobytes(), "16-bit grey"),
    ("depth/frame001.png", cv2.imencode(".png", np.ones((40, 40), np.uint16))[1].tobytes()[:60], "PNG"),
    ("rgb/frame001.png", b"no picture", "unknown first bytes"),
    ("mmwave/frame001.bin", b"x" * 41, "multiple of 40"),
])
def test_broken_frames(root: Path, name: str, content: bytes, words: str) -> None:
    path = root / "E01/S01/A01" / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        MmfiFolder(root, modalities=(RGB, DEPTH, RADAR))[0]
    assert str(path) in str(caught.value)


def test_bad_folders_and_arguments(root: Path) -> None:
    with pytest.raises(InputError, match="no clips"):
        MmfiFolder(root / "E01")
    with pytest.raises(InputError, match="no frames"):
        MmfiFolder(root).clip(0, start=400)
    with pytest.raises(InputError, match="start"):
        MmfiFolder(root).clip(0, start=-1)
    with pytest.raises(InputError, match="stride"):
        MmfiFolder(root, stride=0)
    with pytest.raises(InputError, match="modality"):
        MmfiFolder(root, modalities=[Modality.AUDIO])[0]
    with pytest.raises(IndexError):
        MmfiFolder(root)[3]


def test_points_on_a_map() -> None:
    points = np.array([[0, 1, 0, 0, 5], [0, 1, 0, 0, 2], [-1, 0, 0, 0, 3], [1, 0, 0, 0, 4], [0, 9, 0, 0, 1],
                       [0, 0, 0, 0, 1], [np.nan, 1, 0, 0, 1], [0, 2, 0, 0, -8.0]])
    heatmap = points_heatmap(points, rows=6, columns=4, range_m=6)
    expected = np.zeros((6, 4), np.float32)
    expected[1, 2], expected[1, 0], expected[1, 3] = 7, 3, 4  # straight ahead, left, right
    assert np.array_equal(heatmap, expected)
    assert not points_heatmap(np.empty((0, 5))).any()


# --- ADMN's pickles ----------------------------------------------------------------------------------


def test_cache(tmp_path: Path) -> None:
    folder = tmp_path / "E02/S12/A05"
    folder.mkdir(parents=True)
    video = np.zeros((30, 3, 16, 16), np.uint8)
    video[:, 0] = np.arange(30)[:, None, None]
    depth = np.full((30, 3, 16, 16), 51, np.uint8)
    depth[:, :, 0, 0] = 0
    (folder / "data.pickle").write_bytes(pickle.dumps({"rgb": video, "depth": depth}))
    source = MmfiCache(tmp_path)
    assert len(source) == 1
    sample = source[0]
    assert sample.target.label == 4
    assert sample.readings[SensorKey("frame03", RGB)][5, 5].tolist() == [4, 0, 0]
    metres = sample.readings[SensorKey("frame03", DEPTH)]
    assert np.isnan(metres[0, 0])
    assert metres[1, 1] == pytest.approx(51 / 255 * 9)
    assert len(source.clip(0, start=20).readings) == 2 * 5
    for bad in ({"rgb": video}, {"rgb": video[0], "depth": depth}, {"rgb": video / 255, "depth": depth}, [1]):
        (folder / "data.pickle").write_bytes(pickle.dumps(bad))
        with pytest.raises(InputError, match=r"data\.pickle"):
            source[0]
    with pytest.raises(InputError, match="no clips"):
        MmfiCache(tmp_path, [Clip("S01", "A01")])


@pytest.mark.parametrize("reader", [MmfiFolder, MmfiCache])
def test_random_windows_begin_anywhere_and_are_those_of_their_seed(reader, root: Path) -> None:
    if reader is MmfiCache:
        for clip in (Clip("S01", "A01"), Clip("S01", "A27"), Clip("S31", "A02")):
            video = np.full((40, 3, 8, 8), 1, np.uint8) * np.arange(1, 41, dtype=np.uint8)[:, None, None, None]
            (root / clip.folder / "data.pickle").write_bytes(pickle.dumps({"rgb": video, "depth": video}))
    source = Spread(reader(root, frames=5), 2)  # clips 0 and 2

    def first(seed: int, index: int) -> int:
        pictures = RandomWindows(source, seed)[index].readings
        found = [int(pictures[SensorKey(f"frame{i:02d}", RGB)][0, 0, 0]) for i in range(1, 6)]
        assert found == list(range(found[0], found[0] + 10, 2))
        return found[0] - 1

    begins = [first(seed, seed % 2) for seed in range(120)]
    assert set(begins) == set(range(40 - 5 * 2 - 1))
    assert begins[:6] == [first(seed, seed % 2) for seed in range(6)]
    assert RandomWindows(source, 1)[1].target.label == source[1].target.label == 1


def test_a_clip_as_short_as_its_window_has_one_window(tmp_path: Path) -> None:
    write_clip(tmp_path, Clip("S02", "A01"), frames=29)
    windows = [RandomWindows(MmfiFolder(tmp_path), seed)[0].readings for seed in range(5)]
    assert all(len(found) == 30 for found in windows)


def test_random_windows_of_every_second_frame_begin_with_one_of_them(tmp_path: Path) -> None:
    write_clip(tmp_path, Clip("S02", "A01"), frames=40)
    for path in (tmp_path / Clip("S02", "A01").folder).glob("*/*"):
        if int(path.stem[5:]) % 2 == 0:
            path.unlink()
    source = MmfiFolder(tmp_path, frames=5)
    pictures = [RandomWindows(source, seed)[0].readings for seed in range(120)]
    assert all(len(found) == 10 for found in pictures)
    begins = {int(found[SensorKey("frame01", RGB)][0, 0, 0]) - 1 for found in pictures}
    assert begins == set(range(0, 38 - 5 * 2, 2))


def test_images_get_the_size_of_the_papers_caches(root: Path) -> None:
    source = MmfiFolder(root, modalities=(RGB, DEPTH, RADAR), size=224)
    source.read_only(("frame02",))
    readings = source[0].readings
    assert set(readings) == {SensorKey("frame02", m) for m in (RGB, DEPTH, RADAR)}
    assert readings[SensorKey("frame02", RGB)].shape == (224, 224, 3)
    depth = readings[SensorKey("frame02", DEPTH)]
    assert depth.shape == (224, 224) and depth.dtype == np.float32 and depth[0, 0] == pytest.approx(1.003)


def test_frames_that_a_model_does_not_use_are_not_read(tmp_path: Path) -> None:
    write_clip(tmp_path, Clip("S01", "A01"))
    source, wanted = MmfiFolder(tmp_path), set(preset("table-mmfi").sensor_nodes)
    assert {key.node for key in source[0].readings} > wanted
    assert {key.node for key in ModelInputs(source, preset("table-mmfi"))[0].readings} == wanted
    assert {key.node for key in source[0].readings} == wanted


def test_samples_without_windows_are_named() -> None:
    with pytest.raises(InputError, match=r"windows.*random.*list have one window each"):
        RandomWindows([LabeledReadings({}, Clip("S01", "A01").target)], 0)


# --- splits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "actions"), [(1, DAILY), (2, REHABILITATION), (3, ACTIONS)])
@pytest.mark.parametrize(("split", "parts"), [
    ("random", {"train": 32, "test": 8}), ("cross_scene", {"train": 30, "test": 10}),
    ("cross_subject", {"train": 32, "test": 8}), ("admn", {"train": 24, "val": 4, "test": 12})])
def test_splits_part_all_clips(protocol, actions, split, parts) -> None:
    clips = {part: mmfi_split(protocol, split, part) for part in parts}
    assert {part: len(c) for part, c in clips.items()} == {p: n * len(actions) for p, n in parts.items()}
    everything = Counter((c.subject, c.action) for part in clips.values() for c in part)
    assert everything == Counter((s, a) for s in SUBJECTS for a in actions)


def test_splits_are_the_published_ones() -> None:
    assert (len(DAILY), len(REHABILITATION)) == (14, 13)
    assert {c.subject for c in mmfi_split(3, "cross_subject", "test")} == {f"S{i:02d}" for i in range(5, 41, 5)}
    assert {c.scene for c in mmfi_split(3, "cross_scene", "test")} == {"E04"}
    assert {c.subject for c in mmfi_split(3, "admn", "val")} == {"S07", "S17", "S27", "S37"}
    # numpy.random.seed(0); numpy.random.permutation(40), the last fifth, for the first action of the protocol
    assert {c.subject for c in mmfi_split(2, "random", "test") if c.action == "A01"} == {
        f"S{i + 1:02d}" for i in (0, 3, 6, 9, 19, 21, 23, 38)}


@pytest.mark.parametrize(("arguments", "words"), [
    ((4, "random", "train"), "protocol"), ((1, "other", "train"), "split"), ((1, "random", "val"), "part")])
def test_bad_splits(arguments, words: str) -> None:
    with pytest.raises(InputError, match=words):
        mmfi_split(*arguments)
