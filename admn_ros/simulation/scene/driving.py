# SPDX-License-Identifier: Apache-2.0
"""Motion of the car: laps along the dashed line, or random driving over the mat.

A drive is a path and a speed along it. The path is made in blocks of tens of metres, on demand; every block begins and
ends at the same speed, so blocks do not depend on later ones. The speed along the path is the highest within the
desired speed, the lateral acceleration in curves, and the limits of motor and brakes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.simulation.scene.car import CarState
from admn_ros.simulation.scene.geometry import Floats
from admn_ros.simulation.scene.track import DRIVEN

KINDS = ("laps", "random")
MAX_SPEED_MPS = 2.0
LONGITUDINAL_MPS2 = 2.0     # used in the drive; the limit of the car is 2.5
LATERAL_MPS2 = 3.2          # likewise; the limit is 4
LIMIT_HALF_M = (1.35, 1.65)  # bounds of the car's middle
STEP_M = 0.02
BLOCK_M = 50.0
_HANDOVER_MPS = 0.6          # speed between blocks: slow enough for the sharpest curve
_HANDOVER_M = 0.3
_LOOP_ORDER = 17             # harmonics of the rounded square: smooths the steps of its curvature
_WANDER_HALF_M = (1.10, 1.38)  # bounds of the turning circles in random driving; the lag of steering needs the rest
_TURN_RADIUS_M = 0.42
_MAX_CURVATURE = 1 / 0.40
_STEERING_PER_M2 = 14.0      # largest change of curvature per metre of path


@dataclass(frozen=True)
class _Path:
    """A path in steps.

    Attributes:
        points: positions (N + 1, 2) in metres.
        tangents: unit vectors (N + 1, 2).
        wish_mps: desired speed (N + 1,).
        step_m: distance between two points along the path.
        stops_s: duration of a stop by the index of its point.
    """

    points: Floats
    tangents: Floats
    wish_mps: Floats
    step_m: float
    stops_s: dict[int, float]


@dataclass(frozen=True)
class _Block:
    """A path with times. Interval i starts at starts_s[i], way_m[i] and speed_mps[i] with acceleration_mps2[i]."""

    path: _Path
    starts_s: Floats
    way_m: Floats
    speed_mps: Floats
    acceleration_mps2: Floats
    end_s: float

    @property
    def length_m(self) -> float:
        return (len(self.path.points) - 1) * self.path.step_m


class Drive:
    """A drive: a deterministic function of seed, kind and time, for any t >= 0 in any order.

    The speed is 0 to 2 m/s, the acceleration below 2.5 m/s^2 along the path and below 4 m/s^2 across it. The heading is
    the direction of travel. The middle of the car stays within |x| < 1.35 m, |y| < 1.65 m.
    """

    def __init__(self, seed: int, kind: str = "laps") -> None:
        """Prepare the first block; see `seeded`."""
        if kind not in KINDS:
            raise InputError("kind", repr(kind), " or ".join(KINDS))
        if not 0 <= seed < 2**63:
            raise InputError("seed", seed, "[0, 2^63)")
        self.seed, self.kind = seed, kind
        self._rng = np.random.default_rng([seed, 11, KINDS.index(kind)])
        self._layout: _Laps | _Wander = _Laps(self._rng) if kind == "laps" else _Wander(self._rng)
        self._blocks: list[_Block] = []
        self._begins_s, self._begins_m = [0.0], [0.0]

    @classmethod
    def seeded(cls, seed: int, kind: str = "laps") -> Drive:
        """Draw a drive from a seed.

        Args:
            seed: 0 to 2^63 - 1.
            kind: "laps" (along the dashed line in either direction) or "random" (over the whole mat, with stops).

        Raises:
            InputError: an argument is out of range.
        """
        return cls(seed, kind)

    def at(self, t_s: npt.ArrayLike) -> CarState:
        """Return the state at times in seconds, of any shape.

        Raises:
            InputError: a time is negative or not finite.
        """
        t, position, tangent, speed, _ = self._evaluate(t_s)
        heading = np.arctan2(tangent[:, 1], tangent[:, 0])
        return CarState(position.reshape(*t.shape, 2), heading.reshape(t.shape), speed.reshape(t.shape))

    def velocity_mps(self, t_s: npt.ArrayLike) -> Floats:
        """Return the velocity (..., 2) in `map`, in m/s, at times in seconds of any shape."""
        t, _, tangent, speed, _ = self._evaluate(t_s)
        velocity: Floats = (tangent * speed[:, None]).reshape(*t.shape, 2)
        return velocity

    def distance_m(self, t_s: npt.ArrayLike) -> Floats:
        """Return the driven distance in metres since t = 0, at times in seconds of any shape."""
        t, _, _, _, distance = self._evaluate(t_s)
        return distance.reshape(t.shape)

    def _evaluate(self, t_s: npt.ArrayLike) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Return times as an array, and flat: position (N, 2), unit tangent (N, 2), speed (N,), distance (N,)."""
        t = np.asarray(t_s, dtype=np.float64)
        if not np.all(np.isfinite(t) & (t >= 0)):
            raise InputError("t_s", "a negative or non-finite time", "finite, at least 0")
        flat = t.reshape(-1)
        while flat.size and self._begins_s[-1] <= flat.max():
            self._extend()
        position, tangent = np.empty((flat.size, 2)), np.empty((flat.size, 2))
        speed, distance = np.empty(flat.size), np.empty(flat.size)
        which = np.searchsorted(self._begins_s, flat, side="right") - 1
        for number in np.unique(which):
            here = which == number
            way, speed[here] = _way_and_speed(self._blocks[number], flat[here] - self._begins_s[number])
            position[here], tangent[here] = _place(self._blocks[number].path, way)
            distance[here] = self._begins_m[number] + way
        return t, position, tangent, speed, distance

    def _extend(self) -> None:
        block = _timed(self._layout.lay())
        self._blocks.append(block)
        self._begins_s.append(self._begins_s[-1] + block.end_s)
        self._begins_m.append(self._begins_m[-1] + block.length_m)


class _Laps:
    """Makes paths along the dashed line that sway slowly to both sides."""

    def __init__(self, rng: np.random.Generator) -> None:
        samples, _ = DRIVEN.at(np.arange(2048) * DRIVEN.length_m / 2048)
        spectrum = np.fft.fft(samples[:, 0] + 1j * samples[:, 1]) / 2048
        order = np.fft.fftfreq(2048, 1 / 2048)
        keep = (np.abs(order) <= _LOOP_ORDER) & (np.abs(spectrum) > 1e-9)
        taper = np.exp(-(order[keep] / _LOOP_ORDER)**2)
        self._coefficients, self._order = spectrum[keep] * taper, order[keep]
        self._direction = float(rng.choice([-1.0, 1.0]))
        self._from_m = float(rng.uniform(0, DRIVEN.length_m))
        self._sway = _Waves(rng, 5, (0.15, 1.1), 0.13)
        self._wish = _Waves(rng, 6, (0.2, 1.6), 1.0)
        self._mean_mps = float(rng.uniform(1.05, 1.35))

    def lay(self) -> _Path:
        """Return the next block of the path."""
        fine = self._from_m + np.linspace(0, BLOCK_M, 10 * int(BLOCK_M / STEP_M) + 1)
        length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(self._point(fine))))])
        steps = int(np.ceil(length[-1] / STEP_M))
        d = np.interp(np.linspace(0, length[-1], steps + 1), length, fine)
        points, ahead = self._point(d), self._point(d + 1e-5) - self._point(d - 1e-5)
        tangent = ahead / np.abs(ahead)
        wish = np.clip(self._mean_mps + 0.75 * self._wish.at(d), 0.35, MAX_SPEED_MPS)
        self._from_m += BLOCK_M
        return _Path(_pairs(points), _pairs(tangent), wish, float(length[-1]) / steps, {})

    def _point(self, d: Floats) -> npt.NDArray[np.complex128]:
        """Return points as complex numbers at distances along the line."""
        angle = self._direction * d * (2 * np.pi / DRIVEN.length_m)
        waves = np.exp(1j * angle[:, None] * self._order) * self._coefficients
        along = (waves * self._order).sum(axis=1)  # outward normal: the derivative, rotated by 90 degrees
        point: npt.NDArray[np.complex128] = waves.sum(axis=1) + self._sway.at(d) * along / np.abs(along)
        return point


class _Wander:
    """Makes paths over the whole mat, by steering at random and away from the edge in time."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._pose = (float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.7, 0.7)), float(rng.uniform(-np.pi, np.pi)))
        self._curvature, self._from_m = 0.0, 0.0
        self._steer = _Waves(rng, 8, (0.5, 4.5), 2.4)
        self._wish = _Waves(rng, 6, (0.2, 1.6), 1.0)

    def lay(self) -> _Path:
        """Return the next block of the path."""
        steps = int(BLOCK_M / STEP_M)
        d: Floats = self._from_m + STEP_M * np.arange(steps + 1, dtype=np.float64)
        wanted = self._steer.at(d)
        rows = np.empty((steps + 1, 3))
        rows[0] = self._pose
        for i in range(steps):
            self._advance(float(wanted[i]))
            rows[i + 1] = self._pose
        self._from_m += BLOCK_M
        wish = np.clip(1.0 + 0.8 * self._wish.at(d), 0.3, MAX_SPEED_MPS)
        tangents = np.stack([np.cos(rows[:, 2]), np.sin(rows[:, 2])], axis=1)
        return _Path(rows[:, :2].copy(), tangents, wish, STEP_M, self._stops(steps))

    def _advance(self, wanted: float) -> None:
        x, y, heading = self._pose
        target = _steered(x, y, heading, wanted)
        change = _STEERING_PER_M2 * STEP_M
        self._curvature += min(max(target - self._curvature, -change), change)
        middle = heading + self._curvature * STEP_M / 2
        self._pose = (x + STEP_M * float(np.cos(middle)), y + STEP_M * float(np.sin(middle)),
                      heading + self._curvature * STEP_M)

    def _stops(self, steps: int) -> dict[int, float]:
        """Draw the stops of a block, some metres apart from each other and from its ends."""
        stops, at = {}, float(self._rng.uniform(3, 12))
        while at < BLOCK_M - 2:
            stops[min(round(at / STEP_M), steps - 1)] = float(self._rng.uniform(0.4, 3.0))
            at += float(self._rng.uniform(4, 16))
        return stops


def _steered(x: float, y: float, heading: float, wanted: float) -> float:
    """Return the wanted curvature while both turning circles are free, else that towards the free one."""
    across_x, across_y = -np.sin(heading) * _TURN_RADIUS_M, np.cos(heading) * _TURN_RADIUS_M
    left = max(abs(x + across_x) - _WANDER_HALF_M[0], abs(y + across_y) - _WANDER_HALF_M[1]) + _TURN_RADIUS_M
    right = max(abs(x - across_x) - _WANDER_HALF_M[0], abs(y - across_y) - _WANDER_HALF_M[1]) + _TURN_RADIUS_M
    if left <= 0 and right <= 0:
        return min(max(wanted, -_MAX_CURVATURE), _MAX_CURVATURE)
    return _MAX_CURVATURE if left < right else -_MAX_CURVATURE


class _Waves:
    """A smooth random function: a sum of sines with rates (rad/m) drawn from a range, within +-`bound`."""

    def __init__(self, rng: np.random.Generator, count: int, rates: tuple[float, float], bound: float) -> None:
        self._rate, self._phase = rng.uniform(*rates, count), rng.uniform(0, 2 * np.pi, count)
        weight = rng.uniform(0.3, 1.0, count)
        self._weight, self._bound = weight / weight.sum() * 1.8, bound

    def at(self, d: Floats) -> Floats:
        """Return values (N,) at distances (N,)."""
        total = np.sin(d[:, None] * self._rate + self._phase) @ self._weight
        bounded: Floats = self._bound * np.tanh(total)
        return bounded


def _pairs(points: npt.NDArray[np.complex128]) -> Floats:
    return np.stack([points.real, points.imag], axis=1)


def _timed(path: _Path) -> _Block:
    """Compute the speed along a path and the times at which it is driven."""
    way = np.arange(len(path.points)) * path.step_m
    heading = np.unwrap(np.arctan2(path.tangents[:, 1], path.tangents[:, 0]))
    curvature = np.abs(np.gradient(heading, path.step_m))
    # Squared speeds, because they are linear in the path length at constant acceleration.
    limit = np.minimum(path.wish_mps**2, LATERAL_MPS2 / np.maximum(curvature, 1e-6))
    limit[list(path.stops_s)] = 0.0
    handover = np.minimum(way, way[-1] - way) < _HANDOVER_M
    limit[handover] = np.maximum(limit[handover], _HANDOVER_MPS**2)
    limit[[0, -1]] = _HANDOVER_MPS**2
    slope = 2 * LONGITUDINAL_MPS2 * way
    square = np.minimum(np.minimum.accumulate(limit - slope) + slope,
                        np.minimum.accumulate((limit + slope)[::-1])[::-1] - slope)
    speed = np.sqrt(np.maximum(square, 0))
    duration = 2 * path.step_m / (speed[:-1] + speed[1:])
    acceleration = np.diff(square) / (2 * path.step_m)
    stops = sorted(path.stops_s)  # a stop is an interval of its own, with neither way nor speed
    duration = np.insert(duration, stops, [path.stops_s[i] for i in stops])
    start = np.concatenate([[0.0], np.cumsum(duration)])
    return _Block(path, start[:-1], np.insert(way[:-1], stops, way[stops]),
                  np.insert(speed[:-1], stops, 0.0), np.insert(acceleration, stops, 0.0), float(start[-1]))


def _way_and_speed(block: _Block, t: Floats) -> tuple[Floats, Floats]:
    """Return metres along a block and speed in m/s at seconds since its start (N,)."""
    i = np.clip(np.searchsorted(block.starts_s, t, side="right") - 1, 0, len(block.starts_s) - 1)
    since = t - block.starts_s[i]
    speed = block.speed_mps[i] + block.acceleration_mps2[i] * since
    way = block.way_m[i] + (block.speed_mps[i] + speed) / 2 * since
    return np.clip(way, 0, block.length_m), np.maximum(speed, 0)


def _place(path: _Path, way: Floats) -> tuple[Floats, Floats]:
    """Return points (N, 2) and unit tangents (N, 2) at metres along a path, by cubic Hermite interpolation."""
    i = np.minimum((way / path.step_m).astype(np.intp), len(path.points) - 2)
    u = (way / path.step_m - i)[:, None]
    chord = path.points[i + 1] - path.points[i]
    first, last = path.tangents[i] * path.step_m, path.tangents[i + 1] * path.step_m
    a, b = first + last - 2 * chord, 3 * chord - 2 * first - last
    point = path.points[i] + u * (first + u * (b + u * a))
    tangent = first + u * (2 * b + 3 * u * a)
    return point, tangent / np.linalg.norm(tangent, axis=1, keepdims=True)
