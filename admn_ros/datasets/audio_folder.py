# SPDX-License-Identifier: Apache-2.0
"""A tree of sound files such as AudioSet's: one folder per class, or any other layout."""

from __future__ import annotations

import math
from pathlib import Path

from admn_ros.datasets.file_tree import FileTree
from admn_ros.datasets.image_folder import NODE
from admn_ros.datasets.sound_files import ENDINGS, read_sound
from admn_ros.datasets.source import LabeledReadings
from admn_ros.sample import Modality, SensorKey, Target


class AudioFolder:
    """WAV, FLAC and OGG files as samples with one audio reading each, at the file's rate and with all its channels.

    Other formats, such as MP3, must be converted first, for example with ffmpeg. The label is the number of the class
    folder. AudioSet has several labels per file, which its folders do not show.

    Attributes:
        tree: the files. Broken ones are listed in `tree.broken`; the next intact file takes the place of each.
    """

    def __init__(self, folder: str | Path) -> None:
        """List the files.

        Raises:
            InputError: there is no such folder, or no sound file in it.
        """
        self.tree = FileTree(folder, ENDINGS, "recordings")

    def __len__(self) -> int:
        return len(self.tree)

    def __getitem__(self, index: int) -> LabeledReadings:
        """Read one file.

        Raises:
            InputError: too many files are broken.
            IndexError: there is no such file.
        """
        path, (sound, rate_hz) = self.tree.read(index, read_sound)
        target = Target((math.nan, math.nan, math.nan), self.tree.label(path))
        return LabeledReadings({SensorKey(NODE, Modality.AUDIO): sound}, target, audio_rate_hz=rate_hz)
