# SPDX-License-Identifier: Apache-2.0
"""A tree of recordings such as AudioSet's: one folder for each class, or any other."""

from __future__ import annotations

import math
from pathlib import Path

from admn_ros.datasets.file_tree import FileTree
from admn_ros.datasets.image_folder import NODE
from admn_ros.datasets.source import LabeledReadings
from admn_ros.datasets.wav import read_wav
from admn_ros.sample import Modality, SensorKey, Target

ENDINGS = (".wav",)


class AudioFolder:
    """WAV files as samples with one audio reading each, at the file's rate and with all its channels.

    Other codings (FLAC, OGG, MP3) are not read; convert them, for example with ffmpeg. The label is the number of
    the class folder; AudioSet's files have several labels, which are in none of its folders.

    tree: the files; those that are broken are in `tree.broken`, and the next whole one is in their place.
    """

    def __init__(self, folder: str | Path) -> None:
        """List the recordings.

        Raises:
            InputError: no folder, or no WAV in it.
        """
        self.tree = FileTree(folder, ENDINGS, "recordings")

    def __len__(self) -> int:
        return len(self.tree)

    def __getitem__(self, index: int) -> LabeledReadings:
        """Read one recording.

        Raises:
            InputError: too many files are broken.
            IndexError: no such recording.
        """
        path, (sound, rate_hz) = self.tree.read(index, read_wav)
        target = Target((math.nan, math.nan, math.nan), self.tree.label(path))
        return LabeledReadings({SensorKey(NODE, Modality.AUDIO): sound}, target, audio_rate_hz=rate_hz)
