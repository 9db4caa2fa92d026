# SPDX-License-Identifier: Apache-2.0
"""What is seen of the 28 events of AVE: a thing of a few solids, its motion and its surroundings.

The events are those of the dataset's list; shapes, colours and motions are ours, and schematic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from admn_ros.recordings.bag_messages import quaternion_of
from admn_ros.simulation.clips.clip_scene import Colour
from admn_ros.simulation.scene.geometry import Floats
from admn_ros.simulation.scene.person_model import BodyPose, geom

Motion = Literal["stand", "drive", "fly", "swing", "shake", "hop", "sway"]
Solid = tuple[str, tuple[float, ...], tuple[float, float, float], Colour, tuple[float, ...]]
"""Kind, half sizes in metres, position, colour, and the axis of a capsule or cylinder."""


@dataclass(frozen=True)
class Thing:
    """Look of an event.

    Attributes:
        solids: solids of the thing, about 1 m in size; its frame is at its middle, x towards the camera.
        motion: how it moves.
        height_m: height of its middle above the floor.
        outdoor: whether it is outdoors.
    """

    solids: tuple[Solid, ...]
    motion: Motion
    height_m: float
    outdoor: bool = False


_BRASS, _WOOD, _DARK, _WHITE, _SKIN = (0.8, 0.65, 0.2), (0.6, 0.35, 0.15), (0.12, 0.12, 0.14), (0.9, 0.9, 0.9), \
    (0.85, 0.65, 0.55)
_RED, _BLUE, _GREEN, _GREY, _FUR = (0.8, 0.12, 0.1), (0.15, 0.25, 0.7), (0.15, 0.5, 0.2), (0.5, 0.5, 0.52), \
    (0.5, 0.32, 0.18)
_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def _box(size: tuple[float, float, float], at: tuple[float, float, float], rgb: Colour) -> Solid:
    return "box", size, at, rgb, ()


def _ball(size: tuple[float, float, float], at: tuple[float, float, float], rgb: Colour) -> Solid:
    return "ellipsoid", size, at, rgb, ()


def _rod(radius: float, half: float, at: tuple[float, float, float], rgb: Colour,
         axis: tuple[float, ...] = _Z) -> Solid:
    return "capsule", (radius, half), at, rgb, axis


def _disc(radius: float, half: float, at: tuple[float, float, float], rgb: Colour,
          axis: tuple[float, ...] = _X) -> Solid:
    return "cylinder", (radius, half), at, rgb, axis


def _talker(shirt: Colour, hair: Colour, long_hair: bool) -> tuple[Solid, ...]:
    hair_size = (0.1, 0.16, 0.26) if long_hair else (0.1, 0.14, 0.08)
    return (_ball((0.15, 0.32, 0.35), (0, 0, -0.4), shirt), _ball((0.12, 0.12, 0.16), (0, 0, 0.12), _SKIN),
            _ball(hair_size, (-0.05, 0, 0.1 if long_hair else 0.22), hair))


def _vehicle(body: tuple[float, float, float], rgb: Colour, cabin: tuple[float, float, float], shift: float,
             wheel: float) -> tuple[Solid, ...]:
    wheels = tuple(_disc(wheel, 0.04, (0.2, y, -body[2]), _DARK) for y in (-0.65 * body[1], 0.65 * body[1]))
    return (_box(body, (0, 0, 0), rgb), _box(cabin, (0, shift, body[2] + cabin[2]), (0.5, 0.6, 0.7)), *wheels)


def _four_legs(rgb: Colour, length: float, leg: float, head: float) -> tuple[Solid, ...]:
    legs = tuple(_rod(0.035, leg / 2, (x, y, -0.12 - leg / 2), rgb)
                 for x, y in ((0.08, -0.7 * length), (0.08, 0.7 * length), (-0.08, -0.6 * length),
                              (-0.08, 0.6 * length)))
    return (_ball((0.15, length, 0.16), (0, 0, 0), rgb), _ball((head, 1.3 * head, head), (0, 1.15 * length, 0.22), rgb),
            *legs)


def _string(rgb: Colour, body: tuple[float, float], neck: float, round_body: bool) -> tuple[Solid, ...]:
    width, length = body
    shape = (_disc(width, 0.05, (0, -0.2, 0), rgb),) if round_body else (
        _ball((0.06, length * 0.6, width), (0, -0.28, 0), rgb),
        _ball((0.06, length * 0.5, 0.75 * width), (0, 0, 0), rgb))
    return (*shape, _box((0.03, neck / 2, 0.035), (0, 0.1 + neck / 2, 0), _DARK))


THINGS: dict[str, Thing] = {
    "Church bell": Thing((_ball((0.35, 0.35, 0.3), (0, 0, 0.05), _BRASS), _disc(0.45, 0.06, (0, 0, -0.25), _BRASS, _Z),
                          _rod(0.05, 0.2, (0, 0, 0.45), _DARK)), "swing", 1.4, True),
    "Male speech, man speaking": Thing(_talker((0.25, 0.28, 0.35), _DARK, False), "sway", 1.1),
    "Bark": Thing(_four_legs(_FUR, 0.35, 0.35, 0.15), "hop", 0.5, True),
    "Fixed-wing aircraft, airplane": Thing((_rod(0.11, 0.6, (0, 0, 0), _WHITE, _Y), _box((0.6, 0.12, 0.02), (0, 0, 0),
                                            _GREY), _box((0.02, 0.1, 0.16), (0, -0.6, 0.15), _BLUE)), "fly", 1.2, True),
    "Race car, auto racing": Thing(_vehicle((0.25, 0.65, 0.1), _RED, (0.12, 0.15, 0.06), -0.1, 0.14), "drive", 0.25,
                                   True),
    "Female speech, woman speaking": Thing(_talker((0.75, 0.3, 0.45), (0.3, 0.18, 0.08), True), "sway", 1.1),
    "Helicopter": Thing((_ball((0.2, 0.35, 0.22), (0, 0.15, 0), _GREEN), _rod(0.05, 0.35, (0, -0.5, 0.05), _GREEN, _Y),
                         _disc(0.7, 0.015, (0, 0.15, 0.32), _DARK, _Z)), "fly", 1.15, True),
    "Violin, fiddle": Thing((*_talker((0.1, 0.1, 0.1), _DARK, False), _ball((0.05, 0.2, 0.1), (0.2, 0.18, 0), _WOOD),
                             _rod(0.012, 0.35, (0.26, 0.15, 0.08), _WHITE, (0.0, 0.5, 0.8))), "shake", 1.1),
    "Flute": Thing((*_talker(_WHITE, _FUR, True), _rod(0.022, 0.36, (0.18, 0.3, 0.05), _GREY, _Y)), "sway", 1.1),
    "Ukulele": Thing(_string((0.85, 0.65, 0.4), (0.16, 0.2), 0.35, False), "shake", 1.1),
    "Frying (food)": Thing((_disc(0.5, 0.05, (0, 0, 0), _DARK, (0.5, 0.0, 0.87)), _rod(0.05, 0.35, (0.1, 0.8, 0), _DARK,
                            _Y), _ball((0.2, 0.2, 0.06), (0.1, -0.05, 0.1), (0.95, 0.8, 0.3))), "shake", 0.8),
    "Truck": Thing((_box((0.35, 0.6, 0.4), (0, -0.2, 0.1), _GREY),
                    *_vehicle((0.3, 0.85, 0.12), _BLUE, (0.3, 0.18, 0.25), 0.62, 0.17)), "drive", 0.5, True),
    "Shofar": Thing((_rod(0.05, 0.2, (0, -0.2, -0.05), _FUR, (0, 1, 0.3)), _rod(0.08, 0.2, (0, 0.15, 0.12), _FUR,
                     (0, 1, 0.8)), _rod(0.11, 0.1, (0, 0.32, 0.35), _WHITE, (0, 0.3, 1))), "sway", 1.2),
    "Motorcycle": Thing((_disc(0.26, 0.05, (0, -0.45, 0), _DARK), _disc(0.26, 0.05, (0, 0.45, 0), _DARK),
                         _ball((0.12, 0.35, 0.14), (0, 0, 0.25), _RED), _rod(0.025, 0.25, (0, 0.4, 0.4), _GREY,
                         (0, -0.4, 1))), "drive", 0.3, True),
    "Acoustic guitar": Thing(_string(_WOOD, (0.3, 0.36), 0.6, False), "shake", 1.0),
    "Train horn": Thing((_box((0.4, 0.95, 0.4), (0, 0, 0.1), (0.75, 0.55, 0.1)), _box((0.42, 0.96, 0.08), (0, 0, 0),
                         _RED), _box((0.42, 0.2, 0.14), (0, 0.6, 0.28), _DARK)), "drive", 0.55, True),
    "Clock": Thing((_disc(0.5, 0.05, (0, 0, 0), _WHITE), _box((0.07, 0.03, 0.2), (0, 0, 0.18), _DARK),
                    _box((0.07, 0.15, 0.03), (0, 0.13, 0), _DARK)), "stand", 1.3),
    "Banjo": Thing((*_string(_WHITE, (0.32, 0.3), 0.6, True), _disc(0.36, 0.03, (-0.05, -0.2, 0), _WOOD)), "shake",
                   1.0),
    "Goat": Thing((*_four_legs(_WHITE, 0.33, 0.38, 0.13), _rod(0.025, 0.12, (0, 0.3, 0.42), _GREY, (0, -0.6, 1))),
                  "sway", 0.55, True),
    "Baby cry, infant cry": Thing((_ball((0.2, 0.22, 0.24), (0, 0, 0.2), _SKIN), _ball((0.18, 0.26, 0.26), (0, 0, -0.2),
                                   (0.7, 0.8, 0.95)), _ball((0.06, 0.08, 0.06), (0.18, 0, 0.12), _RED)), "shake", 0.7),
    "Bus": Thing((_box((0.4, 1.0, 0.35), (0, 0, 0.1), (0.9, 0.75, 0.1)), _box((0.41, 0.9, 0.1), (0, 0, 0.2), _DARK),
                  *(_disc(0.16, 0.05, (0.38, y, -0.25), _DARK) for y in (-0.6, 0.6))), "drive", 0.5, True),
    "Chainsaw": Thing((_box((0.12, 0.22, 0.15), (0, -0.3, 0), (0.95, 0.4, 0.05)), _box((0.03, 0.45, 0.07), (0, 0.35, 0),
                       _GREY), _disc(0.3, 0.5, (-0.3, 0.5, -0.4), _WOOD, _X)), "shake", 0.8, True),
    "Cat": Thing((*_four_legs(_GREY, 0.26, 0.22, 0.12), _rod(0.03, 0.2, (0, -0.4, 0.2), _GREY, (0, -0.4, 1))), "sway",
                 0.35),
    "Horse": Thing((*_four_legs((0.35, 0.18, 0.08), 0.5, 0.6, 0.15), _ball((0.1, 0.12, 0.3), (0, 0.5, 0.12),
                    (0.35, 0.18, 0.08))), "drive", 0.75, True),
    "Toilet flush": Thing((_ball((0.25, 0.22, 0.18), (0.1, 0, 0), _WHITE), _box((0.1, 0.26, 0.28), (-0.2, 0, 0.35),
                           _WHITE), _box((0.15, 0.14, 0.2), (0, 0, -0.25), _WHITE)), "stand", 0.5),
    "Rodents, rats, mice": Thing((_ball((0.12, 0.28, 0.13), (0, 0, 0), _GREY), _ball((0.08, 0.1, 0.08), (0, 0.3, 0.02),
                                  _GREY), _rod(0.015, 0.25, (0, -0.5, -0.05), _SKIN, _Y)), "hop", 0.15),
    "Accordion": Thing((_box((0.15, 0.14, 0.35), (0, -0.35, 0), _RED), _box((0.12, 0.22, 0.3), (0, 0, 0), _DARK),
                        _box((0.15, 0.14, 0.35), (0, 0.35, 0), _WHITE)), "sway", 1.0),
    "Mandolin": Thing((*_string((0.45, 0.15, 0.08), (0.2, 0.26), 0.4, False), _disc(0.07, 0.07, (0, -0.15, 0), _DARK)),
                      "shake", 1.1),
}
"""Look of each event, by its name in the annotations of AVE and in their order."""


def thing_body(thing: Thing, size: float, rng: np.random.Generator) -> str:
    """Return the MJCF of a thing whose colours are drawn around their mean.

    Args:
        thing: thing.
        size: factor on all lengths.
        rng: generator of the colours.
    """
    tint = rng.normal(0, 0.07, 3)
    geoms = []
    for kind, half, at, rgb, axis in thing.solids:
        colour = np.clip(np.array(rgb) + tint + rng.normal(0, 0.03, 3), 0.03, 0.97)
        geoms.append(geom(kind, [size * v for v in half], [size * v for v in at], colour.tolist(), axis))
    return "".join(geoms)


def thing_pose(thing: Thing, t_s: float, size: float, turn_rad: float, pace: float, phase: float) -> BodyPose:
    """Return the pose of a thing.

    Args:
        thing: thing.
        t_s: time in seconds, 0 to 10.
        size: factor on its lengths and its height.
        turn_rad: its direction, 0 towards the camera.
        pace: factor on the speed of its motion.
        phase: phase of its motion, 0 to 1.
    """
    wave = float(np.sin(2 * np.pi * (0.4 * pace * t_s + phase)))
    at, angles = np.array([0.0, 0.0, size * thing.height_m]), np.array([turn_rad, 0.0, 0.0])
    if thing.motion in ("drive", "fly"):
        at[1] = (pace * 0.25 * t_s + 2.4 * phase) % 2.4 - 1.2
        at[2] += 0.15 * wave if thing.motion == "fly" else 0.0
    elif thing.motion == "swing":
        angles[1] = 0.6 * wave
    elif thing.motion == "shake":
        at[1:] += 0.08 * np.array([wave, np.sin(9.1 * pace * t_s)])
        angles[1] = 0.15 * wave
    elif thing.motion == "hop":
        at[1:] += [0.25 * wave, 0.15 * abs(np.sin(5 * pace * t_s))]
    elif thing.motion == "sway":
        at[1] += 0.15 * wave
        angles[0] += 0.4 * wave
    return _pose(at, angles)


def _pose(at: Floats, angles: Floats) -> BodyPose:
    (px, py, pz), (x, y, z, w) = at.tolist(), quaternion_of(Rotation.from_euler("ZXY", angles).as_matrix())
    return (px, py, pz), (w, x, y, z)
