# SPDX-License-Identifier: Apache-2.0
"""Motion along a closed path that yields to others: it brakes, hurries or reverses to keep its distance.

The motion is planned in blocks by dynamic programming over place and speed, with the known motion of the others and
some seconds of foresight. It is a deterministic function of its arguments and time, whatever is asked first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from admn_ros.simulation.scene.geometry import Floats

STEP_M = 0.025              # between places of the plan
STEP_S = 0.1                # between times of the plan: one place per step is 0.25 m/s
_BLOCK, _FORESIGHT = 200, 60   # steps that are driven, and steps that are planned beyond them
_OFF_PACE = 0.02            # cost of a step that is 0.25 m/s off the wished speed
_CLOSE = 400.0              # cost of a step for each square metre of lacking distance
_TOUCH = 50.0               # further cost of a step closer than `Pace.touch_m`

Positions = Callable[[Floats], Floats]   # times (N,) in seconds to positions (N, 2) in metres


@dataclass(frozen=True)
class Pace:
    """How something moves along its path.

    Attributes:
        slowest_mps: lowest speed; negative for reversing.
        fastest_mps: highest speed.
        wish_mps: range of the speed without others.
        distance_m: distance that is kept from the middle of others.
        touch_m: distance that is never gone below while there is a way out.
    """

    slowest_mps: float
    fastest_mps: float
    wish_mps: tuple[float, float]
    distance_m: float
    touch_m: float


@dataclass(frozen=True)
class Motion:
    """State at times (N,): position (N, 2), heading of the path (N,), speed and signed way along it (N,)."""

    position_m: Floats
    heading_rad: Floats
    speed_mps: Floats
    way_m: Floats

    @property
    def velocity_mps(self) -> Floats:
        """Velocity (N, 2) in `map`."""
        way = np.stack([np.cos(self.heading_rad), np.sin(self.heading_rad)], axis=1)
        velocity: Floats = self.speed_mps[:, None] * way
        return velocity


class YieldingMotion:
    """Motion along a closed path past others.

    Args:
        path_m: closed path (M, 2), finely sampled, without its first point at the end.
        pace: speeds and distances.
        others: motions to keep a distance from.
        rng: generator of the start and of the wished speed.
    """

    def __init__(self, path_m: Floats, pace: Pace, others: Sequence[Positions], rng: np.random.Generator) -> None:
        self._points, self._step_m = even(path_m, STEP_M)
        ahead = np.roll(self._points, -1, axis=0) - np.roll(self._points, 1, axis=0)
        self._heading = np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0]))
        self._pace, self._others = pace, tuple(others)
        unit = STEP_M / STEP_S
        self._speeds = np.arange(round(pace.slowest_mps / unit), round(pace.fastest_mps / unit) + 1)
        self._rates, self._phases = rng.uniform(0.15, 0.9, 4), rng.uniform(0, 2 * np.pi, 4)
        self._first = int(rng.integers(len(self._points)))
        self._places: npt.NDArray[np.int64] = np.zeros(0, np.int64)   # way in steps at each time of the plan
        self._chosen = 0

    def at(self, t_s: npt.ArrayLike) -> Motion:
        """Return the state at times (N,) in seconds; before 0 it is that at 0."""
        t = np.maximum(np.atleast_1d(np.asarray(t_s, np.float64)), 0.0) / STEP_S + 0.5
        while t.size and t.max() + 2 >= len(self._places):
            self._plan()
        i = t.astype(np.int64)
        u = t - i
        # A quadratic B-spline: the acceleration is that of the plan.
        here, after = self._places[i].astype(np.float64), self._places[i + 1].astype(np.float64)
        before = np.where(i > 0, self._places[np.maximum(i - 1, 0)], 2 * here - after)
        way = (1 - u) ** 2 / 2 * before + (0.5 + u * (1 - u)) * here + u**2 / 2 * after
        speed = ((1 - u) * (here - before) + u * (after - here)) * self._step_m / STEP_S
        position, heading = self._place(way)
        return Motion(position, heading, speed, way * self._step_m)

    def positions(self, t_s: Floats) -> Floats:
        """Return positions (N, 2) at times (N,) in seconds."""
        return self.at(t_s).position_m

    def way_m(self, t_s: Floats) -> Floats:
        """Return the signed way (N,) along the path at times (N,) in seconds."""
        return self.at(t_s).way_m

    def _place(self, way: Floats) -> tuple[Floats, Floats]:
        """Return position and heading at a way in steps (N,)."""
        count = len(self._points)
        whole = np.floor(way)
        u = way - whole
        k = whole.astype(np.int64) % count
        after = (k + 1) % count
        turn = (self._heading[after] - self._heading[k] + np.pi) % (2 * np.pi) - np.pi
        position = self._points[k] + u[:, None] * (self._points[after] - self._points[k])
        return position, (self._heading[k] + u * turn + np.pi) % (2 * np.pi) - np.pi

    def _plan(self) -> None:
        """Plan the next block."""
        begin = max(len(self._places) - 1, 0)
        times: Floats = (begin + np.arange(_BLOCK + _FORESIGHT + 1, dtype=np.float64)) * STEP_S
        low, high = self._pace.wish_mps
        swing = np.sin(times[:, None] * self._rates + self._phases).mean(axis=1) * 1.5
        wish = (low + high) / 2 + (high - low) / 2 * np.clip(swing, -1, 1)
        away = _OFF_PACE * (self._speeds - wish[:, None] * (STEP_S / self._step_m)) ** 2
        ahead, costs = self._costs(away.astype(np.float32), self._closeness(times))
        if not self._places.size:
            self._start(ahead, float(wish[0]))
        place, chosen = int(self._places[-1]), self._chosen
        found = []
        for n in range(_BLOCK):
            near = range(max(chosen - 1, 0), min(chosen + 2, len(self._speeds)))
            chosen = min(near, key=lambda k: float(costs[n, place % len(self._points), k]))
            place += int(self._speeds[chosen])
            found.append(place)
        self._chosen = chosen
        self._places = np.concatenate([self._places, np.array(found, np.int64)])

    def _start(self, ahead: npt.NDArray[np.float32], wish_mps: float) -> None:
        """Start near the drawn place, where no other is."""
        self._chosen = int(np.argmin(np.abs(self._speeds - wish_mps * STEP_S / self._step_m)))
        count = len(self._points)
        off = (np.arange(count) - self._first + count // 2) % count - count // 2
        self._places = np.array([int(np.argmin(ahead[:, self._chosen] + 0.1 * np.abs(off)))], np.int64)

    def _closeness(self, times: Floats) -> npt.NDArray[np.float32]:
        """Return the cost (times, places) of being close to others."""
        cost = np.zeros((len(times), len(self._points)), np.float32)
        for other in self._others:
            gap = np.linalg.norm(other(times)[:, None] - self._points, axis=2)
            cost += _CLOSE * np.maximum(self._pace.distance_m - gap, 0) ** 2 + _TOUCH * (gap < self._pace.touch_m)
        return cost

    def _costs(self, off_pace: npt.NDArray[np.float32], close: npt.NDArray[np.float32],
               ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the least cost from the first time on by place and former speed, and by time, place and next speed."""
        count, kinds = len(self._points), len(self._speeds)
        reached = (np.arange(count)[:, None] + self._speeds) % count
        flat = reached * kinds + np.arange(kinds)
        best = np.zeros((count, kinds), np.float32)
        costs = np.empty((_BLOCK, count, kinds), np.float32)
        for n in range(len(close) - 2, -1, -1):
            cost = (best + close[n + 1][:, None]).take(flat) + off_pace[n]
            best = cost.copy()
            # The speed changes by at most one step: 2.5 m/s^2.
            np.minimum(best[:, 1:], cost[:, :-1], out=best[:, 1:])
            np.minimum(best[:, :-1], cost[:, 1:], out=best[:, :-1])
            if n < _BLOCK:
                costs[n] = cost
        return best, costs


def even(path_m: Floats, step_m: float) -> tuple[Floats, float]:
    """Sample a closed path (M, 2) evenly: points (N, 2), and the distance between two of them along the path."""
    closed = np.vstack([path_m, path_m[:1]])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    count = max(round(float(length[-1]) / step_m), 8)
    at = np.arange(count) * length[-1] / count
    return np.column_stack([np.interp(at, length, closed[:, k]) for k in range(2)]), float(length[-1]) / count
