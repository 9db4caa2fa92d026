# SPDX-License-Identifier: Apache-2.0
"""Segmentation datasets: registration of depth, simulated rooms with masks, the labelled file of NYU Depth V2."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from admn_ros.datasets.open import open_dataset
from admn_ros.datasets.segmentation.nyu import FILE, MAPPING, SPLITS, NyuDepth
from admn_ros.datasets.source import recording_of
from admn_ros.errors import InputError
from admn_ros.model.presets import preset
from admn_ros.recordings import shards
from admn_ros.sample import Modality, SensorKey
from admn_ros.sensing.preprocess.registration import RgbdCameras, register_depth
from admn_ros.training.data import LabeledBatch, Samples
from helpers import datasets

RGB, DEPTH = SensorKey("camera", Modality.RGB), SensorKey("camera", Modality.DEPTH)
NAMES = ("wall", "floor", "chair")
WIDTH, HEIGHT = 8, 6


def matrix(focal: float, width: int, height: int) -> np.ndarray:
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])


def test_depth_of_the_same_camera_stays_as_it_is():
    depth = np.random.default_rng(0).uniform(1, 4, (6, 8)).astype(np.float32)
    depth[2, 3] = np.nan
    same = RgbdCameras(matrix(10, 8, 6), matrix(10, 8, 6), np.eye(3), np.zeros(3))
    np.testing.assert_allclose(register_depth(depth, same, (6, 8)), depth, rtol=1e-6)


def test_depth_moves_by_parallax_and_the_nearer_surface_wins():
    depth = np.full((5, 9), 4.0, np.float32)
    depth[:, 4] = 1.0   # a pole in the middle
    # The depth camera is 0.36 m to the right: what it sees at 1 m shifts by 3.6 pixels, and at 4 m by 0.9 pixels.
    cameras = RgbdCameras(matrix(10, 9, 5), matrix(10, 9, 5), np.eye(3), np.array([0.36, 0.0, 0.0]))
    found = register_depth(depth, cameras, (5, 9))
    assert (found[:, 8] == 1.0).all(), "the pole covers the wall behind it"
    assert np.isnan(found[:, [0, 5]]).all(), "left of the first column, and what the pole hid, nothing was measured"
    assert (found[:, [1, 2, 3, 4, 6, 7]] == 4.0).all()


def test_a_finer_rgb_camera_is_filled_without_holes():
    depth = np.full((6, 8), 2.0, np.float32)
    cameras = RgbdCameras(matrix(16, 12, 9), matrix(10, 8, 6), np.eye(3), np.zeros(3))
    assert np.isfinite(register_depth(depth, cameras, (9, 12))).all()


def room_with_masks(folder: Path) -> Path:
    """Two rooms of two frames at two nodes; the mask of a node is its number."""
    parts = [datasets.noise(2, seed) for seed in (1, 2)]
    camera = matrix(20, 24, 24).tolist()
    cameras = {"rgb_matrix": camera, "depth_matrix": camera, "rotation": np.eye(3).tolist(), "translation_m": [0, 0, 0]}
    for arrays in parts:
        arrays["mask"] = np.broadcast_to(np.arange(2, dtype=np.uint8)[None, :, None, None], (2, 2, 24, 24)).copy()
    shards.begin(folder, {"targets": ["car"], "audio_rate_hz": 16000, "sensor_nodes": ["node1", "node2"],
                          "mask_classes": ["floor", "wall"]})
    for k, arrays in enumerate(parts):
        shards.write(folder, "train", f"shard-{k:05d}", arrays, {"node_poses": datasets.POSES, "cameras": cameras})
    shards.finish(folder, {"train": ["shard-00000", "shard-00001"]})
    return folder


def test_each_node_of_a_room_is_a_sample_with_its_mask(tmp_path: Path):
    model = preset("rgbd-segmentation")
    source = open_dataset("shards_masks", room_with_masks(tmp_path / "data"), "train", model=model)
    assert len(source) == 8
    assert [recording_of(source, i) for i in (0, 3, 4, 7)] == ["shard-00000"] * 2 + ["shard-00001"] * 2
    for index in range(8):
        mask = source[index].target.mask
        assert mask is not None and (mask == index % 2).all() and mask.dtype == np.int16
    batch = LabeledBatch.stack([Samples(source, model).sample(0, i) for i in (0, 1)])
    assert batch.mask is not None and batch.mask.shape == (2, 64, 128)
    assert batch.mask.flatten(1).unique(dim=1).tolist() == [[0], [1]]
    assert batch.samples.inputs[Modality.DEPTH].shape == (2, 1, 3, 64, 128)


def test_a_dataset_without_masks_is_refused(tmp_path: Path):
    folder = datasets.write_dataset(tmp_path / "data", {"train": [datasets.noise(2, 1)]})
    with pytest.raises(InputError, match=r"masks: found none; allowed: .*--masks"):
        open_dataset("shards_masks", folder, "train")


def write_nyu(folder: Path, count: int = 4) -> dict[str, np.ndarray]:
    """Write a file in the layout of the labelled one, and return images (N, H, W, 3), depths and labels (N, H, W)."""
    rng = np.random.default_rng(3)
    truth = {"images": rng.integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8),
             "depths": rng.uniform(0.7, 9, (count, HEIGHT, WIDTH)).astype(np.float32),
             "labels": rng.integers(0, len(NAMES) + 1, (count, HEIGHT, WIDTH)).astype(np.uint16)}
    truth["labels"][:, 0, 0] = 0
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / FILE, "w") as file:
        file["images"] = truth["images"].transpose(0, 3, 2, 1)
        file["depths"] = truth["depths"].transpose(0, 2, 1)
        file["labels"] = truth["labels"].transpose(0, 2, 1)
        for name, shape, texts in (("names", (1, len(NAMES)), NAMES),
                                   ("scenes", (1, count), [f"kitchen_{k // 2:04d}" for k in range(count)])):
            found = file.create_dataset(name, shape, h5py.ref_dtype)
            for k, text in enumerate(texts):
                file[f"#refs#/{name}{k}"] = np.array([ord(c) for c in text], np.uint16)[:, None]
                found[0, k] = file[f"#refs#/{name}{k}"].ref
    return truth


def test_the_labelled_file_is_read_as_documented(tmp_path: Path):
    truth = write_nyu(tmp_path)
    train, test = NyuDepth(tmp_path, "train"), NyuDepth(tmp_path, "test")
    assert (len(train), len(test)) == (2, 2) and train.mask_classes == NAMES
    sample = test[1]
    np.testing.assert_array_equal(sample.readings[RGB], truth["images"][3])
    np.testing.assert_array_equal(sample.readings[DEPTH], truth["depths"][3])
    np.testing.assert_array_equal(sample.target.mask, truth["labels"][3].astype(int) - 1)
    assert sample.target.mask[0, 0] == -1
    assert recording_of(test, 0) == "kitchen_0001"
    opened = open_dataset("nyu", tmp_path, "test", model=preset("rgbd-segmentation"))
    assert opened[0].sample(preset("rgbd-segmentation")).present[Modality.DEPTH].all()


def test_the_official_split_and_the_40_classes_are_used_where_they_are(tmp_path: Path):
    truth = write_nyu(tmp_path)
    scipy.io.savemat(tmp_path / SPLITS, {"trainNdxs": [[4], [1], [2]], "testNdxs": [[3]]})
    names = np.array(["structure", "furniture"], dtype=object)[None]
    scipy.io.savemat(tmp_path / MAPPING, {"mapClass": [[1, 1, 2]], "className": names})
    train = NyuDepth(tmp_path, "train")
    assert len(train) == 3 and train.mask_classes == ("structure", "furniture")
    np.testing.assert_array_equal(train[0].readings[RGB], truth["images"][3])
    np.testing.assert_array_equal(train[0].target.mask, np.array([-1, 0, 0, 1])[truth["labels"][3]])


def _shorten(folder: Path) -> None:
    with h5py.File(folder / FILE, "a") as file:
        del file["depths"]
        file["depths"] = np.zeros((4, HEIGHT, WIDTH), np.float32)


def _drop(folder: Path) -> None:
    with h5py.File(folder / FILE, "a") as file:
        del file["labels"]


def _mark(folder: Path) -> None:
    with h5py.File(folder / FILE, "a") as file:
        file["labels"][...] = 7


@pytest.mark.parametrize(("damage", "found"), [
    (lambda folder: (folder / FILE).unlink(), "no HDF5 file"),
    (lambda folder: (folder / FILE).write_bytes(b"MATLAB 5.0"), "no HDF5 file"),
    (_shorten, r"\(N, 3, W, H\)"), (_drop, "labels: found no array"),
    (_mark, "labels of image 0: found 7; allowed: 0 to 3"),
    (lambda folder: (folder / SPLITS).write_bytes(b"no"), "no MATLAB file"),
    (lambda folder: scipy.io.savemat(folder / SPLITS, {"trainNdxs": [9]}), "trainNdxs: found 9 to 9; allowed: 1 to 4"),
    (lambda folder: scipy.io.savemat(folder / MAPPING, {"mapClass": [1], "className": [["a"]]}), "3 numbers"),
], ids=["missing", "other", "shape", "array", "label", "split", "rows", "mapping"])
def test_a_file_of_another_layout_is_one_clear_error(tmp_path: Path, damage, found: str):
    write_nyu(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=found):
        NyuDepth(tmp_path, "train")[0]


def test_an_unknown_split_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="split: found 'val'; allowed: train, test"):
        NyuDepth(tmp_path, "val")
