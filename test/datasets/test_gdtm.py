# SPDX-License-Identifier: Apache-2.0
"""GDTM's HDF5 files and ADMN's caches of them, written here in their exact layout."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch

from admn_ros.config import ModelConfig
from admn_ros.datasets.gdtm import GdtmCache, GdtmFolder
from admn_ros.datasets.source import LabeledReadings
from admn_ros.errors import InputError
from admn_ros.model.presets import preset
from admn_ros.sample import Array, Modality, MultimodalSample, SensorKey, Target

RGB, DEPTH, RADAR, AUDIO = Modality.RGB, Modality.DEPTH, Modality.RADAR, Modality.AUDIO
START_MS, STEP_MS, COUNT = 1_658_000_000_000, 66, 20
NODES = ("node_1", "node_2", "node_3")


def jpeg(image: np.ndarray) -> np.ndarray:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].reshape(-1)


def rgb(index: int) -> np.ndarray:
    """Left half red (in RGB order), brightness tells the frame."""
    image = np.zeros((270, 480, 3), np.uint8)
    image[:, :240, 0] = 100 + 5 * index
    return image


def mocap(index: int, cars: tuple[int, ...] = (3,)) -> str:
    entries = [{"id": k, "type": "node", "position": [k, 1.0, 0.0]} for k in range(3)]
    entries += [{"id": car, "type": "truck", "position": [0.1 * index, 0.05, 1.0 + car],
                 "normalized_position": [0, 0, 0], "rotation": [1, 0, 0, 0, 1, 0, 0, 0, 1], "roll": 0.0}
                for car in cars]
    return json.dumps(entries)


def tone(index: int) -> np.ndarray:
    """(1056, 6): microphone k holds k + index / 100; the first and last channels are not microphones."""
    return (np.arange(6, dtype=np.float32)[None, :] + index / 100).repeat(1056, axis=0).astype(np.float32)


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "train"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gdtm") / "train"
    for node in NODES:
        (root / node).mkdir(parents=True)
    depth_mm = np.arange(270 * 480, dtype=np.uint16).reshape(270, 480) % 9000
    heat = np.full((399, 399), np.nan, np.float32)
    heat[100:300, 100:300] = 7.0
    with h5py.File(root / "mocap.hdf5", "w") as file:
        for i in range(COUNT):
            file[f"{START_MS + STEP_MS * i}/mocap"] = mocap(i)
    for node in NODES:
        with h5py.File(root / node / "zed.hdf5", "w") as file:
            for i in range(COUNT):
                group = file.create_group(f"{START_MS + STEP_MS * i}/{node}")
                group["zed_camera_left"] = jpeg(rgb(i)[:, :, ::-1])
                group.create_dataset("zed_camera_depth", data=depth_mm, compression="gzip")
        with h5py.File(root / node / "realsense.hdf5", "w") as file:
            for i in range(0, COUNT, 2):  # the slower one
                group = file.create_group(f"{START_MS + STEP_MS * i}/{node}")
                group["realsense_camera_depth"] = jpeg(np.full((120, 160, 3), 102, np.uint8))
    with h5py.File(root / "node_1" / "mmwave.hdf5", "w") as file:
        group = file.create_group(f"{START_MS}/node_1")
        group.create_dataset("azimuth_static", data=heat, compression="gzip")
        group["range_doppler"] = np.full((256, 16), -3, np.float32)
    with h5py.File(root / "node_2" / "respeaker.hdf5", "w") as file:
        for i in range(COUNT):
            sound = file.create_group(f"{START_MS + STEP_MS * i}/node_2").create_dataset("mic_waveform", data=tone(i))
            sound.attrs["direction"] = 90
    return root


def test_a_sample(folder: Path) -> None:
    source = GdtmFolder(folder)
    assert len(source) == COUNT
    assert set(source.sensors) == {SensorKey(f"node{n}", m) for n in (1, 2, 3) for m in (RGB, DEPTH)} | {
        SensorKey("node1", RADAR), SensorKey("node2", AUDIO)}
    sample = source[1]
    assert sample.stamp_ns == (START_MS + STEP_MS) * 1_000_000
    assert sample.audio_rate_hz == 16000
    # OptiTrack (0.1, 0.05, 4), y up: ours is (x, -z, y)
    assert sample.target.position_m == pytest.approx((0.1, -4.0, 0.05))
    assert sample.target.label == 0
    image = sample.readings[SensorKey("node3", RGB)]
    assert (image.shape, image.dtype) == ((270, 480, 3), np.uint8)
    assert np.abs(image.astype(int) - rgb(1)).mean() < 2
    depth = sample.readings[SensorKey("node1", DEPTH)]  # held from the instant before
    assert depth.shape == (120, 160)
    assert np.nanmean(depth) == pytest.approx(102 / 255 * 9.0, rel=0.02)
    radar = sample.readings[SensorKey("node1", RADAR)]
    assert (radar.shape, radar.dtype) == ((399, 399), np.float32)
    assert radar[200, 200] == 7
    assert radar[0, 0] == 0
    assert SensorKey("node2", RADAR) not in sample.readings


def test_metric_depth_and_range_doppler(folder: Path) -> None:
    readings = GdtmFolder(folder, depth="zed_camera_depth", radar="range_doppler")[0].readings
    depth = readings[SensorKey("node1", DEPTH)]
    assert np.isnan(depth[0, 0])
    assert depth[0, 1:4] == pytest.approx([0.001, 0.002, 0.003])
    assert np.array_equal(readings[SensorKey("node1", RADAR)], np.zeros((256, 16), np.float32))


def test_sound_is_the_newest_microphones(folder: Path) -> None:
    key = SensorKey("node2", AUDIO)
    source = GdtmFolder(folder)
    sound = source[17].readings[key]
    assert sound.shape == (16384, 4)  # 1.024 s
    assert sound[-1] == pytest.approx([1.17, 2.17, 3.17, 4.17])
    assert sound[-1057] == pytest.approx([1.16, 2.16, 3.16, 4.16])
    assert source[0].readings[key].shape == (1056, 4)  # no more there yet
    source.close()
    with h5py.File(folder / "node_2" / "respeaker.hdf5", "a") as file:
        for i in (10, 11):
            del file[f"{START_MS + STEP_MS * i}"]
    assert GdtmFolder(folder)[13].readings[key].shape == (2 * 1056, 4)  # back to the gap


def test_readings_grow_old(folder: Path) -> None:
    key = SensorKey("node1", RADAR)  # only at the first instant
    source = GdtmFolder(folder, hold_ms=200)
    assert [key in source[i].readings for i in range(6)] == [True, True, True, True, False, False]


def test_a_group_without_the_key_is_passed_over_but_age_counts(folder: Path) -> None:
    key = SensorKey("node1", RADAR)
    with h5py.File(folder / "node_1" / "mmwave.hdf5", "a") as file:
        for i in range(1, 8):
            file.create_group(f"{START_MS + STEP_MS * i}/node_1")
    source = GdtmFolder(folder, hold_ms=200)
    assert [key in source[i].readings for i in range(6)] == [True, True, True, True, False, False]


def test_a_car_that_motion_capture_lost(folder: Path) -> None:
    lost = json.dumps([{"id": 3, "position": [math.nan, 0, 0]}])
    replace(folder / "mocap.hdf5", f"{START_MS}/mocap", lost)
    assert GdtmFolder(folder)[0].target.label == 2


def test_which_car(folder: Path) -> None:
    with h5py.File(folder / "mocap.hdf5", "a") as file:
        for i, cars in ((0, (4, 3)), (1, (4,)), (2, ())):
            del file[f"{START_MS + STEP_MS * i}"]
            file[f"{START_MS + STEP_MS * i}/mocap"] = mocap(i, cars)
    either, green = GdtmFolder(folder), GdtmFolder(folder, car="green_car")
    assert [either[i].target.label for i in range(4)] == [0, 1, 2, 0]
    assert [green[i].target.label for i in range(4)] == [1, 1, 2, 2]
    assert green[0].target.position_m == pytest.approx((0, -5, 0.05))
    assert all(map(math.isnan, either[2].target.position_m))


def test_stretch_is_the_codes_per_frame_normalization(folder: Path) -> None:
    readings = GdtmFolder(folder, stretch=True)[0].readings
    image = readings[SensorKey("node1", RGB)]
    assert (image.min(), image.max()) == (0, 255)


def sample_of(readings: dict[SensorKey, Array], config: ModelConfig, rate_hz: int | None = None) -> MultimodalSample:
    return LabeledReadings(readings, Target((0.0, 0.0, 0.0)), audio_rate_hz=rate_hz).sample(config)


def test_to_the_network(folder: Path) -> None:
    config = preset("gdtm-tiny")
    source = GdtmFolder(folder)
    sample = source[17].sample(config)
    assert sample.target == source[17].target
    assert {m: x.tolist() for m, x in sample.present.items()} == {
        RGB: [True] * 3, DEPTH: [True] * 3, RADAR: [False] * 3, AUDIO: [False, True, False]}
    assert sample.inputs[DEPTH][0].mean() == pytest.approx(102 / 255, rel=0.02)
    # what the model does not have is left out, unless that is all
    rgbd = sample_of({SensorKey("camera", RGB): rgb(0), SensorKey("node1", RADAR): np.ones((4, 4))}, preset("rgbd"))
    assert rgbd.present[RGB].tolist() == [True]
    with pytest.raises(InputError, match="camera"):
        source[0].sample(preset("rgbd"))
    empty = sample_of({}, config)
    assert not any(x.any() for x in empty.present.values())


def test_audio_is_resampled_to_the_models_rate() -> None:
    config = preset("gdtm-tiny")
    t = np.arange(48000)[:, None] / 48000
    sound = np.sin(2 * np.pi * 1000 * t).astype(np.float32).repeat(4, axis=1)
    key = SensorKey("node1", AUDIO)
    right = sample_of({key: sound}, config, 48000).inputs[AUDIO][0]
    same = sample_of({key: sound[::3].copy()}, config).inputs[AUDIO][0]
    wrong = sample_of({key: sound}, config).inputs[AUDIO][0]
    # compared where the tone is: its row of mels
    row = int(same[0].mean(1).argmax())
    assert torch.allclose(right[:, row, 4:-4], same[:, row, 4:-4], atol=0.05)
    assert int(wrong[0].mean(1).argmax()) != row


def test_indices(folder: Path) -> None:
    source = GdtmFolder(folder)
    assert source[-1].stamp_ns == (START_MS + STEP_MS * (COUNT - 1)) * 1_000_000
    for index in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError):
            source[index]


def test_a_pickled_source_reads_on(folder: Path) -> None:
    """Workers of a data loader get the source by pickle or by fork."""
    source = GdtmFolder(folder)
    source[0]
    copy = pickle.loads(pickle.dumps(source))
    assert np.array_equal(copy[1].readings[SensorKey("node1", RGB)], source[1].readings[SensorKey("node1", RGB)])


# --- broken files ------------------------------------------------------------------------------------


def replace(path: Path, name: str, value: object) -> None:
    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        file[name] = value


@pytest.mark.parametrize(("file", "key", "value", "words"), [
    ("node_1/zed", "node_1/zed_camera_left", np.zeros(100, np.uint8), "unknown first bytes"),
    ("node_1/zed", "node_1/zed_camera_left", jpeg(rgb(0))[:500], "broken jpeg"),
    ("node_1/zed", "node_1/zed_camera_left", np.zeros((4, 4), np.float32), "bytes of a JPEG"),
    ("node_1/realsense", "node_1/realsense_camera_depth", np.zeros(9, np.uint8), "unknown first bytes"),
    ("node_1/mmwave", "node_1/azimuth_static", np.zeros(9, np.float32), "rows, columns"),
    ("node_2/respeaker", "node_2/mic_waveform", np.zeros((1056, 2), np.float32), "samples, 6"),
    ("node_2/respeaker", "node_2/mic_waveform", np.zeros((6, 1056), np.float32), r"\(6, 1056\); allowed.*samples, 6"),
    ("mocap", "mocap", "not json", "unusable JSON"), ("mocap", "mocap", '{"id": 3}', "unusable JSON"),
    ("mocap", "mocap", '[{"id": 3}]', "position"), ("mocap", "mocap", '[{"id": 3, "position": [1, 2]}]', "unpack"),
    ("mocap", "mocap", "[" * 100000, "unusable JSON"), ("mocap", "other", "x", "no mocap"),
])
def test_bad_values_name_file_and_place(folder: Path, file: str, key: str, value: object, words: str) -> None:
    path = folder / f"{file}.hdf5"
    if key == "other":
        with h5py.File(path, "a") as opened:
            del opened[f"{START_MS}/mocap"]
    replace(path, f"{START_MS}/{key}", value)
    with pytest.raises(InputError, match=words) as caught:
        GdtmFolder(folder)[0]
    assert str(path) in str(caught.value)
    assert str(START_MS) in str(caught.value)


def test_broken_files(folder: Path) -> None:
    whole = (folder / "mocap.hdf5").read_bytes()
    for content in (b"", b"no hdf5 at all", whole[:len(whole) // 2], whole[:100]):
        (folder / "mocap.hdf5").write_bytes(content)
        with pytest.raises(InputError, match=r"mocap\.hdf5"):
            GdtmFolder(folder)
    with h5py.File(folder / "mocap.hdf5", "w") as file:
        file["abc/mocap"] = mocap(0)
    with pytest.raises(InputError, match="milliseconds"):
        GdtmFolder(folder)
    with pytest.raises(InputError, match=r"mocap\.hdf5"):
        GdtmFolder(folder / "node_1")
    with pytest.raises(InputError, match="depth"):
        GdtmFolder(folder, depth="lidar")


def test_a_dataset_that_claims_to_be_huge(folder: Path) -> None:
    with h5py.File(folder / "node_1" / "mmwave.hdf5", "a") as file:
        del file[f"{START_MS}/node_1/azimuth_static"]
        file.create_dataset(f"{START_MS}/node_1/azimuth_static", shape=(1 << 20, 1 << 20), dtype="f4",
                            chunks=(64, 64), compression="gzip")
    with pytest.raises(InputError, match="at most"):
        GdtmFolder(folder)[0]


def test_positions_beyond_all_numbers(folder: Path) -> None:
    for digits in (400, 5000):
        text = f'[{{"id": 3, "position": [1{"0" * digits}, 0, 0]}}]'
        replace(folder / "mocap.hdf5", f"{START_MS}/mocap", text)
        with pytest.raises(InputError, match=r"unusable JSON \(ValueError: a number of \d+ characters\)"):
            GdtmFolder(folder)[0]


def test_a_pipe_in_the_place_of_a_file_is_no_missing_modality(folder: Path) -> None:
    path = folder / "node_1" / "mmwave.hdf5"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="a device or a pipe; allowed: a complete HDF5 file of GDTM"):
        GdtmFolder(folder)
    path.unlink()
    path.symlink_to("../.git/annex/objects/absent")   # a file that git-annex has not fetched
    with pytest.raises(InputError, match=r"mmwave\.hdf5: found No such file or directory"):
        GdtmFolder(folder)


def test_damaged_bytes_inside_a_file(folder: Path) -> None:
    """Whatever is overwritten in the data, reading gives samples or one InputError."""
    path = folder / "node_1" / "zed.hdf5"
    whole = path.read_bytes()
    failed = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        data = bytearray(whole)
        at = int(rng.integers(2000, len(data) - 4000))
        data[at:at + 4000] = rng.bytes(4000)
        path.write_bytes(data)
        try:
            source = GdtmFolder(folder, depth="zed_camera_depth")
            for i in range(0, COUNT, 5):
                source[i]
        except InputError:
            failed += 1
    assert failed > 0


# --- caches ------------------------------------------------------------------------------------------


def write_cache(root: Path, index: int, **extra: object) -> Path:
    item = {
        ("mocap", "mocap"): {"gt_positions": np.array([[50.0, 5.0, -120.0]]), "gt_ids": np.array([4])},
        ("zed_camera_left", "node_1"): (rgb(index).transpose(2, 0, 1) / 255).astype(np.float32),
        ("realsense_camera_depth", "node_2"): np.tile(np.array([0, 0.5, 1], np.float32), (120, 1)),
        ("mic_waveform", "node_3"): np.ones((4, 1056), np.float32),
        ("range_doppler", "node_3"): np.full((256, 16), 3, np.float32),
        **{(name, name): value for name, value in extra.items()},
    }
    path = root / f"tmp_{index:09d}.pickle"
    path.write_bytes(pickle.dumps(item))
    return path


def test_cache(tmp_path: Path) -> None:
    for i in range(3):
        write_cache(tmp_path, i)
    source = GdtmCache(tmp_path)
    assert len(source) == 3
    sample = source[2]
    assert sample.target.position_m == pytest.approx((0.5, 1.2, 0.05))
    assert (sample.target.label, sample.target.corruption) == (1, None)
    assert np.array_equal(sample.readings[SensorKey("node1", RGB)], rgb(2))
    depth = sample.readings[SensorKey("node2", DEPTH)]
    assert np.array_equal(depth[0], np.array([np.nan, 4.5, 9], np.float32), equal_nan=True)
    assert sample.readings[SensorKey("node3", AUDIO)].shape == (1056, 4)
    assert sample.readings[SensorKey("node3", RADAR)].shape == (256, 16)
    assert sample.sample(preset("gdtm-4")).present[RGB].tolist() == [True, False, False]


@pytest.mark.parametrize(("extra", "severities"), [
    ({"gamma": 0}, (0.0, 1.0)), ({"gamma": np.float64(100)}, (1.0, 0.0)), ({"gamma": np.array([5])}, (0.3495, 0.0)),
    ({"blur": 0}, (0.0, 0.0)), ({"blur": 51}, (0.25, 0.0)), ({"blur": 201}, (1.0, 0.0))])
def test_cached_corruptions(tmp_path: Path, extra: dict[str, object], severities: tuple[float, float]) -> None:
    write_cache(tmp_path, 0, **extra)
    assert GdtmCache(tmp_path)[0].target.corruption == {
        RGB: pytest.approx(severities[0], abs=1e-4), DEPTH: severities[1]}


def test_bad_caches(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no caches"):
        GdtmCache(tmp_path)
    path = write_cache(tmp_path, 0)
    position = {"gt_positions": np.zeros((1, 3))}
    for item, words in (([1], "list"), ({("mocap", "mocap"): {}}, "gt_positions"), ({("mocap", "mocap"): 3}, "mocap"),
                        ({("mocap", "mocap"): position, ("zed_camera_left", "node_1"): np.zeros((2, 2))}, "zed"),
                        ({("mocap", "mocap"): position, ("realsense_camera_depth", "node_1"): np.zeros(2)}, "depth"),
                        ({("mocap", "mocap"): position, ("mic_waveform", "node_1"): np.zeros((2, 2))}, "mic"),
                        (print, "print")):
        path.write_bytes(pickle.dumps(item))
        with pytest.raises(InputError, match=words) as caught:
            GdtmCache(tmp_path)[0]
        assert str(path) in str(caught.value)
