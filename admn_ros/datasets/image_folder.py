# SPDX-License-Identifier: Apache-2.0
"""A tree of image files such as ImageNet's: one folder per class, or any other layout."""

from __future__ import annotations

import math
from pathlib import Path

from admn_ros.datasets.file_tree import FileTree
from admn_ros.datasets.image_files import Bytes, rgb_of
from admn_ros.datasets.source import LabeledReadings
from admn_ros.errors import InputError
from admn_ros.files import read_bytes
from admn_ros.sample import Modality, SensorKey, Target

NODE = "node1"
"""Name of the sensor node whose place a single file takes."""
ENDINGS = (".jpg", ".jpeg", ".png")


class ImageFolder:
    """Image files as samples with one RGB reading each. The label is the number of the class folder.

    Attributes:
        tree: the files. Broken ones are listed in `tree.broken`; the next intact file takes the place of each.
    """

    def __init__(self, folder: str | Path) -> None:
        """List the files.

        Raises:
            InputError: there is no such folder, or no JPEG or PNG in it.
        """
        self.tree = FileTree(folder, ENDINGS, "image files")

    def __len__(self) -> int:
        return len(self.tree)

    def __getitem__(self, index: int) -> LabeledReadings:
        """Read one file.

        Raises:
            InputError: too many files are broken.
            IndexError: there is no such file.
        """
        path, image = self.tree.read(index, _image)
        target = Target((math.nan, math.nan, math.nan), self.tree.label(path))
        return LabeledReadings({SensorKey(NODE, Modality.RGB): image}, target)


def _image(path: Path) -> Bytes:
    try:
        return rgb_of(read_bytes(path, "an image file"), str(path))
    except InputError as error:
        raise InputError(str(path), error.found, error.allowed) from error
