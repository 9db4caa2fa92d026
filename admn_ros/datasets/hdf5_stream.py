# SPDX-License-Identifier: Apache-2.0
"""HDF5 files of GDTM: groups named by unix milliseconds, with datasets below them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError

MAX_VALUES = 64 * 1024 * 1024
"""Size limit of a dataset in values; a compressed file can claim any size."""
_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError)


class Hdf5Stream:
    """One file. Each process opens it at its first read, because HDF5 handles do not survive a fork.

    Attributes:
        path: path of the file.
        times_ms: sorted times of the groups in unix milliseconds.

    Raises:
        InputError: the file is missing, not HDF5, or cut off, or no group is named by a time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: tuple[int, h5py.File] | None = None
        try:
            with h5py.File(path, "r") as file:
                names = {int(name): name for name in file if name.isascii() and name.isdecimal()}
        except _BROKEN as error:
            raise self._broken(str(path), error) from error
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
            InputError: the dataset is broken, or larger than `MAX_VALUES`.
        """
        place = f"{self.path}:/{ms}"
        try:
            group = self._file()[self._names[ms]]
            for name in names:
                dataset = group.get(name) if isinstance(group, h5py.Group) else None
                if isinstance(dataset, h5py.Dataset):
                    place = f"{self.path}:/{ms}/{name}"
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
                          "a complete HDF5 file of GDTM")


def _values(dataset: h5py.Dataset, place: str) -> npt.NDArray[Any]:
    if dataset.size is None or dataset.size > MAX_VALUES:
        raise InputError(place, f"{dataset.size} values", f"at most {MAX_VALUES}")
    return np.asarray(dataset[()])
