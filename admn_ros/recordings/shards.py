# SPDX-License-Identifier: Apache-2.0
"""Shards: folders of memory-mappable arrays, written whole or not at all.

    dataset/
      plan.json            what was asked; a run that continues must ask the same
      train/shard-00000/   rgb.npy, depth.npy, ..., meta.json
      dataset.json         written last: the list of shards per split. Without it the dataset is not complete
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

FORMAT = "admn-dataset-1"
PLAN, INDEX, META = "plan.json", "dataset.json", "meta.json"

Arrays = Mapping[str, npt.NDArray[Any]]


def begin(folder: Path, plan: Mapping[str, object]) -> None:
    """Start a dataset, or continue one with the same plan; leftovers of a broken run are removed.

    Raises:
        InputError: the folder cannot be written, holds something else, or was begun with another plan.
    """
    text = json.dumps({"format": FORMAT, **plan}, indent=2, sort_keys=True) + "\n"
    there = folder / PLAN
    if there.is_file():
        if there.read_text(encoding="utf-8") != text:
            raise InputError(str(folder), "a dataset begun with other arguments", "the same arguments, or a new folder")
        for partial in folder.glob("*/.partial-*/"):
            shutil.rmtree(partial)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(str(folder), "something that is not a dataset", "a new or empty folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(str(folder), error.strerror or "unwritable", "a writable folder") from error


def is_written(folder: Path, split: str, name: str) -> bool:
    """Whether a shard is there, whole."""
    return (folder / split / name / META).is_file()


def write(folder: Path, split: str, name: str, arrays: Arrays, meta: Mapping[str, object]) -> None:
    """Write one shard: to a hidden folder first, then renamed, so that what is there is whole.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    partial, final = folder / split / f".partial-{name}", folder / split / name
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for key, array in arrays.items():
            np.save(partial / f"{key}.npy", array, allow_pickle=False)
        (partial / META).write_text(json.dumps(meta, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        partial.replace(final)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(str(final), error.strerror or "unwritable", "a writable folder with space") from error


def finish(folder: Path, splits: Mapping[str, list[str]]) -> None:
    """Write the list of shards; from now on the dataset is complete."""
    index = {"format": FORMAT, "splits": splits}
    (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_index(folder: Path) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Shards per split, and the plan.

    Raises:
        InputError: not a dataset, an incomplete one, or one of another format.
    """
    if not (folder / PLAN).is_file():
        raise InputError(str(folder), "no dataset" if folder.is_dir() else "nothing",
                         "a dataset of `admn simulate` or `admn convert bag`")
    if not (folder / INDEX).is_file():
        raise InputError(str(folder), "an incomplete dataset", "a complete one; the same command continues it")
    index, plan = (_load(folder / name) for name in (INDEX, PLAN))
    if index.get("format") != FORMAT or not isinstance(index.get("splits"), dict):
        raise InputError(str(folder / INDEX), f"format {index.get('format')!r}", FORMAT)
    return index["splits"], plan


def read(folder: Path, split: str, name: str) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Arrays of a shard, memory-mapped, and its meta data.

    Raises:
        InputError: the shard or one of its files is missing or broken.
    """
    place = folder / split / name
    meta = _load(place / META)
    arrays = {}
    for file in sorted(place.glob("*.npy")):
        try:
            arrays[file.stem] = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(str(file), f"a broken array ({error})", "an array as it was written") from error
    return arrays, meta


def _load(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(str(path), f"nothing that can be read ({error})", "JSON") from error
    if not isinstance(found, dict):
        raise InputError(str(path), type(found).__name__, "a JSON object")
    return found
