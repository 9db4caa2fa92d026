# SPDX-License-Identifier: Apache-2.0
"""Clips of activities in the folders of MM-Fi: `E01/S01/A01/{rgb,depth}/frame001.png`, depth in millimetres.

40 people in four places perform 27 activities. A clip has `FRAMES` frames at 5 Hz, in the files of every second frame
of the dataset's 10 Hz, which are those that its reader takes by default: its first 15, or any 15 in random windows.

Walls are light and clothes are dark. With clothes and walls of any brightness the sign of the contrast is random, and a
small network stays at the constant answer on RGB.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from admn_ros.files import write_bytes
from admn_ros.simulation.camera.camera_physics import Single
from admn_ros.simulation.clips.activities import ACTIVITIES, posture_at
from admn_ros.simulation.clips.clip_scene import ClipScene, Colour, Place
from admn_ros.simulation.clips.figure import Build, figure_bodies, figure_poses
from admn_ros.simulation.scene.people import Person

PEOPLE = 40
FRAMES, STEP, RATE_HZ = 22, 2, 10.0
_PLACES = 4
_HALF_ANGLE_RAD = 0.2   # people face the camera up to this angle
_CLOTHES = 0.35         # brightness of clothes compared with those of the people in the room


@dataclass(frozen=True)
class Performer:
    """A person who performs all activities.

    Attributes:
        build: build and clothes.
        extent: size of the motions, 1 on average.
        period_s: mean period of a motion in seconds.
        habit: offsets of the angles of all postures in degrees, (20,); the last number is 0.
    """

    build: Build
    extent: float
    period_s: float
    habit: tuple[float, ...]

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Performer:
        """Draw a performer, in clothes that are darker than the walls."""
        person = Person.drawn(rng)
        person = replace(person, shirt=_darker(person.shirt), trousers=_darker(person.trousers))
        build = Build(person, float(rng.uniform(0.85, 1.25)))
        habit = np.append(rng.normal(0, 4, 19), 0.0)
        return cls(build, float(rng.uniform(0.8, 1.15)), float(rng.uniform(1.6, 2.6)), tuple(habit.tolist()))


def activity_clips() -> list[tuple[int, str]]:
    """Return person, 1 to `PEOPLE`, and activity of every clip."""
    return [(person, activity) for person in range(1, PEOPLE + 1) for activity in ACTIVITIES]


def write_activity(folder: Path, seed: int, person: int, activity: str) -> None:
    """Simulate a clip and write its files, unless all are there.

    Args:
        folder: folder of the dataset.
        seed: seed of the dataset.
        person: number of the person, from 1.
        activity: number of the activity, such as A01.

    Raises:
        InputError: a file cannot be written, or no renderer is installed.
    """
    number = (person - 1) * _PLACES // PEOPLE
    clip = folder / f"E{number + 1:02d}" / f"S{person:02d}" / activity
    names = [f"frame{1 + STEP * k:03d}.png" for k in range(FRAMES)]
    if (clip / "depth" / names[-1]).is_file():  # written last
        return
    performer = Performer.drawn(np.random.default_rng([seed, 61, person]))
    rng = np.random.default_rng([seed, 62, person, list(ACTIVITIES).index(activity)])
    phase, pace = rng.uniform(0, 1), rng.uniform(0.85, 1.15) / performer.period_s
    at_m = (float(rng.uniform(-0.2, 0.2)), float(rng.uniform(-0.1, 0.1)))
    heading_rad = float(rng.uniform(-_HALF_ANGLE_RAD, _HALF_ANGLE_RAD))
    height_m, habit = performer.build.person.height_m, np.array(performer.habit)
    with ClipScene(_place(seed, number), figure_bodies(performer.build)) as scene:
        for k, name in enumerate(names):
            numbers = posture_at(activity, phase + pace * STEP * k / RATE_HZ, performer.extent) + habit
            rgb, depth = scene.shot(figure_poses(height_m, numbers, at_m, heading_rad), rng)
            write_bytes(clip / "rgb" / name, png(rgb[..., ::-1]))
            write_bytes(clip / "depth" / name, png(_millimetres(depth)))


def png(pixels: np.typing.NDArray[np.generic]) -> bytes:
    """Encode pixels as PNG: uint8 (H, W, 3) in the order blue, green, red, or uint16 (H, W)."""
    return bytes(cv2.imencode(".png", np.ascontiguousarray(pixels))[1])


def _place(seed: int, number: int) -> Place:
    rng = np.random.default_rng([seed, 60, number])
    height_m = float(rng.uniform(0.9, 1.4))
    return Place(camera_m=float(rng.uniform(2.3, 2.7)), height_m=height_m, tilt_rad=float((height_m - 1.1) / 2.5),
                 wall_m=float(rng.uniform(1.4, 2.2)), floor=_colour(rng, 0.5, 0.75), wall=_colour(rng, 0.85, 0.95),
                 lamp_m=(float(rng.uniform(3.0, 4.0)), float(rng.uniform(-1.5, 1.5)), 3.2), fov_deg=50.0)


def _darker(colour: Colour) -> Colour:
    r, g, b = (_CLOTHES * v for v in colour)
    return r, g, b


def _colour(rng: np.random.Generator, low: float, high: float) -> Colour:
    r, g, b = (float(v) for v in np.clip(rng.uniform(low, high) + rng.normal(0, 0.05, 3), 0.05, 0.95))
    return r, g, b


def _millimetres(depth: Single) -> np.typing.NDArray[np.uint16]:
    return np.where(np.isfinite(depth), np.rint(depth * 1000), 0).astype(np.uint16)
