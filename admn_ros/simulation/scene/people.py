# SPDX-License-Identifier: Apache-2.0
"""People who walk through the room: how they look, and closed paths through and around the track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from admn_ros.simulation.scene.geometry import Box, Floats, rotation_z
from admn_ros.simulation.scene.sensor_node import SensorNode

Colour = tuple[float, float, float]

STRIDE_M = 1.35             # way of two steps
_FROM_NODE_M = 0.75         # a person closer to a camera would cover all of its image
_FROM_FURNITURE_M = 0.35
_FROM_WALL_M = 0.5
_TRIES = 60
_INNER_M = (1.2, 1.4)       # half axes of the path where no other fits: no node and no furniture is there

_SKIN: tuple[Colour, ...] = ((0.93, 0.76, 0.65), (0.82, 0.62, 0.48), (0.58, 0.40, 0.29), (0.36, 0.24, 0.18))
_HAIR: tuple[Colour, ...] = ((0.10, 0.08, 0.07), (0.26, 0.17, 0.10), (0.55, 0.42, 0.25), (0.55, 0.55, 0.55))


@dataclass(frozen=True)
class Person:
    """A person. Colours are gamma-encoded, 0 to 1.

    Attributes:
        height_m: height.
        shirt: colour of the upper clothes.
        trousers: colour of the lower clothes.
        skin: colour of face and hands.
        hair: colour of the hair.
        shoes: colour of the shoes.
    """

    height_m: float
    shirt: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    shoes: Colour

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Person:
        """Draw a person in everyday clothes; some wear the colours of the cars."""
        bright = float(rng.uniform(0.08, 0.9))
        shirt = np.clip(bright + rng.normal(0, 0.18, 3), 0.04, 0.95)
        trousers = np.clip(rng.uniform(0.06, 0.45) + rng.normal(0, 0.05, 3) + (0, 0, rng.uniform(0, 0.12)), 0.04, 0.8)
        return cls(float(rng.uniform(1.56, 1.90)), _colour(shirt), _colour(trousers),
                   _SKIN[int(rng.integers(len(_SKIN)))], _HAIR[int(rng.integers(len(_HAIR)))],
                   _colour(np.full(3, rng.uniform(0.05, 0.7))))


@dataclass(frozen=True)
class PersonState:
    """State of a person at one time.

    Attributes:
        position_m: position (2,) in `map`.
        heading_rad: direction of walking, from x counter-clockwise.
        velocity_mps: velocity (2,) in `map`.
        gait_rad: phase of the gait; a turn is two steps.
    """

    position_m: Floats
    heading_rad: float
    velocity_mps: Floats
    gait_rad: float


def walking_path(rng: np.random.Generator, room_half_m: tuple[float, float], clutter: Sequence[Box],
                 nodes: Sequence[SensorNode]) -> Floats:
    """Draw a closed path (M, 2) through and around the track, away from nodes, furniture and walls."""
    half = np.array(room_half_m) - _FROM_WALL_M
    for _ in range(_TRIES):
        count = int(rng.integers(4, 8))
        angle = rng.uniform(0, 2 * np.pi) + np.arange(count) * (2 * np.pi / count) + rng.uniform(-0.5, 0.5, count)
        reach = rng.uniform(0.1, 0.95, count)[:, None] * half
        path = _smooth(reach * np.stack([np.cos(angle), np.sin(angle)], axis=1))
        if np.all(np.abs(path) <= half) and _is_free(path, clutter, nodes):
            return path[::-1] if rng.random() < 0.5 else path
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    return np.stack([_INNER_M[0] * np.cos(turn), _INNER_M[1] * np.sin(turn)], axis=1)


def _smooth(corners: Floats) -> Floats:
    """Return a closed Catmull-Rom curve (40 N, 2) through points (N, 2)."""
    u = np.linspace(0, 1, 40, endpoint=False)[None, :, None]
    before, here, after, beyond = (np.roll(corners, shift, axis=0)[:, None] for shift in (1, 0, -1, -2))
    curve: Floats = 0.5 * (2 * here + (after - before) * u + (2 * before - 5 * here + 4 * after - beyond) * u**2
                           + (3 * here - before - 3 * after + beyond) * u**3)
    return curve.reshape(-1, 2)


def _is_free(path: Floats, clutter: Sequence[Box], nodes: Sequence[SensorNode]) -> bool:
    for node in nodes:
        if np.linalg.norm(path - node.base.translation_m[:2], axis=1).min() < _FROM_NODE_M:
            return False
    for box in clutter:
        local = (path - np.array(box.centre_m[:2])) @ rotation_z(box.yaw_rad)[:2, :2]
        if np.any(np.all(np.abs(local) < np.array(box.half_m[:2]) + _FROM_FURNITURE_M, axis=1)):
            return False
    return True


def _colour(values: Floats) -> Colour:
    r, g, b = (float(v) for v in values)
    return r, g, b
