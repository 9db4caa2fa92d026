# SPDX-License-Identifier: Apache-2.0
"""Point scatterers of the room for a 77 GHz radar: position, amplitude and velocity.

Amplitudes are those at 1 m on the axis of the antennas; `fmcw` adds distance, antenna pattern and phase. Metal near the
middle of the car (motor, battery, axles) dominates its echoes, because a polycarbonate body is nearly transparent at
77 GHz. The strongest echo is therefore at the labelled position and not on the near bumper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from admn_ros.simulation.scene.car import CAR_CENTRE_Z_M, CAR_SIZE_M, CarState
from admn_ros.simulation.scene.geometry import Box, Floats, rotation_z
from admn_ros.simulation.scene.scene import Scene
from admn_ros.simulation.scene.sensor_node import SensorNode

# Amplitudes at 1 m, in units of the receiver noise of one sample.
CAR_ECHO = 14.0
_BROADSIDE = 0.8            # share of CAR_ECHO that the flat long side adds at normal incidence
_BROADSIDE_RAD = 0.25
_CORNER = 0.30
_WHEEL = 0.12
_FADING = 0.2               # standard deviation of the middle's log amplitude: it represents many points
_ROUGH = 20.0               # of a square metre of rough surface
_MIRROR = 50.0              # of a square metre of smooth surface at normal incidence
_FLOOR = 1.5
_SPOTS = 12                 # rough points of a face
_WHEEL_SPREAD = 0.7         # relative speed of points on a tyre to their axle, along the car


@dataclass(frozen=True)
class Echoes:
    """Point scatterers.

    Attributes:
        position_m: positions (N, 3) in `map`.
        amplitude: amplitudes (N,) at 1 m.
        velocity_mps: velocities (N, 3) in `map`.
    """

    position_m: Floats
    amplitude: Floats
    velocity_mps: Floats

    @classmethod
    def still(cls, position_m: Floats, amplitude: Floats) -> Echoes:
        """Return scatterers that do not move."""
        return cls(position_m, amplitude, np.zeros_like(position_m))

    def at(self, chosen: npt.NDArray[np.bool_]) -> Echoes:
        """Return the chosen (N,) scatterers."""
        return Echoes(self.position_m[chosen], self.amplitude[chosen], self.velocity_mps[chosen])

    @classmethod
    def joined(cls, parts: Sequence[Echoes]) -> Echoes:
        """Return the scatterers of several parts."""
        return cls(np.vstack([p.position_m for p in parts]), np.concatenate([p.amplitude for p in parts]),
                   np.vstack([p.velocity_mps for p in parts]))


def car_echoes(car: CarState, velocity_mps: Floats, radar_m: Floats, rng: np.random.Generator) -> Echoes:
    """Return the scatterers of the car for one radar: its middle, four corners, four wheels.

    Args:
        car: state of the car at one time.
        velocity_mps: velocity (2,) in `map`.
        radar_m: position of the radar (3,) in `map`.
        rng: generator of the rotation of the wheels and of the fading of the middle.
    """
    length, width, _ = CAR_SIZE_M
    turn = rotation_z(float(car.heading_rad))
    middle = np.array([*np.asarray(car.position_m, np.float64), CAR_CENTRE_Z_M])
    towards = turn.T @ (radar_m - middle)
    towards /= np.linalg.norm(towards)
    # Angle between the line of sight and the normal of the long side, the same from left and right.
    askew = np.arcsin(np.clip(abs(towards[0]), 0.0, 1.0))
    centre_gain = 1 + _BROADSIDE * np.exp(-(askew / _BROADSIDE_RAD) ** 2)
    corners = np.array([[x, y, 0.0] for x in (length / 2, -length / 2) for y in (width / 2, -width / 2)])
    outward = corners / np.linalg.norm(corners, axis=1, keepdims=True)
    facing = np.clip(outward @ towards, 0.0, None)
    wheels = np.array([[x, y, -0.03] for x in (0.11, -0.11) for y in (width / 2 - 0.012, 0.012 - width / 2)])
    local = np.vstack([np.zeros((1, 3)), corners, wheels])
    centre_gain *= np.exp(_FADING * rng.standard_normal())
    amplitude = CAR_ECHO * np.concatenate([[centre_gain], _CORNER * (0.2 + facing), np.full(4, _WHEEL)])
    velocity = np.tile([*velocity_mps, 0.0], (9, 1))
    velocity[5:] *= 1 + _WHEEL_SPREAD * np.sin(rng.uniform(0, 2 * np.pi, (4, 1)))
    return Echoes(local @ turn.T + middle, amplitude, velocity)


def clutter_echoes(scene: Scene, node: SensorNode) -> Echoes:
    """Return the static scatterers for the radar of a node: furniture, tripods of other nodes, walls, floor.

    Points behind a box are left out. The same scene and node give the same points.
    """
    radar_m = node.sensor("radar").translation_m
    rng = np.random.default_rng([scene.seed, 77, *node.name.encode()])
    boxes = [*scene.clutter, *tripods(scene.nodes, without=node.name)]
    points, amplitudes = [], []
    for face in [f for box in boxes for f in _faces(box)] + _walls(scene):
        spots, echo = face.echoes(radar_m, rng)
        points.append(spots)
        amplitudes.append(echo)
    half = np.array(scene.room_half_m)
    floor = np.column_stack([rng.uniform(-half, half, (80, 2)), np.zeros(80)])
    points.append(floor)
    amplitudes.append(rng.rayleigh(_FLOOR, 80))
    position, amplitude = np.vstack(points), np.concatenate(amplitudes)
    seen = (amplitude > 0) & ~hidden(boxes, radar_m, position)
    return Echoes.still(position[seen], amplitude[seen])


def tripods(nodes: Sequence[SensorNode], without: str) -> list[Box]:
    """Return the housing and the pole of each node but one."""
    boxes = []
    for node in nodes:
        if node.name == without:
            continue
        x, y, z = node.base.translation_m.tolist()
        yaw = float(np.arctan2(node.base.rotation[1, 0], node.base.rotation[0, 0]))
        boxes.append(Box((x, y, z), (0.09, 0.14, 0.09), (0.5,) * 3, yaw))
        boxes.append(Box((x, y, (z - 0.09) / 2), (0.02, 0.02, max(z - 0.09, 0.02) / 2), (0.1,) * 3, yaw))
    return boxes


def hidden(boxes: Sequence[Box], viewpoint_m: Floats, points_m: Floats) -> npt.NDArray[np.bool_]:
    """Return which points (N, 3) a box hides from a viewpoint (3,)."""
    covered = np.zeros(len(points_m), np.bool_)
    for box in boxes:
        # The offset keeps rays off the axes: the intersection divides by each component.
        enter, _ = box.hit(viewpoint_m, points_m - viewpoint_m + 1e-7)
        covered |= enter < 1 - 1e-6
    return covered


@dataclass(frozen=True)
class _Face:
    """A rectangle with its centre (3,), two half edges (3,) and outward normal (3,)."""

    centre: Floats
    edges: tuple[Floats, Floats]
    normal: Floats

    def echoes(self, radar_m: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return rough points and, last, the point of specular reflection (_SPOTS + 1, 3), with their amplitudes.

        An amplitude is 0 where there is no reflection.
        """
        spread = rng.uniform(-1, 1, (_SPOTS, 2))
        # A heavier tail than Rayleigh's: edges, screws and handles are stronger than plain surfaces.
        strength = rng.weibull(1.1, _SPOTS + 1)
        a, b = self.edges
        height = float((radar_m - self.centre) @ self.normal)
        foot = radar_m - height * self.normal - self.centre
        along = np.array([foot @ a / (a @ a), foot @ b / (b @ b)])
        spots = self.centre + np.vstack([spread, np.clip(along, -1, 1)]) @ np.stack([a, b])
        area = 4 * float(np.linalg.norm(a) * np.linalg.norm(b))
        away = radar_m - spots
        cosine = np.clip(away @ self.normal / np.linalg.norm(away, axis=1), 0, 1)
        echo = strength * _ROUGH * np.sqrt(area / _SPOTS) * cosine
        # A specular reflection comes from at most a few square metres: the rest returns out of phase.
        echo[-1] = _MIRROR * np.sqrt(min(area, 2.0)) * strength[-1] if np.all(np.abs(along) <= 1) else 0.0
        return spots, echo if height > 0 else np.zeros(_SPOTS + 1)


def _faces(box: Box) -> list[_Face]:
    """Return the four sides and the top of a box."""
    turn = rotation_z(box.yaw_rad)
    centre, half = np.array(box.centre_m), np.array(box.half_m)
    axes = [turn[:, k] * half[k] for k in range(3)]
    faces = []
    for k, sign in ((0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0), (2, 1.0)):
        a, b = (axes[j] for j in range(3) if j != k)
        faces.append(_Face(centre + sign * axes[k], (a, b), sign * turn[:, k]))
    return faces


def _walls(scene: Scene) -> list[_Face]:
    """Return the four walls of the room, seen from inside."""
    half = np.array([*scene.room_half_m, scene.ceiling_m / 2])
    middle = np.array([0.0, 0.0, half[2]])
    axes = np.diag(half)
    return [_Face(middle + sign * axes[k], (axes[1 - k], axes[2]), -sign * np.eye(3)[k])
            for k in (0, 1) for sign in (1.0, -1.0)]
