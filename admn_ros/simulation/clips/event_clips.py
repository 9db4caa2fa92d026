# SPDX-License-Identifier: Apache-2.0
"""Clips of audio-visual events in the folder that ADMN makes of AVE.

`Annotations.txt`, `trainSet.txt`, `valSet.txt`, `testSet.txt`, `New_Data/<video>/1.png` to `8.png` and
`New_Data/<video>.wav` of 10 s. Each class has `CLIPS` clips in each split.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from admn_ros.files import write_bytes, write_text
from admn_ros.simulation.clips.activity_clips import png
from admn_ros.simulation.clips.clip_scene import ClipScene, Colour, Place
from admn_ros.simulation.clips.event_sounds import RATE_HZ, event_sound
from admn_ros.simulation.clips.event_things import THINGS, thing_body, thing_pose

CLIPS = {"train": 30, "val": 4, "test": 10}
FRAMES, SECONDS = 8, 10.0
_GRASS, _SKY = (0.35, 0.45, 0.25), (0.6, 0.7, 0.85)


@dataclass(frozen=True)
class EventClip:
    """A clip.

    Attributes:
        name: name of the event.
        split: split of the dataset.
        video: name of the clip.
        start_s: whole second at which the event begins.
        end_s: whole second at which it ends.
    """

    name: str
    split: str
    video: str
    start_s: int
    end_s: int

    @property
    def line(self) -> str:
        """Line of the annotations."""
        return f"{self.name}&{self.video}&good&{self.start_s}&{self.end_s}"


def event_clips(seed: int, clips: dict[str, int] | None = None) -> list[EventClip]:
    """Return all clips of a dataset.

    Args:
        seed: seed of the dataset.
        clips: number of clips of each class by split; None for `CLIPS`.
    """
    found: list[EventClip] = []
    for split, count in (clips or CLIPS).items():
        for k in range(count):
            for number, name in enumerate(THINGS):
                rng = np.random.default_rng([seed, 71, len(found)])
                start = int(rng.integers(0, 3)) if rng.random() < 0.4 else 0
                end = int(rng.integers(6, 10)) if rng.random() < 0.4 else 10
                found.append(EventClip(name, split, f"{split}_{number:02d}_{k:03d}", start, end))
    return found


def write_event(folder: Path, seed: int, number: int, clip: EventClip) -> None:
    """Simulate a clip and write its files, unless all are there.

    Args:
        folder: folder of the dataset.
        seed: seed of the dataset.
        number: number of the clip in the dataset.
        clip: clip.

    Raises:
        InputError: a file cannot be written, or no renderer is installed.
    """
    data = folder / "New_Data"
    sound_file = data / f"{clip.video}.wav"
    if sound_file.is_file():  # written last
        return
    rng = np.random.default_rng([seed, 72, number])
    thing, size = THINGS[clip.name], float(rng.uniform(0.75, 1.2))
    turn, pace, phase = float(rng.uniform(-0.7, 0.7)), float(rng.uniform(0.6, 1.5)), float(rng.uniform(0, 1))
    with ClipScene(_place(thing.outdoor, rng), [thing_body(thing, size, rng)]) as scene:
        for k in range(FRAMES):
            # The middles of eight equal parts of the clip.
            pose = thing_pose(thing, (k + 0.5) * SECONDS / FRAMES, size, turn, pace, phase)
            write_bytes(data / clip.video / f"{k + 1}.png", png(scene.shot([pose], rng)[0][..., ::-1]))
    wav = BytesIO()
    soundfile.write(wav, event_sound(clip.name, clip.start_s, clip.end_s, SECONDS, rng), RATE_HZ, "PCM_16",
                    format="WAV")
    write_bytes(sound_file, wav.getvalue())


def write_annotations(folder: Path, clips: list[EventClip]) -> None:
    """Write the annotations of all clips and the list of each split.

    Raises:
        InputError: a file cannot be written.
    """
    head = "Category&VideoID&Quality&StartTime&EndTime"
    write_text(folder / "Annotations.txt", "\n".join([head, *(c.line for c in clips)]) + "\n")
    for split in dict.fromkeys(c.split for c in clips):
        write_text(folder / f"{split}Set.txt", "\n".join(c.line for c in clips if c.split == split) + "\n")


def _place(outdoor: bool, rng: np.random.Generator) -> Place:
    floor, wall = (_GRASS, _SKY) if outdoor else (tuple(rng.uniform(0.25, 0.6, 3)), tuple(rng.uniform(0.4, 0.9, 3)))
    height_m = float(rng.uniform(0.8, 1.5))
    return Place(camera_m=float(rng.uniform(1.9, 2.6)), height_m=height_m, tilt_rad=float((height_m - 0.8) / 2.4),
                 wall_m=5.0 if outdoor else float(rng.uniform(1.0, 2.0)), floor=_varied(floor, rng),
                 wall=_varied(wall, rng), lamp_m=(float(rng.uniform(0.5, 2.0)), float(rng.uniform(-1.5, 1.5)), 3.2))


def _varied(colour: tuple[float, ...], rng: np.random.Generator) -> Colour:
    r, g, b = (float(v) for v in np.clip(np.array(colour) + rng.normal(0, 0.06, 3), 0.05, 0.97))
    return r, g, b
