# SPDX-License-Identifier: Apache-2.0
"""Tracking of one target: Kalman filter with constant velocity, gating, and restart.

The acceleration is white noise of a given spectral density, as in Bar-Shalom, Li and Kirubarajan, Estimation with
Applications to Tracking and Navigation (2001), section 6.2.2. The update has Joseph's form, which keeps the
covariance positive semidefinite in floating-point arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import numpy as np
from pydantic import Field

from admn_ros.config import Count, NotNegative, Positive, Strict
from admn_ros.errors import InputError
from admn_ros.inference.ellipse import Float64, ellipse_limit
from admn_ros.inference.target import NO_TARGET_ABOVE, Threshold

NS = 1_000_000_000


class TrackerConfig(Strict):
    """Parameters of the tracking filter."""

    acceleration: Positive = Field(
        default=2.0, description="spectral density of the white-noise acceleration per axis, in m^2/s^3: within one "
                                 "second the velocity is expected to change by its square root, in m/s")
    gate: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.99, description="probability mass inside the validation gate; estimates outside are not used")
    restart_after: Count = Field(
        default=5, description="consecutive estimates outside the gate after which the track restarts at the last of "
                               "them")
    timeout_s: Positive = Field(
        default=1.0, description="seconds without an estimate inside the gate after which the track ends")
    start_speed_mps: Positive = Field(default=1.0, description="initial standard deviation of the velocity in m/s")
    spread: Positive = Field(
        default=2.0, description="inflation of the measurement standard deviations, to account for correlated errors "
                                 "between frames")
    jump_back_s: NotNegative = Field(
        default=1.0, description="backward jump of the stamps in seconds beyond which the track restarts (a recording "
                                 "that loops); smaller steps back are refused")
    no_target_above: Threshold = Field(
        default=NO_TARGET_ABOVE, description="probability of class none above which a frame shows no target")


class Outcome(str, Enum):
    """Effect of a frame on the track."""

    STARTED = "started"      # the estimate starts a new track
    UPDATED = "updated"      # the estimate updates the track
    GATED = "gated"          # the estimate is outside the validation gate and not used
    PREDICTED = "predicted"  # the frame has no estimate
    REFUSED = "refused"      # the stamp is not newer than the track's, or the covariance is not positive definite
    NOTHING = "nothing"      # there is no track, and the frame starts none

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class TrackState:
    """State of the track at one stamp.

    Attributes:
        stamp_ns: stamp in nanoseconds.
        position_m: (D,) in metres, in the frame of the estimates.
        velocity_mps: (D,) in m/s.
        covariance: (2D, 2D) of position and velocity; symmetric, positive semidefinite.
        outcome: effect of the frame with this stamp.
    """

    stamp_ns: int
    position_m: Float64
    velocity_mps: Float64
    covariance: Float64
    outcome: Outcome

    @property
    def axes(self) -> int:
        """Number of axes D."""
        return len(self.position_m)

    @property
    def position_covariance_m2(self) -> Float64:
        """Covariance (D, D) of the position in m^2."""
        return self.covariance[:self.axes, :self.axes]

    @property
    def velocity_covariance(self) -> Float64:
        """Covariance (D, D) of the velocity in m^2/s^2."""
        return self.covariance[self.axes:, self.axes:]


class Tracker:
    """Kalman filter for one target, updated with frames in the order of their stamps.

    Args:
        config: parameters of the filter.
        axes: number of axes, 2 or 3.

    Raises:
        InputError: the number of axes is not 2 or 3.
    """

    def __init__(self, config: TrackerConfig, axes: int) -> None:
        if axes not in (2, 3):
            raise InputError("axes", axes, "2 or 3")
        self._config, self._axes = config, axes
        self._limit = ellipse_limit(config.gate, axes)
        self.counts = dict.fromkeys(Outcome, 0)
        self.reset()

    @property
    def config(self) -> TrackerConfig:
        """Parameters of the filter."""
        return self._config

    def reset(self) -> None:
        """End the track."""
        self._mean = np.zeros(2 * self._axes)
        self._covariance = np.zeros((2 * self._axes, 2 * self._axes))
        self._stamp_ns: int | None = None
        self._used_ns = 0
        self._alive = False
        self._gated = 0

    def step(self, stamp_ns: int, mean_m: Float64 | None = None,
             covariance_m2: Float64 | None = None) -> tuple[Outcome, TrackState | None]:
        """Advance to a frame, and update with its estimate if it has one.

        Args:
            stamp_ns: stamp of the frame in nanoseconds.
            mean_m: position (D,) or longer, of which the first D axes are used; None without an estimate or a target.
            covariance_m2: covariance (D, D) or larger.

        Returns:
            Effect of the frame, and the track at its stamp; None if there is no track or the frame was refused.
        """
        outcome = self._step(stamp_ns, mean_m, covariance_m2)
        self.counts[outcome] += 1
        if not self._alive or outcome is Outcome.REFUSED:
            return outcome, None
        axes = self._axes
        return outcome, TrackState(stamp_ns, self._mean[:axes].copy(), self._mean[axes:].copy(),
                                   self._covariance.copy(), outcome)

    def _step(self, stamp_ns: int, mean_m: Float64 | None, covariance_m2: Float64 | None) -> Outcome:
        if self._stamp_ns is not None and stamp_ns <= self._stamp_ns:
            if self._stamp_ns - stamp_ns <= self._config.jump_back_s * NS:
                return Outcome.REFUSED
            self.reset()
        estimate = None
        if mean_m is not None and covariance_m2 is not None:
            estimate = self._gaussian(mean_m, covariance_m2)
            if estimate is None:
                return Outcome.REFUSED
        if self._alive and stamp_ns - self._used_ns > self._config.timeout_s * NS:
            self.reset()
        if self._alive and self._stamp_ns is not None:
            self._predict((stamp_ns - self._stamp_ns) / NS)
        self._stamp_ns = stamp_ns
        if estimate is None:
            return Outcome.PREDICTED if self._alive else Outcome.NOTHING
        if not self._alive:
            return self._start(stamp_ns, *estimate)
        return self._measure(stamp_ns, *estimate)

    def _gaussian(self, mean_m: Float64, covariance_m2: Float64) -> tuple[Float64, Float64] | None:
        """Return the estimate in the filter's axes; None if it is not finite or not positive definite."""
        mean = np.asarray(mean_m, np.float64)[:self._axes]
        covariance = np.asarray(covariance_m2, np.float64)[:self._axes, :self._axes] * self._config.spread**2
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            return None
        covariance = (covariance + covariance.T) / 2
        return (mean, covariance) if np.linalg.eigvalsh(covariance)[0] > 0 else None

    def _start(self, stamp_ns: int, mean: Float64, covariance: Float64) -> Outcome:
        axes = self._axes
        self._mean = np.concatenate([mean, np.zeros(axes)])
        self._covariance = np.zeros((2 * axes, 2 * axes))
        self._covariance[:axes, :axes] = covariance
        self._covariance[axes:, axes:] = np.eye(axes) * self._config.start_speed_mps**2
        self._used_ns, self._alive, self._gated = stamp_ns, True, 0
        return Outcome.STARTED

    def _predict(self, seconds: float) -> None:
        axes, eye = self._axes, np.eye(self._axes)
        move = np.eye(2 * axes)
        move[:axes, axes:] = seconds * eye
        noise = self._config.acceleration * np.block([
            [eye * (seconds**3 / 3), eye * (seconds**2 / 2)], [eye * (seconds**2 / 2), eye * seconds]])
        self._mean = move @ self._mean
        self._covariance = _symmetric(move @ self._covariance @ move.T + noise)

    def _measure(self, stamp_ns: int, mean: Float64, covariance: Float64) -> Outcome:
        axes = self._axes
        residual = mean - self._mean[:axes]
        spread = _symmetric(self._covariance[:axes, :axes] + covariance)
        if not float(residual @ np.linalg.solve(spread, residual)) <= self._limit:
            self._gated += 1
            if self._gated >= self._config.restart_after:
                return self._start(stamp_ns, mean, covariance)
            return Outcome.GATED
        gain = np.linalg.solve(spread, self._covariance[:axes]).T
        left = np.eye(2 * axes)
        left[:, :axes] -= gain
        self._mean = self._mean + gain @ residual
        self._covariance = _symmetric(left @ self._covariance @ left.T + gain @ covariance @ gain.T)
        self._used_ns, self._gated = stamp_ns, 0
        return Outcome.UPDATED


def _symmetric(matrix: Float64) -> Float64:
    """Return the symmetric part of a matrix, without rounding errors."""
    return np.asarray((matrix + matrix.T) / 2, np.float64)
