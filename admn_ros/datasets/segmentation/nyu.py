# SPDX-License-Identifier: Apache-2.0
"""NYU Depth V2, labelled part (Silberman et al. 2012): one HDF5 file, `nyu_depth_v2_labeled.mat` (MATLAB v7.3).

MATLAB stores arrays by column, so in HDF5 their axes are reversed:

    images  (N, 3, W, H)  uint8, RGB
    depths  (N, W, H)     float32, metres, in-painted and registered to RGB
    labels  (N, W, H)     uint16, 0 for unlabelled pixels, else a number from 1 on in `names`
    names   (1, K)        references to UTF-16 strings
    scenes  (1, N)        likewise: the scene of each image

Beside it may lie the official split, `splits.mat` (`trainNdxs`, `testNdxs`, from 1 on), and the mapping of the names to
40 classes by Gupta et al. 2013, `classMapping40.mat` (`mapClass`, (1, K), from 1 on; `className`). Without a split the
first 795 of 1449 images are for training; without a mapping the classes are the names of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import scipy.io
from scipy.io.matlab import MatReadError

from admn_ros.datasets.segmentation.masked_rooms import CAMERA
from admn_ros.datasets.source import LabeledReadings, check_index
from admn_ros.errors import InputError
from admn_ros.sample import Modality, SensorKey, Target

FILE, SPLITS, MAPPING = "nyu_depth_v2_labeled.mat", "splits.mat", "classMapping40.mat"
NDXS = {"train": "trainNdxs", "test": "testNdxs"}
TRAIN_SHARE = 795 / 1449
"""Share of the official training split."""


class NyuDepth:
    """One split of the labelled file.

    Attributes:
        mask_classes: names of the classes of the pixels.
    """

    def __init__(self, folder: str | Path, split: str) -> None:
        """Open the file.

        Args:
            folder: folder of the file.
            split: train or test.

        Raises:
            InputError: there is no such split, or a file is missing, damaged or of another layout.
        """
        folder = Path(folder)
        if split not in NDXS:
            raise InputError("split", repr(split), ", ".join(NDXS))
        self._path = folder / FILE
        try:
            self._file = h5py.File(self._path, "r")
        except OSError as error:
            raise InputError(str(self._path), f"no HDF5 file ({error})", "the labelled file of NYU Depth V2") from error
        self._images, self._depths, self._labels = (self._array(name) for name in ("images", "depths", "labels"))
        count, channels, width, height = (*self._images.shape, 0, 0, 0)[:4]
        if channels != 3 or any(x.shape != (count, width, height) for x in (self._depths, self._labels)):
            found = ", ".join(str(x.shape) for x in (self._images, self._depths, self._labels))
            raise InputError(str(self._path), f"images, depths and labels of {found}",
                             "(N, 3, W, H), (N, W, H) and (N, W, H)")
        names = self._strings("names")
        self._classes, self.mask_classes = _mapping(folder / MAPPING, names)
        self._rows = _split(folder / SPLITS, split, count)
        self._scenes = self._strings("scenes") if "scenes" in self._file else ()

    def __len__(self) -> int:
        return len(self._rows)

    def recording(self, index: int) -> str:
        """Return the scene of an image, or its number if the file does not name scenes."""
        row = int(self._rows[check_index(index, len(self))])
        return self._scenes[row] if row < len(self._scenes) else str(row)

    def __getitem__(self, index: int) -> LabeledReadings:
        """Return one image with depth and mask.

        Raises:
            InputError: it cannot be read, or has a label without a name.
        """
        row = int(self._rows[check_index(index, len(self))])
        try:
            image, depth, labels = (x[row] for x in (self._images, self._depths, self._labels))
        except OSError as error:
            raise InputError(f"{self._path}: image {row}", f"a damaged file ({error})", "a readable one") from error
        if labels.max(initial=0) >= len(self._classes):
            raise InputError(f"{self._path}: labels of image {row}", int(labels.max()),
                             f"0 to {len(self._classes) - 1}, the number of names")
        rgb = np.ascontiguousarray(image.transpose(2, 1, 0), dtype=np.uint8)
        metres = np.ascontiguousarray(depth.T, dtype=np.float32)
        metres[~(metres > 0)] = np.nan
        target = Target((np.nan, np.nan, np.nan), mask=self._classes[labels.T])
        return LabeledReadings({SensorKey(CAMERA, Modality.RGB): rgb, SensorKey(CAMERA, Modality.DEPTH): metres},
                               target)

    def _array(self, name: str) -> Any:
        if not isinstance(self._file.get(name), h5py.Dataset):
            raise InputError(f"{self._path}: {name}", "no array", "one, as in the labelled file of NYU Depth V2")
        return self._file[name]

    def _strings(self, name: str) -> tuple[str, ...]:
        """Return the strings that an array (1, K) of references points to."""
        found = self._array(name)
        if found.dtype != h5py.ref_dtype:
            raise InputError(f"{self._path}: {name}", str(found.dtype), "references to strings")
        parts = (np.asarray(self._file[reference]).ravel() for reference in np.asarray(found).ravel())
        return tuple("".join(map(chr, codes.tolist())) for codes in parts)


def _split(path: Path, split: str, count: int) -> npt.NDArray[np.int64]:
    """Return the rows of a split, from the official file if it is there."""
    if not path.exists():
        border = round(TRAIN_SHARE * count)
        return np.arange(border) if split == "train" else np.arange(border, count)
    rows = _matlab(path, NDXS[split]).astype(np.int64) - 1
    if not len(rows) or rows.min() < 0 or rows.max() >= count:
        raise InputError(f"{path}: {NDXS[split]}", "no numbers" if not len(rows) else f"{rows.min() + 1} to "
                         f"{rows.max() + 1}", f"1 to {count}")
    return rows


def _mapping(path: Path, names: tuple[str, ...]) -> tuple[npt.NDArray[np.int16], tuple[str, ...]]:
    """Return the class of each label, -1 for label 0, and the names of the classes."""
    if not path.exists():
        return np.arange(-1, len(names), dtype=np.int16), names
    classes = _matlab(path, "mapClass").astype(np.int16)
    shown = tuple(str(np.asarray(x).ravel()[0]) for x in _matlab(path, "className"))
    if len(classes) != len(names) or classes.min() < 1 or classes.max() > len(shown):
        raise InputError(f"{path}: mapClass", f"{len(classes)} numbers up to {classes.max(initial=0)}",
                         f"{len(names)} numbers, one for each name, from 1 to {len(shown)}")
    return np.concatenate([np.array([-1], np.int16), classes - np.int16(1)]), shown


def _matlab(path: Path, name: str) -> npt.NDArray[Any]:
    """Return an array of a MATLAB file before v7.3, flat."""
    try:
        found = scipy.io.loadmat(path, variable_names=[name])
    except (MatReadError, OSError, ValueError, NotImplementedError, TypeError) as error:
        raise InputError(str(path), f"no MATLAB file ({error})", "a MATLAB 5 file") from error
    if name not in found:
        raise InputError(f"{path}: {name}", "nothing", "an array")
    return np.asarray(found[name]).ravel()
