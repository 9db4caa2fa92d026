# SPDX-License-Identifier: Apache-2.0
"""Bags below every path that the file system allows, and on disks that are full or read-only."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from admn_ros.errors import InputError
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.bag_writer import STORAGES, BagWriter
from helpers.bags import START_NS, small_bag
from helpers.disks import full_disk

STRANGE_NAMES = ("a#b", "what?x=1&y", "100%25", "two words", "'single' \"double\"", "new\nline", "file:a",
                 "Ünïcode-文字", "back\\slash", os.fsdecode(b"latin-\xe9"))


@pytest.mark.parametrize("name", STRANGE_NAMES)
@pytest.mark.parametrize("storage", STORAGES)
def test_every_name_that_the_file_system_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str,
                                                name: str) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    for path in (tmp_path / name / name, Path(name + " relative")):
        bag = small_bag(path, storage)
        (file,) = [p for p in bag.iterdir() if p.suffix != ".yaml"]
        bare = file.rename(file.with_name(name + file.suffix)) if file.stem == "bag" else file
        if bare != file:
            bare.with_name(file.name).write_bytes(bare.read_bytes())
        for source in (bag, bare):
            with BagReader(source) as reader:
                assert [m.pose.position.x for *_, m in reader.messages()] == list(range(20))
    assert sorted(p.name for p in (tmp_path / name).iterdir()) == sorted([name, name + " relative"])
    assert [p.name for p in tmp_path.iterdir()] == [name]   # nothing beside it


@pytest.mark.parametrize("limit_bytes", [0, 10_000, 100_000])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_full_disk_leaves_no_bag(tmp_path: Path, storage: str, limit_bytes: int) -> None:
    image, path = make.depth_image(np.ones((100, 100), np.float32), START_NS, "a"), tmp_path / "bag"
    with pytest.raises(InputError, match="allowed: a folder that can be written, with space") as caught, \
            full_disk(limit_bytes), BagWriter(path, storage) as bag:
        for i in range(200):   # more than SQLite keeps in memory
            bag.write("/depth", make.IMAGE, image, START_NS + i)
    assert str(caught.value).startswith(f"{path}: found ") and "\n" not in str(caught.value)
    assert not path.exists()
    BagWriter(path, storage).close()   # the way is free for another try


@pytest.mark.parametrize("storage", STORAGES)
def test_a_folder_that_cannot_be_written(storage: str) -> None:
    with pytest.raises(InputError, match=r"/proc/bag: found .*allowed: a folder that can be written"):
        BagWriter("/proc/bag", storage)
