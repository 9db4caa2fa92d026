# SPDX-License-Identifier: Apache-2.0
"""Ellipses of Gaussian estimates: how far a share of the draws reaches, and along which axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def ellipse_limit(share: float, axes: int) -> float:
    """Squared Mahalanobis distance within which `share` of a Gaussian's draws lie (quantile of chi square).

    Args:
        share: range (0, 1).
        axes: 2 or 3.
    """
    if axes == 2:
        return -2.0 * math.log1p(-share)
    low, high = 0.0, 100.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _chi_square_3(middle) < share else (low, middle)
    return high


def _chi_square_3(x: float) -> float:
    """Distribution function of chi square with three degrees of freedom."""
    return math.erf(math.sqrt(x / 2)) - math.sqrt(2 * x / math.pi) * math.exp(-x / 2)


@dataclass(frozen=True)
class Ellipse:
    """Half axes in metres, the longer one first, and the angle of that one from x towards y, range (-pi/2, pi/2]."""

    major_m: float
    minor_m: float
    yaw_rad: float


def plane_ellipse(covariance_m2: Float64, share: float) -> Ellipse:
    """The ellipse in the x-y plane that holds `share` of the draws.

    Args:
        covariance_m2: (2, 2) or larger, of which x and y count; symmetric, positive semidefinite.
        share: range (0, 1).
    """
    variances, directions = np.linalg.eigh(covariance_m2[:2, :2])
    minor_m, major_m = np.sqrt(np.maximum(variances, 0.0) * ellipse_limit(share, 2))
    x, y = directions[:, 1]
    yaw_rad = math.atan2(y, x)
    if yaw_rad <= -math.pi / 2 or yaw_rad > math.pi / 2:
        yaw_rad -= math.copysign(math.pi, yaw_rad)
    return Ellipse(float(major_m), float(minor_m), yaw_rad)
