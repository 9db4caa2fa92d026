# SPDX-License-Identifier: Apache-2.0
"""Dataset shards: folders of memory-mappable arrays, each written whole or not at all.

    dataset/
      plan.json            arguments of the dataset; a run that continues must have the same
      train/shard-00000/   rgb.npy, depth.npy, ..., meta.json
      dataset.json         list of shards per split, written last; a dataset without it is incomplete
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.files import read_json, read_text, replacing_folder, write_errors, write_text

DATASET_FORMAT = "admn-dataset-1"
PLAN, INDEX, META = "plan.json", "dataset.json", "meta.json"

Arrays = Mapping[str, npt.NDArray[Any]]


def begin(folder: Path, plan: Mapping[str, object]) -> None:
    """Begin a dataset, or continue one with the same plan. Remains of an interrupted run are removed.

    Raises:
        InputError: the folder cannot be written, holds something else, or has parts by another plan.
    """
    text = _text({"format": DATASET_FORMAT, **plan})
    there = folder / PLAN
    if there.is_file():
        if read_text(there, "the plan of a dataset") != text:
            parts = (place for place in folder.rglob("*") if place != there and not place.parent.match(".partial-*"))
            if any(place.is_file() for place in parts):
                raise InputError(str(folder), "a dataset begun with other arguments",
                                 "the same arguments, or a new folder")
            write_text(there, text)
        for partial in folder.glob("*/.partial-*/"):
            shutil.rmtree(partial)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(str(folder), "something that is not a dataset", "a new or empty folder")
    write_text(there, text)


def is_written(folder: Path, split: str, name: str) -> bool:
    """Return whether a shard exists."""
    return (folder / split / name / META).is_file()


def write(folder: Path, split: str, name: str, arrays: Arrays, meta: Mapping[str, object]) -> None:
    """Write a shard to a hidden folder, then rename it.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    final = folder / split / name
    with replacing_folder(final) as partial, write_errors(final):
        for key, array in arrays.items():
            np.save(partial / f"{key}.npy", array, allow_pickle=False)
        (partial / META).write_text(_text(meta), encoding="utf-8")


def finish(folder: Path, splits: Mapping[str, list[str]]) -> None:
    """Write the list of shards, which completes the dataset.

    Raises:
        InputError: the folder cannot be written.
    """
    write_text(folder / INDEX, _text({"format": DATASET_FORMAT, "splits": splits}))


def read_index(folder: Path) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Return the shards of each split, and the plan.

    Raises:
        InputError: the folder is not a dataset, or an incomplete one, or one of another format.
    """
    if not (folder / PLAN).is_file():
        raise InputError(str(folder), "no dataset" if folder.is_dir() else "nothing",
                         "a dataset of `admn simulate` or `admn convert bag`")
    if not (folder / INDEX).is_file():
        raise InputError(str(folder), "an incomplete dataset", "a complete one; the same command continues it")
    index, plan = (read_json(folder / name) for name in (INDEX, PLAN))
    if index.get("format") != DATASET_FORMAT or not isinstance(index.get("splits"), dict):
        raise InputError(str(folder / INDEX), f"format {index.get('format')!r}", DATASET_FORMAT)
    return index["splits"], plan


def read(folder: Path, split: str, name: str) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Return the arrays of a shard, memory-mapped, and its metadata.

    Raises:
        InputError: the shard or one of its files is missing or broken.
    """
    place = folder / split / name
    meta = read_json(place / META)
    arrays = {}
    for file in sorted(place.glob("*.npy")):
        try:
            arrays[file.stem] = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(str(file), f"a broken array ({error})", "an array as it was written") from error
    return arrays, meta


def _text(value: Mapping[str, object]) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
