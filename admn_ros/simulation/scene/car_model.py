# SPDX-License-Identifier: Apache-2.0
"""MJCF of the radio-controlled car of the GDTM room: a low sports car, 0.36 x 0.17 x 0.12 m.

Frame of the car: x forward, y left, z up, origin on the ground below its middle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from admn_ros.simulation.scene.car import CAR_SIZE_M

# Gamma-encoded. The blue car is a distractor: of two cars with colours of classes, either could be the target.
PAINT = {"red_car": (0.86, 0.13, 0.05), "green_car": (0.62, 0.83, 0.08), "blue_car": (0.07, 0.22, 0.80)}
_GLASS, _TYRE, _RIM = "0.05 0.055 0.065 1", "0.04 0.04 0.04 1", "0.35 0.35 0.36 1"
_HALF_WIDTH = CAR_SIZE_M[1] / 2

# Cross-sections from tail to nose: x, half widths at bottom, waist and top, heights of bottom, waist and top.
_BODY = ((-0.180, 0.060, 0.072, 0.062, 0.030, 0.055, 0.078), (-0.140, 0.074, 0.084, 0.066, 0.016, 0.055, 0.085),
         (-0.060, 0.076, 0.081, 0.064, 0.014, 0.050, 0.082), (0.040, 0.076, 0.079, 0.064, 0.014, 0.048, 0.074),
         (0.110, 0.076, 0.083, 0.064, 0.014, 0.046, 0.064), (0.160, 0.070, 0.076, 0.054, 0.018, 0.036, 0.046),
         (0.180, 0.048, 0.054, 0.040, 0.022, 0.030, 0.036))
_CABIN = ((-0.125, 0.056, 0.050, 0.044, 0.070, 0.080, 0.086), (-0.055, 0.066, 0.056, 0.046, 0.072, 0.100, 0.1165),
          (0.005, 0.066, 0.056, 0.045, 0.070, 0.100, 0.1165), (0.085, 0.060, 0.050, 0.042, 0.062, 0.066, 0.070))
_ROOF = ((-0.100, 0.040, 0.042, 0.040, 0.088, 0.096, 0.0985), (-0.055, 0.047, 0.049, 0.044, 0.108, 0.115, 0.1185),
         (0.005, 0.046, 0.048, 0.043, 0.108, 0.115, 0.1185), (0.018, 0.044, 0.046, 0.042, 0.104, 0.110, 0.1130))

Mesh = Callable[[str, Sequence[Sequence[float]], Sequence[Sequence[int]]], str]


def car_meshes(mesh: Mesh) -> list[str]:
    """Return the MJCF meshes of body, cabin and roof, formatted by `mesh(name, corners, faces)`."""
    return [mesh(f"car_{name}", *_loft(sections))
            for name, sections in (("body", _BODY), ("cabin", _CABIN), ("roof", _ROOF))]


def car_geoms(target: str) -> str:
    """Return the MJCF geoms of the car; `target` is "red_car", "green_car" or "blue_car"."""
    paint = " ".join(f"{v:g}" for v in PAINT[target]) + " 1"
    geoms = [f'<geom type="mesh" mesh="car_{name}" rgba="{rgba}"/>'
             for name, rgba in (("body", paint), ("cabin", _GLASS), ("roof", paint))]

    def add(kind: str, size: Sequence[float], at: Sequence[float], rgba: str, euler: str = "0 0 0") -> None:
        geoms.append(f'<geom type="{kind}" size="{" ".join(f"{v:g}" for v in size)}" rgba="{rgba}" euler="{euler}" '
                     f'pos="{" ".join(f"{v:g}" for v in at)}"/>')

    for x in (-0.112, 0.112):
        for side in (-1, 1):
            add("cylinder", (0.030, 0.011), (x, side * (_HALF_WIDTH - 0.011), 0.030), _TYRE, f"{np.pi / 2:.6f} 0 0")
            add("cylinder", (0.018, 0.0006), (x, side * _HALF_WIDTH, 0.030), _RIM, f"{np.pi / 2:.6f} 0 0")
    for side in (-1, 1):
        add("box", (0.012, 0.014, 0.003), (0.158, side * 0.050, 0.0475), "0.95 0.95 0.9 1", f"0 0.3 {-0.35 * side}")
        add("box", (0.003, 0.018, 0.005), (-0.179, side * 0.044, 0.066), "0.45 0.02 0.02 1")
        add("box", (0.014, 0.004, 0.006), (-0.160, side * 0.05, 0.088), "0.06 0.06 0.06 1")
        add("box", (0.030, 0.004, 0.009), (-0.07, side * 0.0795, 0.056), "0.05 0.05 0.05 1")
    add("box", (0.016, 0.070, 0.003), (-0.163, 0, 0.096), paint)
    add("box", (0.004, 0.042, 0.008), (0.177, 0, 0.020), "0.05 0.05 0.05 1")
    add("box", (0.003, 0.060, 0.010), (-0.177, 0, 0.040), "0.06 0.06 0.06 1")
    return "".join(geoms)


def car_points() -> npt.NDArray[np.float64]:
    """Return points (N, 3) in metres, in the frame of the car, whose convex hull is that of the car."""
    points = [corner for sections in (_BODY, _CABIN, _ROOF) for corner in _loft(sections)[0]]
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    points += [(x + 0.030 * float(np.cos(a)), side * _HALF_WIDTH, 0.030 + 0.030 * float(np.sin(a)))
               for x in (-0.112, 0.112) for side in (-1, 1) for a in turn]
    points += [(x, y, z) for x in (-0.179, -0.147) for y in (-0.070, 0.070) for z in (0.093, 0.099)]
    return np.array(points)


def _loft(sections: Sequence[Sequence[float]]) -> tuple[list[tuple[float, float, float]], list[tuple[int, int, int]]]:
    """Return corners (N, 3) and faces (M, 3) of a closed surface over cross-sections with six corners, flat-shaded."""
    rings = [[(x, -b, zb), (x, -w, zw), (x, -t, zt), (x, t, zt), (x, w, zw), (x, b, zb)]
             for x, b, w, t, zb, zw, zt in sections]
    triangles = []
    for near, far in pairwise(rings):
        for k in range(6):
            a, b, c, d = near[k], near[(k + 1) % 6], far[(k + 1) % 6], far[k]
            triangles += [(a, c, b), (a, d, c)]
    for ring, order in ((rings[0], (0, 1, 2)), (rings[-1], (2, 1, 0))):
        for k in range(1, 5):
            fan = (ring[0], ring[k], ring[k + 1])
            triangles.append((fan[order[0]], fan[order[1]], fan[order[2]]))
    corners = [corner for triangle in triangles for corner in triangle]
    faces = [(3 * k, 3 * k + 1, 3 * k + 2) for k in range(len(triangles))]
    return corners, faces
