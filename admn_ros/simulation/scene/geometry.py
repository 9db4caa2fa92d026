# SPDX-License-Identifier: Apache-2.0
"""The scene of the demo recording: a small car on a taped track, and sensor nodes around it.

It follows the room of GDTM in size (a 3.0 x 3.6 m mat, three nodes), not in detail. World frame
`map`: metres, origin in the middle of the track, z up. All here is geometry and motion; what a sensor
makes of it is in `cameras`, `radar` and `acoustics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError

Floats = npt.NDArray[np.float64]

MAT_HALF_M = (1.5, 1.8)
ROOM_HALF_M = (3.4, 3.8)
CEILING_M = 2.7
LAMP_M = (0.4, -0.3, 2.6)
CAR_COLOURS: dict[str, tuple[float, float, float]] = {"red": (0.75, 0.03, 0.03), "green": (0.22, 0.62, 0.05)}
CAR_SIZE_M = (0.36, 0.17, 0.12)     # length, width, height: a 1:12 model car
CAR_CENTRE_Z_M = CAR_SIZE_M[2] / 2
MAX_NODES = 3


@dataclass(frozen=True)
class RoundedSquare:
    """A square with round corners around the origin: centre to side `half_m`, corner `radius_m`."""

    half_m: float
    radius_m: float

    @property
    def length_m(self) -> float:
        """Length of the closed line."""
        return 8 * (self.half_m - self.radius_m) + 2 * np.pi * self.radius_m

    def at(self, distance_m: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Positions (..., 2) and headings (...,) rad after a distance, counter-clockwise from the right side."""
        quarter_m, straight = self.length_m / 4, 2 * (self.half_m - self.radius_m)
        distance = np.asarray(distance_m, dtype=np.float64) % self.length_m
        quarter = np.floor(distance / quarter_m)
        along = distance - quarter * quarter_m
        turn = np.clip((along - straight) / self.radius_m, 0, np.pi / 2)
        inner = self.half_m - self.radius_m
        x = inner + self.radius_m * np.cos(turn)
        y = np.minimum(along, straight) - inner + self.radius_m * np.sin(turn)
        c, s = np.cos(quarter * np.pi / 2), np.sin(quarter * np.pi / 2)
        heading = np.pi / 2 * (1 + quarter) + turn
        return np.stack([c * x - s * y, s * x + c * y], axis=-1), (heading + np.pi) % (2 * np.pi) - np.pi

    def signed_distance(self, x: Floats, y: Floats) -> Floats:
        """Distance to the line in metres, negative inside."""
        qx, qy = np.abs(x) - self.half_m + self.radius_m, np.abs(y) - self.half_m + self.radius_m
        outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
        distance: Floats = outside + np.minimum(np.maximum(qx, qy), 0) - self.radius_m
        return distance

    def along(self, x: Floats, y: Floats) -> Floats:
        """Distance in metres from the middle of the nearest side, along the line (mirrored each way)."""
        inner = self.half_m - self.radius_m
        small, large = np.minimum(np.abs(x), np.abs(y)), np.maximum(np.abs(x), np.abs(y))
        turn = np.arctan2(small - inner, large - inner)
        return np.where(small < inner, small, inner + self.radius_m * turn)


DRIVEN = RoundedSquare(1.085, 0.45)
OUTER_LINE = RoundedSquare(1.42, 0.5)
INNER_LINE = RoundedSquare(0.75, 0.2)


@dataclass(frozen=True)
class CarState:
    """Where the car is at some instants: position_m (..., 2), heading_rad (...,), speed_mps (...,)."""

    position_m: Floats
    heading_rad: Floats
    speed_mps: Floats


@dataclass(frozen=True)
class Motion:
    """The car's drive along the dashed line: speed_mps on average, swinging by `swing` of it.

    The driven distance is known in closed form, so the motor's phase can be evaluated at any time.
    """

    start_m: float
    speed_mps: float
    swing: float = 0.35
    swing_hz: float = 0.22
    phase_rad: float = 0.0

    @classmethod
    def seeded(cls, seed: int) -> Motion:
        """A drive drawn from a seed."""
        rng = np.random.default_rng([seed, 1])
        return cls(start_m=float(rng.uniform(0, DRIVEN.length_m)), speed_mps=float(rng.uniform(1.0, 1.25)),
                   phase_rad=float(rng.uniform(0, 2 * np.pi)))

    def distance_m(self, t_s: npt.ArrayLike) -> Floats:
        """Driven distance at times in seconds, any shape."""
        t = np.asarray(t_s, dtype=np.float64)
        omega = 2 * np.pi * self.swing_hz
        swing = self.speed_mps * self.swing / omega
        distance: Floats = self.start_m + self.speed_mps * t + swing * np.sin(omega * t + self.phase_rad)
        return distance

    def at(self, t_s: npt.ArrayLike) -> CarState:
        """State at times in seconds, any shape."""
        t = np.asarray(t_s, dtype=np.float64)
        position, heading = DRIVEN.at(self.distance_m(t))
        omega = 2 * np.pi * self.swing_hz
        speed = self.speed_mps * (1 + self.swing * np.cos(omega * t + self.phase_rad))
        return CarState(position, heading, speed)


@dataclass(frozen=True)
class Pose:
    """A frame in its parent: rotation (3, 3) whose columns are the frame's axes, translation_m (3,)."""

    rotation: Floats
    translation_m: Floats

    def __matmul__(self, other: Pose) -> Pose:
        return Pose(self.rotation @ other.rotation, self.rotation @ other.translation_m + self.translation_m)

    def into(self, points_m: Floats) -> Floats:
        """Parent's points (..., 3) as the frame sees them."""
        moved: Floats = (points_m - self.translation_m) @ self.rotation
        return moved


@dataclass(frozen=True)
class SensorNode:
    """A tripod with all sensors. `base` is level, x towards the track; sensors are fixed to it."""

    name: str
    base: Pose
    tilt_rad: float = 0.27

    @property
    def sensors(self) -> dict[str, Pose]:
        """Frame suffix -> pose in `base`. The optical frames follow REP-103: z forward, x right."""
        c, s = np.cos(self.tilt_rad), np.sin(self.tilt_rad)
        optical = np.array([[0, -s, c], [-1, 0, 0], [0, -c, -s]])
        level = np.eye(3)
        return {
            "rgb_optical": Pose(optical, np.array([0.05, 0.02, 0.03])),
            "depth_optical": Pose(optical, np.array([0.05, -0.02, 0.03])),
            "radar": Pose(level, np.array([0.05, 0.0, -0.05])),
            "microphones": Pose(level, np.array([0.0, 0.0, 0.12])),
        }

    def sensor(self, suffix: str) -> Pose:
        """Pose of a sensor in `map`."""
        return self.base @ self.sensors[suffix]


def sensor_nodes(count: int = MAX_NODES) -> list[SensorNode]:
    """The first `count` of three nodes, 120 degrees apart, 2.5 m from the centre, looking at it."""
    if not 1 <= count <= MAX_NODES:
        raise InputError("nodes", count, f"1 to {MAX_NODES}")
    nodes = []
    for k in range(count):
        angle = np.deg2rad(-90 + 120 * k)
        position = np.array([2.5 * np.cos(angle), 2.5 * np.sin(angle), 0.8])
        nodes.append(SensorNode(f"node{k + 1}", Pose(rotation_z(float(angle + np.pi)), position)))
    return nodes


def rotation_z(angle_rad: float) -> Floats:
    """Rotation matrix (3, 3) about z."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


@dataclass(frozen=True)
class Box:
    """A box: centre_m and half_m (3,), turned by yaw_rad about its vertical, linear-light albedo (3,)."""

    centre_m: tuple[float, float, float]
    half_m: tuple[float, float, float]
    albedo: tuple[float, float, float]
    yaw_rad: float = 0.0

    def hit(self, origin: Floats, rays: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Where rays (N, 3) from an origin enter: ray parameter (N,), inf if they miss; normal (N, 3) in map."""
        turn = rotation_z(self.yaw_rad).astype(rays.dtype)
        start = ((origin - np.array(self.centre_m)) @ turn).astype(rays.dtype)
        # Slabs, axis by axis: NumPy is slow at reducing over an axis of three.
        local = np.ascontiguousarray((rays @ turn).T)
        half = np.array(self.half_m, rays.dtype)[:, None]
        side = np.sign(local)
        with np.errstate(divide="ignore", invalid="ignore"):
            first = (-side * half - start[:, None]) / local
            last = (side * half - start[:, None]) / local
        enter = np.maximum(np.maximum(first[0], first[1]), first[2])
        leave = np.minimum(np.minimum(last[0], last[1]), last[2])
        normal = np.where(first == enter, -side, rays.dtype.type(0))
        enter = np.where((enter <= leave) & (enter > 0), enter, rays.dtype.type(np.inf))
        return enter, normal.T @ turn.T


def car_boxes(position_m: Floats, heading_rad: float, colour: str) -> list[Box]:
    """The car as boxes: body, cabin, four wheels, lamps."""
    if colour not in CAR_COLOURS:
        raise InputError("car", repr(colour), " or ".join(CAR_COLOURS))
    paint, black, white, tail = CAR_COLOURS[colour], (0.015,) * 3, (0.9, 0.9, 0.8), (0.5, 0.0, 0.0)
    length, width, height = CAR_SIZE_M
    parts: list[tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]] = [
        ((0, 0, 0.052), (length / 2, width / 2 - 0.012, 0.026), paint),
        ((-0.03, 0, 0.095), (0.085, width / 2 - 0.025, 0.019), (0.02, 0.03, 0.05)),
        ((-0.03, 0, height - 0.003), (0.07, width / 2 - 0.03, 0.003), paint),
        ((length / 2, 0, 0.055), (0.004, 0.06, 0.008), white),
        ((-length / 2, 0, 0.06), (0.004, 0.06, 0.007), tail),
    ]
    parts += [((x, y, 0.03), (0.032, 0.012, 0.03), black)
              for x in (0.11, -0.11) for y in (width / 2 - 0.012, -width / 2 + 0.012)]
    turn = rotation_z(heading_rad)
    boxes = []
    for centre, half, albedo in parts:
        x, y, z = (turn @ np.array(centre)).tolist()
        boxes.append(Box((x + float(position_m[0]), y + float(position_m[1]), z), half, albedo, heading_rad))
    return boxes


def furniture(without: str = "") -> list[Box]:
    """What stands in the room: cabinets, a table, boxes, and the tripods except that of node `without`."""
    boxes = [
        Box((-1.6, 3.55, 0.5), (1.1, 0.22, 0.5), (0.30, 0.16, 0.07)),
        Box((1.5, 3.5, 0.36), (0.8, 0.28, 0.36), (0.05, 0.05, 0.06)),
        Box((-3.1, -0.6, 0.45), (0.25, 0.9, 0.45), (0.12, 0.13, 0.16)),
        Box((3.1, 0.5, 0.75), (0.25, 0.5, 0.75), (0.35, 0.22, 0.12)),
        Box((2.9, -2.2, 0.2), (0.25, 0.3, 0.2), (0.05, 0.18, 0.45), 0.4),
        Box((-2.2, -3.3, 0.4), (0.9, 0.35, 0.4), (0.28, 0.27, 0.25)),
        Box((1.3, -3.55, 0.55), (0.5, 0.2, 0.55), (0.15, 0.10, 0.06)),
    ]
    for node in sensor_nodes():
        if node.name == without:
            continue
        x, y, z = node.base.translation_m.tolist()
        yaw = float(np.arctan2(node.base.rotation[1, 0], node.base.rotation[0, 0]))
        boxes.append(Box((x, y, z), (0.09, 0.14, 0.09), (0.55, 0.55, 0.55), yaw))
        boxes.append(Box((x, y, (z - 0.09) / 2), (0.02, 0.02, (z - 0.09) / 2), (0.04, 0.04, 0.04), yaw))
    return boxes
