# SPDX-License-Identifier: Apache-2.0
"""HDF5 files that are damaged, declare huge data, or lead to other files."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from admn_ros.datasets.hdf5_stream import Hdf5Stream
from admn_ros.errors import InputError

START_MS = 1_658_000_000_000
NAME = "node_1/azimuth_static"
KEY = f"{START_MS}/{NAME}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one heatmap."""
    with h5py.File(tmp_path / "mmwave.hdf5", "w") as file:
        file[KEY] = np.ones((256, 16), np.float32)
    return tmp_path / "mmwave.hdf5"


def read(path: Path) -> object:
    stream = Hdf5Stream(path)
    try:
        return stream.at(START_MS, [NAME, "node1/azimuth_static"])
    finally:
        stream.close()


def test_absent_data_is_none(path: Path) -> None:
    assert read(path) is not None
    with h5py.File(path, "a") as file:
        del file[KEY]
    assert read(path) is None


@pytest.mark.parametrize(("name", "words"), [
    ("9" * 25, "group name: found 9999999999999999999999999; allowed: unix milliseconds, at most 9223372036854"),
    ("9" * 5000, r"group name: found 9+\.\.\. \(5000 characters\); allowed: unix milliseconds"),
    (str(START_MS * 10**6), f"group name: found {START_MS}000000; allowed: unix milliseconds")])
def test_times_that_are_not_in_milliseconds(path: Path, name: str, words: str) -> None:
    with h5py.File(path, "a") as opened:
        opened[f"{name}/mocap"] = "[]"
    with pytest.raises(InputError, match=words):
        Hdf5Stream(path)


def test_a_damaged_header_is_no_missing_modality(path: Path) -> None:
    assert read(path) is not None
    for broken in (KEY, f"{START_MS}/node_1", str(START_MS)):
        whole = path.read_bytes()
        with h5py.File(path) as file:
            at = h5py.h5o.get_info(file[broken].id).addr
        path.write_bytes(whole[:at] + b"\xff" + whole[at + 1:])   # the version of the object header
        with pytest.raises(InputError, match=f"{START_MS}.*allowed: a complete HDF5 file of GDTM"):
            read(path)
        path.write_bytes(whole)


def test_data_outside_of_the_file_is_not_read(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with h5py.File(other, "w") as file:
        file["secret"] = np.ones((256, 16), np.float32)
    layout = h5py.VirtualLayout((256, 16), "f4")
    layout[...] = h5py.VirtualSource(str(other), "secret", (256, 16))
    makers = (lambda file: file.__setitem__(KEY, h5py.ExternalLink(str(other), "/secret")),
              lambda file: file.__setitem__(KEY, h5py.SoftLink("/elsewhere")),
              lambda file: file.create_dataset(KEY, (256, 16), "f4", external=[(str(other), 0, 256 * 16 * 4)]),
              lambda file: file.create_virtual_dataset(KEY, layout))
    for make in makers:
        with h5py.File(path, "a") as file:
            del file[KEY]
            make(file)
        with pytest.raises(InputError, match=f"{KEY}: found .*; allowed: data in the file itself"):
            read(path)


@pytest.mark.parametrize(("value", "words"), [
    (np.array([b"a", b"bc"], object), "found object .*; allowed: numbers, or one text"),
    (np.zeros((4, 4), [("a", "f4")]), "allowed: numbers, or one text"), (h5py.Empty("f4"), "found nothing; allowed"),
    (h5py.Empty("S3"), "found nothing; allowed")])
def test_values_of_another_type(path: Path, value: object, words: str) -> None:
    with h5py.File(path, "a") as file:
        del file[KEY]
        file.create_dataset(KEY, data=value, dtype=h5py.string_dtype() if "object" in words else None)
    with pytest.raises(InputError, match=words):
        read(path)


def test_other_objects_and_files_in_the_place_of_a_modality(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file[KEY]
        file[f"{KEY}/below"] = 1
    with pytest.raises(InputError, match=f"{KEY}: found a group; allowed: a dataset"):
        read(path)
    with h5py.File(path, "a") as file:
        del file[str(START_MS)]
        file[str(START_MS)] = 1
    with pytest.raises(InputError, match="a dataset in the place of the group above node_1"):
        read(path)
    pointer = b"version https://git-lfs.github.com/spec/v1"
    for content, words in ((b"<html>", "a web page"), (pointer, "a Git LFS pointer"), (b"", "signature not found")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{words}.*; allowed: a complete HDF5 file"):
            Hdf5Stream(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="a device or a pipe"):
        Hdf5Stream(path)


def test_chunks_and_texts_that_claim_to_be_huge(path: Path) -> None:
    for shape, dtype, chunks in (((100, 100), "S1000000", (1, 1)), ((2, 2), "f4", (16384, 16384)),
                                 ((8000, 8000), "f8", (8, 8))):
        with h5py.File(path, "a") as file:
            del file[KEY]
            file.create_dataset(KEY, shape=shape, dtype=dtype, chunks=chunks, maxshape=(None, None), compression="gzip")
        with pytest.raises(InputError, match=r"found \d+ bytes; allowed: at most 268435456"):
            read(path)


def test_a_compression_that_is_not_installed(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file[KEY]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((16, 16))
        properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))   # Zstandard, of the HDF5 registry of filters
        h5py.h5d.create(file[f"{START_MS}/node_1"].id, b"azimuth_static", h5py.h5t.NATIVE_FLOAT,
                        h5py.h5s.create_simple((16, 16)), properties)
    with pytest.raises(InputError, match=r"compression by filter 32015.*; allowed: gzip, lzf or none"):
        read(path)
