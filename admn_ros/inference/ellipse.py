# SPDX-License-Identifier: Apache-2.0
"""Confidence ellipses of Gaussian estimates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv

Float64 = npt.NDArray[np.float64]


def ellipse_limit(probability: float, axes: int) -> float:
    """Return the squared Mahalanobis distance that holds a probability of a Gaussian: the chi-square quantile.

    Args:
        probability: probability inside the ellipse, in (0, 1).
        axes: dimension of the Gaussian.
    """
    return float(2.0 * gammaincinv(axes / 2, probability))


@dataclass(frozen=True)
class Ellipse:
    """Ellipse in the x-y plane.

    Attributes:
        major_m: longer half axis in metres.
        minor_m: shorter half axis in metres.
        yaw_rad: angle of the longer axis from x towards y, in (-pi/2, pi/2].
    """

    major_m: float
    minor_m: float
    yaw_rad: float


def plane_ellipse(covariance_m2: Float64, probability: float) -> Ellipse:
    """Return the ellipse in the x-y plane that holds a probability.

    Args:
        covariance_m2: (2, 2) or larger, of which x and y count; symmetric, positive semidefinite.
        probability: probability inside the ellipse, in (0, 1).
    """
    variances, directions = np.linalg.eigh(covariance_m2[:2, :2])
    minor_m, major_m = np.sqrt(np.maximum(variances, 0.0) * ellipse_limit(probability, 2))
    x, y = directions[:, 1]
    yaw_rad = math.atan2(y, x)
    if yaw_rad <= -math.pi / 2 or yaw_rad > math.pi / 2:
        yaw_rad -= math.copysign(math.pi, yaw_rad)
    return Ellipse(float(major_m), float(minor_m), yaw_rad)
