# SPDX-License-Identifier: Apache-2.0
"""HDF5 files of GDTM: groups named by unix milliseconds, with datasets below them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.files import read_head

MAX_BYTES = 256 << 20
"""Size limit of a dataset and of its chunks in bytes; a compressed file can claim any size."""
LATEST_MS = (2**63 - 1) // 10**6
"""Latest time whose nanoseconds fit into 64 bits, in the year 2262."""
_DIGITS = len(str(LATEST_MS))
HDF5 = "a complete HDF5 file of GDTM"
_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)


class Hdf5Stream:
    """One file. Each process opens it at its first read, because HDF5 handles do not survive a fork.

    Attributes:
        path: path of the file.
        times_ms: sorted times of the groups in unix milliseconds.

    Raises:
        InputError: the file is missing, not HDF5, or cut off, or no group is named by a time, or one by a time that is
            not in milliseconds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: tuple[int, h5py.File] | None = None
        read_head(path, HDF5)
        try:
            with h5py.File(path, "r") as file:
                times = [name for name in file if name.isascii() and name.isdecimal()]
        except _BROKEN as error:
            raise self._broken(str(path), error) from error
        late = next((name for name in times if len(name) > _DIGITS or int(name) > LATEST_MS), None)
        if late is not None:
            raise InputError(f"{path}: group name", late, f"unix milliseconds, at most {LATEST_MS}")
        names = {int(name): name for name in times}
        if not names:
            raise InputError(str(path), "no groups named by unix milliseconds", "/<unix ms>/... groups")
        self._names = names
        self.times_ms: npt.NDArray[np.int64] = np.array(sorted(names), np.int64)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the open file, for worker processes of a data loader."""
        return {**self.__dict__, "_open": None}

    def times_up_to(self, ms: int, hold_ms: int) -> Iterator[int]:
        """Yield the times up to `ms`, newest first; none if the newest is older than `hold_ms`."""
        last = int(np.searchsorted(self.times_ms, ms, side="right"))
        if last and ms - self.times_ms[last - 1] <= hold_ms:
            yield from (int(t) for t in self.times_ms[:last][::-1])

    def newest(self, ms: int, hold_ms: int, names: Sequence[str]) -> tuple[str, npt.NDArray[Any]] | None:
        """Return the newest dataset of one of the names, not after `ms` and at most `hold_ms` old, as `at` does."""
        for time in self.times_up_to(ms, hold_ms):
            if ms - time > hold_ms:
                return None
            found = self.at(time, names)
            if found is not None:
                return found
        return None

    def at(self, ms: int, names: Sequence[str]) -> tuple[str, npt.NDArray[Any]] | None:
        """Return the dataset at a time under the first of the names that exists.

        Returns:
            The place of the dataset, for errors, and its values; None if none of the names exists.

        Raises:
            InputError: the dataset is broken, in another file, of a type of variable size, or larger than `MAX_BYTES`.
        """
        place = f"{self.path}:/{ms}"
        try:
            group = _part(self._file(), self._names[ms], place)
            for name in names:
                place = f"{self.path}:/{ms}/{name}"
                dataset = _part(group, name, place)
                if dataset is not None:
                    return place, _values(dataset, place)
        except InputError:
            raise
        except _BROKEN as error:
            raise self._broken(place, error) from error
        return None

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._open is not None and self._open[0] == os.getpid():
            self._open[1].close()
        self._open = None

    def _file(self) -> h5py.File:
        if self._open is None or self._open[0] != os.getpid():
            self._open = os.getpid(), h5py.File(self.path, "r")
        return self._open[1]

    @staticmethod
    def _broken(place: str, error: Exception) -> InputError:
        return InputError(place, f"{' '.join(str(error).split())[:160] or type(error).__name__}",
                          HDF5)


def _part(group: Any, name: str, place: str) -> Any:
    """Return what is below a group under a name; None if there is no such name.

    `Group.get` returns None for a damaged object, too. Links are not followed: they may lead to any file.
    """
    found = group
    for step in name.split("/"):
        if not isinstance(found, h5py.Group):
            raise InputError(place, f"a dataset in the place of the group above {step}", "groups down to the dataset")
        if not found.id.links.exists(step.encode()):
            return None
        if not isinstance(found.get(step, getlink=True), h5py.HardLink):
            raise InputError(place, "a link to another place or file", "data in the file itself")
        found = found[step]
    return found


def _values(dataset: Any, place: str) -> npt.NDArray[Any]:
    """Read a dataset after a check of what it declares."""
    if not isinstance(dataset, h5py.Dataset):
        raise InputError(place, "a group", "a dataset")
    if dataset.is_virtual or dataset.external:
        raise InputError(place, "data in another file", "data in the file itself")
    kind = dataset.dtype.kind
    if dataset.size is None or kind not in "buifcSO" or (kind == "O" and dataset.size != 1):
        raise InputError(place, f"{'nothing' if dataset.size is None else dataset.dtype} {dataset.shape or ''}".strip(),
                         "numbers, or one text")
    most = max(dataset.size, math.prod(dataset.chunks or (1,))) * dataset.dtype.itemsize
    if most > MAX_BYTES:
        raise InputError(place, f"{most} bytes", f"at most {MAX_BYTES}")
    _check_filters(dataset, place)
    return np.asarray(dataset[()])


def _check_filters(dataset: h5py.Dataset, place: str) -> None:
    """Refuse compression that HDF5 cannot undo here."""
    filters = dataset.id.get_create_plist()
    for number in range(filters.get_nfilters()):
        code, _, _, name = filters.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            raise InputError(place, f"compression by filter {code} {name.decode(errors='replace')}".strip(),
                             "gzip, lzf or none; h5repack -f GZIP=4 converts a file")
