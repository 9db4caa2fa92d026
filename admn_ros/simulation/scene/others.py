# SPDX-License-Identifier: Apache-2.0
"""Everyone in the room who moves and is not the target: a second car and people."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from admn_ros.simulation.scene.car import CarState
from admn_ros.simulation.scene.driving import LIMIT_HALF_M, Drive
from admn_ros.simulation.scene.geometry import Floats
from admn_ros.simulation.scene.people import STRIDE_M, PersonState, walking_path
from admn_ros.simulation.scene.scene import Scene
from admn_ros.simulation.scene.yielding import Pace, Positions, YieldingMotion

# Two cars touch below 0.40 m, nose to nose with their diagonals.
_CAR_PACE = Pace(slowest_mps=-1.5, fastest_mps=2.0, wish_mps=(0.5, 1.8), distance_m=0.7, touch_m=0.5)
# People slow down and do not stop: before a car that drives in laps, some would wait forever.
_WALKING_PACE = Pace(slowest_mps=0.25, fastest_mps=1.5, wish_mps=(0.7, 1.4), distance_m=0.5, touch_m=0.35)


@dataclass(frozen=True)
class Others:
    """State of the others at one time.

    Attributes:
        second_car: state of the second car; None without one.
        second_velocity_mps: its velocity (2,) in `map`.
        people: state of each person of the scene.
    """

    second_car: CarState | None = None
    second_velocity_mps: Floats | None = None
    people: tuple[PersonState, ...] = ()


NOBODY = Others()


class OtherMotions:
    """Motions of the others in a scene. Each yields to the target and to those before it.

    Args:
        scene: scene, whose seed draws the paths.
        drive: motion of the target; it yields to nobody.
    """

    def __init__(self, scene: Scene, drive: Drive) -> None:
        self._latest: tuple[float, Others] = (math.nan, NOBODY)   # all sensors of a frame ask for the same time
        met: list[Positions] = [lambda t: drive.at(t).position_m]
        self.second_car: YieldingMotion | None = None
        if scene.second_car:
            rng = np.random.default_rng([scene.seed, 51])
            path = _driven_path(rng)
            # Against the direction of the laps, it would have to reverse all the time.
            if _sense(drive.at(np.arange(0, 15, 0.25)).position_m) * _sense(path) < 0:
                path = path[::-1]
            self.second_car = YieldingMotion(path, _CAR_PACE, tuple(met), rng)
            met.append(self.second_car.positions)
        self.people: list[YieldingMotion] = []
        for k in range(len(scene.people)):
            rng = np.random.default_rng([scene.seed, 52, k])
            path = walking_path(rng, scene.room_half_m, scene.clutter, scene.nodes)
            self.people.append(YieldingMotion(path, _WALKING_PACE, tuple(met), rng))
            met.append(self.people[-1].positions)

    def at(self, t_s: float) -> Others:
        """Return the state at a time in seconds."""
        if t_s != self._latest[0]:
            self._latest = t_s, self._evaluate(t_s)
        return self._latest[1]

    def _evaluate(self, t_s: float) -> Others:
        people = tuple(_person_state(motion, t_s) for motion in self.people)
        if self.second_car is None:
            return Others(people=people) if people else NOBODY
        motion = self.second_car.at(t_s)
        car = CarState(motion.position_m[0], motion.heading_rad[0], np.abs(motion.speed_mps[0]))
        return Others(car, motion.velocity_mps[0], people)


def _person_state(motion: YieldingMotion, t_s: float) -> PersonState:
    now = motion.at(t_s)
    return PersonState(now.position_m[0], float(now.heading_rad[0]), now.velocity_mps[0],
                       float(2 * np.pi * now.way_m[0] / STRIDE_M))


def _driven_path(rng: np.random.Generator) -> Floats:
    """Draw a closed path (M, 2) over the mat: a bent ellipse, counter-clockwise."""
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    bend = np.ones_like(turn)
    for waves, depth in ((2, 0.07), (3, 0.05)):
        bend += depth * np.cos(waves * turn + rng.uniform(0, 2 * np.pi))
    path = np.stack([rng.uniform(0.75, 1.15) * np.cos(turn), rng.uniform(0.85, 1.4) * np.sin(turn)], axis=1)
    limit = np.array(LIMIT_HALF_M) - 0.02
    bounded: Floats = np.clip(path * bend[:, None] + rng.uniform(-0.12, 0.12, 2), -limit, limit)
    return bounded


def _sense(path: Floats) -> float:
    """Return the area that a path (N, 2) circles: positive counter-clockwise."""
    step = np.diff(path, axis=0)
    return float(np.sum(path[:-1, 0] * step[:, 1] - path[:-1, 1] * step[:, 0]))
