# SPDX-License-Identifier: Apache-2.0
"""MM-Fi, 27 activities of 40 people: the official folders, ADMN's pickles, and the official splits.

Folders: `ROOT/E01/S01/A01/{rgb,depth,mmwave}/frame001.*`, 297 frames at 10 Hz. Depth is 16-bit PNG in millimetres.
In the official download `rgb` holds 2-D keypoints (.npy), which are not used; the images come in a separate archive
with the same folders (`rgb_root`). mmwave frames are points (x, y, z, Doppler, intensity), which are converted to a
range-azimuth map.

A clip is a sample. Its frames take the places of sensor nodes `frame01`, `frame02`, ... (preset `mmfi`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.datasets.caches import load_cache
from admn_ros.datasets.image_files import depth_png_of, rgb_of
from admn_ros.datasets.source import LabeledReadings, check_index
from admn_ros.errors import InputError
from admn_ros.files import read_bytes
from admn_ros.sample import Array, Modality, SensorKey, Target
from admn_ros.sensing.corruption.corruption import DEPTH_MAX_M

SUBJECTS = tuple(f"S{i:02d}" for i in range(1, 41))
ACTIONS = tuple(f"A{i:02d}" for i in range(1, 28))
DAILY = tuple(f"A{i:02d}" for i in (2, 3, 4, 5, 13, 14, 17, 18, 19, 20, 21, 22, 23, 27))
REHABILITATION = tuple(a for a in ACTIONS if a not in DAILY)
Protocol = Literal[1, 2, 3]
Split = Literal["random", "cross_scene", "cross_subject", "admn"]
_FRAME = re.compile(r"\D*(\d+)\.\w+")
_NOWHERE = (math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Clip:
    """One recording.

    Attributes:
        subject: person, such as S01.
        action: activity, such as A01.
    """

    subject: str
    action: str

    @property
    def scene(self) -> str:
        """Environment, such as E01; each has ten subjects."""
        return f"E{(int(self.subject[1:]) - 1) // 10 + 1:02d}"

    @property
    def folder(self) -> Path:
        """Folder below the root."""
        return Path(self.scene, self.subject, self.action)

    @property
    def target(self) -> Target:
        """Ground truth: the class of the activity, without a position."""
        return Target(_NOWHERE, ACTIONS.index(self.action))


def mmfi_split(protocol: Protocol, split: Split, part: str) -> list[Clip]:
    """Return the clips of one part of a split, sorted by subject and action.

    Args:
        protocol: 1 for daily activities, 2 for rehabilitation, 3 for all.
        split: "random" (80 % training, seeds 0, 1, ... per action), "cross_scene" (E04 is the test part) or
            "cross_subject" (every fifth subject is the test part) of the dataset; or "admn", the split by subject of
            ADMN's official code.
        part: "train" or "test", or "val" with "admn".

    Raises:
        InputError: unknown protocol, split or part.
    """
    actions = {1: DAILY, 2: REHABILITATION, 3: ACTIONS}.get(protocol)
    if actions is None:
        raise InputError("protocol", protocol, "1, 2 or 3")
    parts = ("train", "val", "test") if split == "admn" else ("train", "test")
    if part not in parts:
        raise InputError("part", part, ", ".join(parts))
    if split == "random":
        chosen = [_random_subjects(seed, part) for seed in range(len(actions))]
        return [Clip(s, a) for s in SUBJECTS for a, subjects in zip(actions, chosen, strict=True) if s in subjects]
    if split not in _TEST:
        raise InputError("split", split, "random, cross_scene, cross_subject or admn")
    subjects = [s for s in SUBJECTS if _TEST[split](int(s[1:])) == part]
    return [Clip(s, a) for s in subjects for a in actions]


_TEST: dict[str, Callable[[int], str]] = {
    "cross_scene": lambda n: "test" if n > 30 else "train",
    "cross_subject": lambda n: "test" if n % 5 == 0 else "train",
    # Of the ten subjects of each environment: six, one, three.
    "admn": lambda n: "train" if (n - 1) % 10 < 6 else "val" if (n - 1) % 10 == 6 else "test",
}


def _random_subjects(seed: int, part: str) -> set[str]:
    # The published split comes from this generator.
    order = np.random.RandomState(seed).permutation(len(SUBJECTS))
    cut = math.floor(0.8 * len(SUBJECTS))
    return {SUBJECTS[i] for i in (order[:cut] if part == "train" else order[cut:])}


class Clips:
    """Base of both readers: existing clips, and the frames of a window."""

    def __init__(self, clips: Sequence[Clip], frames: int, stride: int, root: Path) -> None:
        if frames < 1 or stride < 1:
            raise InputError("frames, stride", (frames, stride), "at least 1 each")
        if not clips:
            raise InputError(str(root), "no clips", "E01..E04/S01..S40/A01..A27, of which at least one is asked for")
        self.clips, self._frames, self._stride = tuple(clips), frames, stride
        self._nodes: frozenset[str] | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def recording(self, index: int) -> str:
        """Return the subject of a clip. Clips of one person are resampled together in bootstraps."""
        return self.clips[index].subject

    def _window(self, start: int) -> list[tuple[str, int]]:
        """Return the sensor node and the number (from 0) of each frame."""
        if start < 0:
            raise InputError("start", start, "not negative")
        window = [(f"frame{i + 1:02d}", start + i * self._stride) for i in range(self._frames)]
        return [frame for frame in window if self._nodes is None or frame[0] in self._nodes]

    def read_only(self, nodes: Sequence[str]) -> None:
        """Read no other frames than these from now on."""
        self._nodes = frozenset(nodes)

    def __getitem__(self, index: int) -> LabeledReadings:
        """Read the first window of a clip; see `clip`."""
        return self.clip(index)

    def clip(self, index: int, start: int = 0) -> LabeledReadings:
        """Read the window of a clip that begins with frame `start`, from 0; frames beyond the end are missing.

        Raises:
            InputError: a file is broken or has another layout, or the window has no frames.
            IndexError: there is no such clip.
        """
        return self._read(self.clips[check_index(index, len(self))], lambda frames: start)

    def random_clip(self, index: int, rng: np.random.Generator) -> LabeledReadings:
        """Read a random window, as `clip`. It begins with one of the first 266 of 297 frames, as in the release.

        Windows of a clip without some of its frames, such as every second one, begin with one that is there.
        """
        def start(frames: Sequence[int]) -> int:
            limit = max(frames, default=0) - self._frames * self._stride
            first = [number for number in frames if number < limit] or [0]
            return first[int(rng.integers(len(first)))]

        return self._read(self.clips[check_index(index, len(self))], start)

    def _read(self, clip: Clip, start: Callable[[Sequence[int]], int]) -> LabeledReadings:
        """Read a window; `start` chooses its first frame from the numbers of the frames of the clip, ascending."""
        raise NotImplementedError


class MmfiFolder(Clips):
    """Clips of the official folders. Frames whose file is absent or empty are missing.

    Args:
        root: folder with E01 to E04.
        clips: clips to use, for example of `mmfi_split`; None for all. Absent clips are left out.
        rgb_root: folder with the images, in `E01/S01/A01/rgb/`; None for `root`.
        modalities: modalities to read: rgb, depth, radar (mmwave).
        frames: number of frames per sample.
        stride: distance between the frames of a sample, in frames of the clip.
        size: height and width to which images and depth images are resized, 224 in ADMN's caches: the paper's noise is
            on such images. None leaves them as they are.

    Raises:
        InputError: none of the clips exists.
    """

    def __init__(self, root: str | Path, clips: Sequence[Clip] | None = None, *, rgb_root: str | Path | None = None,
                 modalities: Sequence[Modality] = (Modality.RGB, Modality.DEPTH), frames: int = 15,
                 stride: int = 2, size: int | None = None) -> None:
        self._root, self._rgb_root, self._size = Path(root), Path(rgb_root or root), size
        self._modalities = tuple(modalities)
        wanted = [Clip(s, a) for s in SUBJECTS for a in ACTIONS] if clips is None else clips
        super().__init__([c for c in wanted if (self._root / c.folder).is_dir()], frames, stride, self._root)

    def _read(self, clip: Clip, start: Callable[[Sequence[int]], int]) -> LabeledReadings:
        readings: dict[SensorKey, Array] = {}
        folders = {modality: self._files(clip, modality) for modality in self._modalities}
        first = start(sorted({number for files in folders.values() for number in files}))
        for modality, files in folders.items():
            for node, number in self._window(first):
                data = read_bytes(files[number], "an image or radar file") if number in files else b""
                if data:
                    readings[SensorKey(node, modality)] = self._resized(
                        modality, _decode(modality, data, str(files[number])))
        if not readings:
            raise InputError(str(self._root / clip.folder), f"no frames from {first}",
                             f"frames of {', '.join(map(str, self._modalities))}")
        return LabeledReadings(readings, clip.target)

    def _resized(self, modality: Modality, data: Array) -> Array:
        if self._size is None or modality is Modality.RADAR:
            return data
        # The nearest pixel of depth: no depth then lies between near and far, or between valid and invalid.
        shape = self._size, self._size
        if modality is Modality.DEPTH:
            return np.asarray(cv2.resize(data.astype(np.float32, copy=False), shape, interpolation=cv2.INTER_NEAREST))
        return np.asarray(cv2.resize(data.astype(np.uint8, copy=False), shape, interpolation=cv2.INTER_AREA))

    def _files(self, clip: Clip, modality: Modality) -> dict[int, Path]:
        """Return the files by frame number, from 0."""
        names = {Modality.RGB: ("rgb", (".png", ".jpg", ".jpeg")), Modality.DEPTH: ("depth", (".png",)),
                 Modality.RADAR: ("mmwave", (".bin",))}
        if modality not in names:
            raise InputError("modality", modality, ", ".join(map(str, names)))
        name, endings = names[modality]
        folder = (self._rgb_root if modality is Modality.RGB else self._root) / clip.folder / name
        found = {}
        for path in folder.iterdir() if folder.is_dir() else ():
            match = _FRAME.fullmatch(path.name)
            if match and path.suffix.lower() in endings:
                found[int(match[1]) - 1] = path
        return found


class MmfiCache(Clips):
    """ADMN's pickles: `ROOT/E01/S01/A01/data.pickle`, uint8 (T, 3, 224, 224) 'rgb' and colour-mapped 'depth'.

    The colour map of depth is unpublished. Its brightness times `depth_scale_m` takes the place of metres, as in
    `admn_ros.datasets.gdtm`.

    Args:
        root: folder with E01 to E04.
        clips: see `MmfiFolder`, like `frames` and `stride`.
        frames: number of frames per sample.
        stride: distance between the frames of a sample.
        depth_scale_m: depth of full brightness in metres.

    Raises:
        InputError: none of the clips exists.
    """

    def __init__(self, root: str | Path, clips: Sequence[Clip] | None = None, *, frames: int = 15, stride: int = 2,
                 depth_scale_m: float = DEPTH_MAX_M) -> None:
        self._root, self._scale_m = Path(root), depth_scale_m
        wanted = [Clip(s, a) for s in SUBJECTS for a in ACTIONS] if clips is None else clips
        super().__init__([c for c in wanted if self._path(c).is_file()], frames, stride, self._root)

    def _path(self, clip: Clip) -> Path:
        return self._root / clip.folder / "data.pickle"

    def _read(self, clip: Clip, start: Callable[[Sequence[int]], int]) -> LabeledReadings:
        path = self._path(clip)
        item = load_cache(path)
        readings: dict[SensorKey, Array] = {}
        videos: dict[Modality, npt.NDArray[np.uint8]] = {}
        for name, modality in (("rgb", Modality.RGB), ("depth", Modality.DEPTH)):
            video = item.get(name) if isinstance(item, dict) else None
            if not isinstance(video, np.ndarray) or video.dtype != np.uint8 or video.ndim != 4 or video.shape[1] != 3:
                found = f"{video.dtype} {video.shape}" if isinstance(video, np.ndarray) else type(video).__name__
                raise InputError(f"{path}:{name}", found, "uint8 (T, 3, H, W)")
            videos[modality] = video
        first = start(range(min(map(len, videos.values()))))
        for modality, video in videos.items():
            for node, number in self._window(first):
                if number < len(video):
                    image = np.ascontiguousarray(video[number].transpose(1, 2, 0))
                    readings[SensorKey(node, modality)] = image if modality is Modality.RGB else self._metres(image)
        return LabeledReadings(readings, clip.target)

    def _metres(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.float32)
        return np.asarray(np.where(grey > 0, grey / 255 * self._scale_m, np.nan), dtype=np.float32)


def points_heatmap(points: npt.NDArray[np.float64], rows: int = 64, columns: int = 64,
                   range_m: float = 6.0) -> npt.NDArray[np.float32]:
    """Convert radar points to a range-azimuth map. This map is ours; the official code uses the points.

    Args:
        points: x, y, z, Doppler and intensity (n, 5). In MM-Fi y points away from the radar and x to the right.
        rows: number of rows; row 0 is nearest.
        columns: number of columns, uniform in the sine of the azimuth over +-1 as in the simulated radar; column 0 is
            leftmost.
        range_m: range of the map in metres; points beyond it are left out.

    Returns:
        Sum of the intensities in each cell, float32 (rows, columns).
    """
    xyz = points[:, :3]
    distance = np.linalg.norm(xyz, axis=1)
    inside = (distance > 0) & (distance < range_m) & np.isfinite(points).all(1)
    sine = xyz[inside, 0] / distance[inside]
    row = (distance[inside] / range_m * rows).astype(int)
    column = np.minimum(((sine + 1) / 2 * columns).astype(int), columns - 1)
    heatmap = np.zeros((rows, columns), np.float32)
    np.add.at(heatmap, (row, column), np.maximum(points[inside, 4], 0).astype(np.float32))
    return heatmap


def _decode(modality: Modality, data: bytes, place: str) -> Array:
    if modality is Modality.RGB:
        return rgb_of(data, place)
    if modality is Modality.DEPTH:
        return depth_png_of(data, place)
    if len(data) % 40:
        raise InputError(place, f"{len(data)} bytes", "float64 (n, 5): a multiple of 40 bytes")
    return points_heatmap(np.frombuffer(data, "<f8").reshape(-1, 5))
