# SPDX-License-Identifier: Apache-2.0
"""Description of a simulated room: size, clutter, sensor nodes, target and appearance. Immutable."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from admn_ros.errors import InputError
from admn_ros.simulation.difficulty import PLAIN, Difficulty
from admn_ros.simulation.scene.furnishing import furnish
from admn_ros.simulation.scene.geometry import Box, Pose, rotation_z
from admn_ros.simulation.scene.people import Person
from admn_ros.simulation.scene.sensor_node import MAX_NODES, SensorNode

TARGETS = ("red_car", "green_car", "none")
TARGET_SHARES = (0.45, 0.45, 0.10)

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Viewpoints:
    """Ranges from which the poses of the sensor nodes are drawn.

    Attributes:
        azimuth_deg: range of each node's azimuth, seen from the middle of the track, counter-clockwise from x.
        height_m: ranges of the height above the floor. Each node has one of them, with equal probability.
        beyond_m: range of the distance outside `REACH_HALF_M`.
    """

    azimuth_deg: tuple[tuple[float, float], ...]
    height_m: tuple[tuple[float, float], ...]
    beyond_m: tuple[float, float]


# Train and held_out share no azimuth and no height, so that held_out tests new viewpoints. Moved shows a calibration
# how errors grow away from train: below and above it, but not at the heights and azimuths of held_out.
_TRAIN_AZIMUTH_DEG = ((-120, -45), (0, 75), (120, 195))
VIEWPOINTS = {
    "train": Viewpoints(_TRAIN_AZIMUTH_DEG, ((0.62, 0.90),), (0.0, 0.45)),
    "held_out": Viewpoints(((-35, -10), (85, 110), (205, 230)), ((0.95, 1.20),), (0.0, 0.45)),
    "moved": Viewpoints(_TRAIN_AZIMUTH_DEG, ((0.40, 0.58), (0.62, 0.90), (1.25, 1.50)), (0.0, 0.45)),
}
# Tripods are outside this half size, so that the car does not touch their legs.
REACH_HALF_M = (1.75, 2.05)
# Azimuth, distance beyond, height and rotation away from the middle of the default nodes, roughly as in GDTM's figures.
_DEFAULT_NODES = ((-83.0, 0.02, 0.76, 5.0), (37.0, 0.05, 0.72, -7.0), (158.0, 0.04, 0.80, 6.0))


@dataclass(frozen=True)
class Lamp:
    """A lamp.

    Attributes:
        position_m: position in `map`.
        intensity: 1.0 makes white paper below it white.
    """

    position_m: tuple[float, float, float]
    intensity: float


@dataclass(frozen=True)
class Look:
    """Appearance of a room. Colours are gamma-encoded, 0 to 1 per channel, as in a well exposed image.

    Attributes:
        wall_rgb: base colour of the walls.
        floor_rgb: base colour of the floor.
        mat_rgb: base colour of the mat.
        floor: "tiles" or "carpet".
        walls: items on the walls at +y, -x, -y and +x, left to right, from `furnishing.WALL_ITEMS`.
        lamps: lamps; the first casts the shadows.
        ambient: ambient light, as a share of full light.
        white_balance: gains of red, green and blue after the camera's white balance.
        clutter_materials: material of each box of `Scene.clutter`, from `furnishing.MATERIALS`; "plain" for boxes
            beyond the last entry.
    """

    wall_rgb: Colour = (0.82, 0.81, 0.78)
    floor_rgb: Colour = (0.66, 0.64, 0.59)
    mat_rgb: Colour = (0.245, 0.25, 0.255)
    floor: str = "tiles"
    walls: tuple[tuple[str, ...], ...] = (("whiteboard",), ("door", "screen"), ("whiteboard", "whiteboard"), ("door",))
    lamps: tuple[Lamp, ...] = (Lamp((0.4, -0.3, 2.6), 0.55),)
    ambient: float = 0.42
    white_balance: Colour = (1.0, 1.0, 1.0)
    clutter_materials: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scene:
    """A room with its clutter, its sensor nodes and the class of its target.

    Frame `map` (REP-103): metres, origin in the middle of the track on the floor, z up.
    OptiTrack's frame, which GDTM's labels use, has y up: (x, y, z) there is (x, -z, y) in `map`.

    Attributes:
        seed: seed of everything random in the room.
        room_half_m: half the inner size of the room along x and y.
        ceiling_m: height of the ceiling.
        clutter: static boxes, without the tripods.
        nodes: sensor nodes.
        target: "red_car", "green_car" or "none".
        look: appearance, for renderers alone.
        second_car: whether a blue car drives in the room that is not the target.
        people: people who walk through the room.
    """

    seed: int
    room_half_m: tuple[float, float]
    ceiling_m: float
    clutter: tuple[Box, ...]
    nodes: tuple[SensorNode, ...]
    target: str
    look: Look = field(default_factory=Look)
    second_car: bool = False
    people: tuple[Person, ...] = ()

    @classmethod
    def seeded(cls, seed: int, target: str | None = None, viewpoints: str = "default", nodes: int = 3,
               difficulty: Difficulty = PLAIN) -> Scene:
        """Draw a room like GDTM's from a seed.

        Walls, colours, light, clutter and, for `VIEWPOINTS`, the poses of the nodes follow from the seed. No
        clutter is between a node and the dashed line.

        Args:
            seed: 0 to 2^63 - 1.
            target: "red_car", "green_car", "none", or None to draw it (45 %, 45 % and 10 %).
            viewpoints: "default" for one fixed set of poses, or "train", "held_out" or "moved" (`VIEWPOINTS`).
            nodes: sensor nodes, 1 to 3.
            difficulty: how often there is a second car, and how many people there are at most.

        Raises:
            InputError: an argument is out of range.
        """
        if not 0 <= seed < 2**63:
            raise InputError("seed", seed, "[0, 2^63)")
        if target is not None and target not in TARGETS:
            raise InputError("target", repr(target), f"{', '.join(TARGETS)}, or None")
        if viewpoints not in ("default", *VIEWPOINTS):
            raise InputError("viewpoints", repr(viewpoints), "default, " + ", ".join(VIEWPOINTS))
        if not 1 <= nodes <= MAX_NODES:
            raise InputError("nodes", nodes, f"1 to {MAX_NODES}")
        # Each part of the room has its own generator, so that one choice does not change the others.
        drawn = str(np.random.default_rng([seed, 21]).choice(TARGETS, p=TARGET_SHARES))
        stations = _stations(np.random.default_rng([seed, 22]), viewpoints, nodes)
        rng = np.random.default_rng([seed, 23])
        half = (float(rng.uniform(3.1, 4.0)), float(rng.uniform(3.4, 4.3)))
        pieces = furnish(np.random.default_rng([seed, 24]), half, stations)
        look = _look(np.random.default_rng([seed, 25]), half, tuple(material for _, material in pieces))
        return cls(seed, half, float(rng.uniform(2.5, 3.0)), tuple(box for box, _ in pieces), stations,
                   drawn if target is None else target, look,
                   bool(np.random.default_rng([seed, 26]).random() < difficulty.second_car),
                   _people(np.random.default_rng([seed, 27]), difficulty.people))


def _people(rng: np.random.Generator, most: int) -> tuple[Person, ...]:
    return tuple(Person.drawn(rng) for _ in range(int(rng.integers(0, most + 1))))


def _stations(rng: np.random.Generator, viewpoints: str, count: int) -> tuple[SensorNode, ...]:
    """Draw the sensor nodes of a set of viewpoints."""
    stations = []
    for k in range(MAX_NODES):
        if viewpoints == "default":
            azimuth, beyond, height, aside = _DEFAULT_NODES[k]
            ahead = 0.75
        else:
            allowed = VIEWPOINTS[viewpoints]
            azimuth, beyond = float(rng.uniform(*allowed.azimuth_deg[k])), float(rng.uniform(*allowed.beyond_m))
            heights_m = allowed.height_m[int(rng.integers(len(allowed.height_m))) if len(allowed.height_m) > 1 else 0]
            height, aside = float(rng.uniform(*heights_m)), float(rng.uniform(-10, 10))
            ahead = float(rng.uniform(0.3, 1.0))
        stations.append(_station(f"node{k + 1}", azimuth, beyond, height, aside, ahead))
    return tuple(stations[:count])


def _station(name: str, azimuth_deg: float, beyond_m: float, height_m: float, aside_deg: float,
             ahead_m: float) -> SensorNode:
    """Return a node whose optical axes meet the floor `ahead_m` behind the middle of the track."""
    angle = np.deg2rad(azimuth_deg)
    way = np.array([np.cos(angle), np.sin(angle)])
    distance = float(np.min(np.array(REACH_HALF_M) / np.maximum(np.abs(way), 1e-9))) + beyond_m
    tilt = float(np.arctan2(height_m, distance + ahead_m))
    turn = rotation_z(float(angle + np.pi + np.deg2rad(aside_deg)))
    return SensorNode(name, Pose(turn, np.array([*(distance * way), height_m])), tilt)


def _look(rng: np.random.Generator, half_m: tuple[float, float], materials: tuple[str, ...]) -> Look:
    """Draw colours, wall items and light."""
    wall, floor, mat = rng.uniform(0.72, 0.88), rng.uniform(0.52, 0.72), rng.uniform(0.20, 0.29)
    walls = [["whiteboard"], ["door", "screen"], ["whiteboard", "whiteboard"], ["door", "poster"], ["pinboard"],
             ["screen"], ["window"], ["poster", "whiteboard"], []]
    chosen = rng.permutation(len(walls))[:4]
    lamps = [Lamp((float(rng.uniform(-1.2, 1.2)), float(rng.uniform(-1.2, 1.2)), 2.5), float(rng.uniform(0.4, 0.6)))]
    side = float(rng.choice([-1.0, 1.0]))
    lamps.append(Lamp((side * half_m[0], float(rng.uniform(-2, 2)), 1.8), float(rng.uniform(0.05, 0.2))))
    warm = float(rng.normal(0, 0.035))
    return Look(
        wall_rgb=_near(rng, wall, 0.011), floor_rgb=_near(rng, floor, 0.014, warm=0.03), mat_rgb=_near(rng, mat, 0.008),
        floor="tiles" if rng.random() < 0.75 else "carpet", walls=tuple(tuple(walls[i]) for i in chosen),
        lamps=tuple(lamps), ambient=float(rng.uniform(0.36, 0.48)),
        white_balance=(1 + warm, 1 + float(rng.normal(0, 0.008)), 1 - warm), clutter_materials=materials)


def _near(rng: np.random.Generator, grey: float, spread: float, warm: float = 0.0) -> Colour:
    """Draw a colour close to a grey."""
    r, g, b = (float(v) for v in np.clip(grey + rng.normal(0, spread, 3) + (warm, 0, -warm), 0.03, 0.95))
    return r, g, b
