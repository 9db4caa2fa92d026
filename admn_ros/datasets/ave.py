# SPDX-License-Identifier: Apache-2.0
"""AVE, 28 audio-visual events in clips of 10 s: annotations, folders of frames and sound, and ADMN's caches.

The eight frames of a clip take the places of sensor nodes `frame1` to `frame8`. The sound is an input of `frame1`
(preset `ave`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from admn_ros.datasets.caches import load_cache
from admn_ros.datasets.image_files import rgb_of
from admn_ros.datasets.sound_files import read_sound
from admn_ros.datasets.source import LabeledReadings, check_index
from admn_ros.errors import InputError
from admn_ros.files import read_bytes
from admn_ros.model.presets import AVE_CLASSES
from admn_ros.sample import Array, Modality, SensorKey, Target
from admn_ros.sensing.corruption.draws import Environment

FRAMES = 8
"""Number of frames per clip."""
_NAMES = (
    "Church bell", "Male speech, man speaking", "Bark", "Fixed-wing aircraft, airplane", "Race car, auto racing",
    "Female speech, woman speaking", "Helicopter", "Violin, fiddle", "Flute", "Ukulele", "Frying (food)", "Truck",
    "Shofar", "Motorcycle", "Acoustic guitar", "Train horn", "Clock", "Banjo", "Goat", "Baby cry, infant cry", "Bus",
    "Chainsaw", "Cat", "Horse", "Toilet flush", "Rodents, rats, mice", "Accordion", "Mandolin")
LABELS = {name: index for index, name in enumerate(_NAMES)}
"""Class numbers by the names of the dataset, in the order of `model.presets.AVE_CLASSES`."""
OUTDOOR = frozenset(("church_bell", "bark", "airplane", "race_car", "helicopter", "truck", "motorcycle", "train_horn",
                     "goat", "bus", "chainsaw", "horse"))
"""Classes with outdoor corruptions. The paper has such a list but does not publish it; this one is ours."""
_ID = re.compile(r"[\w-]+")
_NOWHERE = (math.nan, math.nan, math.nan)
_MEAN, _STD = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))


@dataclass(frozen=True)
class AveClip:
    """A line of the annotations.

    Attributes:
        label: class number.
        video: video identifier.
        quality: quality of the annotation.
        start_s: start of the event in seconds, within the 10 s of the clip.
        end_s: end of the event in seconds. One published event starts and ends at 0.
    """

    label: int
    video: str
    quality: str
    start_s: float
    end_s: float


def read_annotations(path: str | Path) -> list[AveClip]:
    """Read `Annotations.txt` (or a split's list of the same form): class&video&quality&start&end.

    A header line (`Category&...`) is skipped.

    Raises:
        InputError: the file cannot be read, is empty, or has an invalid line; the field names its number.
    """
    path = Path(path)
    try:
        lines = read_bytes(path, "annotations").decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(str(path), "bytes that are not UTF-8", "text") from error
    body = [(number, line) for number, line in enumerate(lines, start=1)
            if line.strip() and not (number == 1 and line.startswith("Category&"))]
    clips = [_annotation(line, f"{path}:{number}") for number, line in body]
    if not clips:
        raise InputError(str(path), "no lines", "class&video&quality&start&end")
    return clips


def _annotation(line: str, place: str) -> AveClip:
    parts = [part.strip() for part in line.split("&")]
    if len(parts) != 5:
        raise InputError(place, f"{len(parts)} fields", "class&video&quality&start&end")
    name, video, quality, start, end = parts
    if name not in LABELS:
        raise InputError(f"{place}: class", repr(name), ", ".join(LABELS))
    if not _ID.fullmatch(video):  # it becomes part of a path
        raise InputError(f"{place}: video", repr(video), "letters, digits, _ and -")
    try:
        start_s, end_s = float(start), float(end)
    except ValueError as error:
        raise InputError(f"{place}: start, end", f"{start}, {end}", "seconds") from error
    if not 0 <= start_s <= end_s <= 10:
        raise InputError(f"{place}: start, end", f"{start}, {end}", "0 <= start <= end <= 10")
    return AveClip(LABELS[name], video, quality, start_s, end_s)


class AveFolder:
    """ADMN's folder: `New_Data/<video>/1.png` to `8.png` and `New_Data/<video>.wav`. Files may be missing.

    Args:
        root: folder with `Annotations.txt`.
        annotations: clips to use; None for all of `Annotations.txt`. Clips without any file are left out.
        data: folder of frames and sound below the root.

    Attributes:
        clips: clips with at least one file.

    Raises:
        InputError: there are no annotations, or no files of any clip.
    """

    def __init__(self, root: str | Path, annotations: Sequence[AveClip] | None = None,
                 data: str = "New_Data") -> None:
        self._data = Path(root) / data
        wanted = read_annotations(Path(root) / "Annotations.txt") if annotations is None else annotations
        self.clips = tuple(c for c in wanted if (self._data / c.video).is_dir() or self._sound(c).is_file())
        if not self.clips:
            raise InputError(str(self._data), "none of the clips", "<video>/1.png to 8.png and <video>.wav")

    def _sound(self, clip: AveClip) -> Path:
        return self._data / f"{clip.video}.wav"

    def __len__(self) -> int:
        return len(self.clips)

    def recording(self, index: int) -> str:
        """Return the video of a clip. Clips of one video are resampled together in bootstraps."""
        return self.clips[index].video

    def __getitem__(self, index: int) -> LabeledReadings:
        """Read one clip, with the sound at the rate of its file.

        Raises:
            InputError: a file is broken.
            IndexError: there is no such clip.
        """
        clip = self.clips[check_index(index, len(self))]
        readings: dict[SensorKey, Array] = {}
        for i in range(1, FRAMES + 1):
            path = self._data / clip.video / f"{i}.png"
            if path.is_file():
                readings[SensorKey(f"frame{i}", Modality.RGB)] = rgb_of(read_bytes(path, "an image file"), str(path))
        rate_hz = None
        if self._sound(clip).is_file():
            readings[SensorKey("frame1", Modality.AUDIO)], rate_hz = read_sound(self._sound(clip))
        return LabeledReadings(readings, Target(_NOWHERE, clip.label), audio_rate_hz=rate_hz, scene=_scene(clip.label))


class AveCache:
    """ADMN's caches of one split: `<n>.pickle` = ((fbank (1, 128, 1024), images (8, 3, 224, 224), label), noise type).

    The images are normalized by the mean and standard deviation of ImageNet; they are converted back to uint8. The
    sound is stored as a normalized spectrogram, which is the model's audio input (preset `ave`). The noise type fills
    the corruption of the target: 0 clean, 1 sound, 2 images, 3 both.
    """

    def __init__(self, folder: str | Path) -> None:
        """List a folder (`train`, `val` or `test`).

        Raises:
            InputError: the folder has no such files.
        """
        files = [p for p in Path(folder).glob("*.pickle") if p.stem.isdecimal()]
        self._files = sorted(files, key=lambda p: int(p.stem))
        if not self._files:
            raise InputError(str(folder), "no caches", "a folder with <number>.pickle files")

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> LabeledReadings:
        """Read one clip.

        Raises:
            InputError: a pickle is broken, has another layout, or holds more than data.
            IndexError: there is no such clip.
        """
        path = self._files[check_index(index, len(self))]
        fbank, images, label, noise = _cached(load_cache(path), str(path))
        pixels = images.transpose(0, 2, 3, 1).astype(np.float64) * _STD + _MEAN
        pictures = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
        corruption = {Modality.RGB: float(noise in (2, 3)), Modality.AUDIO: float(noise in (1, 3))}
        readings = {SensorKey(f"frame{i + 1}", Modality.RGB): picture for i, picture in enumerate(pictures)}
        return LabeledReadings(readings, Target(_NOWHERE, label, corruption), scene=_scene(label),
                               tensors={SensorKey("frame1", Modality.AUDIO): fbank.astype(np.float32)})


def _scene(label: int) -> Environment:
    return "outdoor" if AVE_CLASSES[label] in OUTDOOR else "indoor"


def _cached(item: Any, path: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int, int]:
    allowed = "((float (1, 128, 1024), float (8, 3, H, W), label 0 to 27), noise type 0 to 3)"
    try:
        (fbank, images, label), noise = item
        label, noise = int(label), int(noise)
    except (TypeError, ValueError) as error:
        raise InputError(path, f"{type(item).__name__} of another layout", allowed) from error
    shapes = [x.shape if isinstance(x, np.ndarray) and x.dtype.kind == "f" else None for x in (fbank, images)]
    fits = shapes[0] == (1, 128, 1024) and shapes[1] is not None and len(shapes[1]) == 4
    if not fits or images.shape[:2] != (FRAMES, 3) or not 0 <= label < len(LABELS) or not 0 <= noise <= 3:
        raise InputError(path, f"shapes {shapes}, label {label}, noise type {noise}", allowed)
    return fbank, images, label, noise
