# SPDX-License-Identifier: Apache-2.0
"""A tree of pictures such as ImageNet's: one folder for each class, or any other."""

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
"""The sensor node in whose place a single file stands."""
ENDINGS = (".jpg", ".jpeg", ".png")


class ImageFolder:
    """Pictures as samples with one RGB reading each; the label is the number of the class folder.

    tree: the files; those that are broken are in `tree.broken`, and the next whole one is in their place.
    """

    def __init__(self, folder: str | Path) -> None:
        """List the pictures.

        Raises:
            InputError: no folder, or no JPEG or PNG in it.
        """
        self.tree = FileTree(folder, ENDINGS, "pictures")

    def __len__(self) -> int:
        return len(self.tree)

    def __getitem__(self, index: int) -> LabeledReadings:
        """Read one picture.

        Raises:
            InputError: too many files are broken.
            IndexError: no such picture.
        """
        path, picture = self.tree.read(index, _picture)
        target = Target((math.nan, math.nan, math.nan), self.tree.label(path))
        return LabeledReadings({SensorKey(NODE, Modality.RGB): picture}, target)


def _picture(path: Path) -> Bytes:
    try:
        return rgb_of(read_bytes(path, "a picture"), str(path))
    except InputError as error:
        raise InputError(str(path), error.found, error.allowed) from error
