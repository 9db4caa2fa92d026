# SPDX-License-Identifier: Apache-2.0
"""A small FMCW radar: point scatterers to a range-azimuth heatmap.

Each scatterer is a complex echo that falls with the square of range; the range FFT's window and the
eight antennas' aperture spread it, echoes add with their phases (hence the speckle), and receiver noise
comes on top. Of the size of TI's IWR1443: 77 GHz, eight virtual antennas half a wavelength apart.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from admn_ros.simulation.scene.geometry import (
    CAR_CENTRE_Z_M,
    CAR_SIZE_M,
    CEILING_M,
    ROOM_HALF_M,
    CarState,
    Floats,
    Pose,
    furniture,
    rotation_z,
)

RANGE_BINS = 128
AZIMUTH_BINS = 64
RANGE_STEP_M = 0.05
ANTENNAS = 8
WAVELENGTH_M = 299792458.0 / 77e9
NOISE_STD = 1.0   # of the complex receiver noise: magnitudes are in units of it
CAR_ECHO = 220.0  # amplitude of the car's strongest echo at 1 m


def range_of_row() -> Floats:
    """Range in metres at the middle of each row (RANGE_BINS,); row 0 is nearest."""
    return (np.arange(RANGE_BINS, dtype=np.float64) + 0.5) * RANGE_STEP_M


def azimuth_sine_of_column() -> Floats:
    """Sine of the azimuth at the middle of each column (AZIMUTH_BINS,), positive to the left (REP-103).

    Columns go from left to right, as in a camera's picture, in equal steps of the sine, as an angle FFT does.
    """
    return 1.0 - (2 * np.arange(AZIMUTH_BINS) + 1.0) / AZIMUTH_BINS


class Radar:
    """The radar of one node at a pose in `map` (x forward, y left)."""

    def __init__(self, pose: Pose, node: str) -> None:
        """Lay out what stands still: corners and faces of the furniture, and rough spots on the walls."""
        self._pose = pose
        self._still_m, self._still_echo = _clutter(node)

    def heatmap(self, car: CarState, rng: np.random.Generator, clutter: bool = True) -> npt.NDArray[np.float32]:
        """Linear magnitude (RANGE_BINS, AZIMUTH_BINS) at one instant; receiver noise is about 1."""
        points, echoes = _car(car)
        if clutter:
            points, echoes = np.vstack([points, self._still_m]), np.concatenate([echoes, self._still_echo])
        local = self._pose.into(points)
        reach = np.linalg.norm(local, axis=1)
        sine = local[:, 1] / reach
        # The antennas look forward: nothing from behind, less from the side.
        pattern = np.clip(local[:, 0] / reach, 0, None)
        echo = echoes * pattern / np.maximum(reach, 0.2)**2 * np.exp(-4j * np.pi * reach / WAVELENGTH_M)
        in_range = _range_response((range_of_row()[:, None] - reach) / RANGE_STEP_M)
        in_azimuth = _aperture_response(azimuth_sine_of_column()[:, None] - sine)
        signal = (in_range * echo) @ in_azimuth.T
        noise = rng.standard_normal((2, RANGE_BINS, AZIMUTH_BINS)) * (NOISE_STD / np.sqrt(2))
        magnitude: npt.NDArray[np.float32] = np.abs(signal + noise[0] + 1j * noise[1]).astype(np.float32)
        return magnitude


def _range_response(bins: Floats) -> Floats:
    """Spectrum of a Hann window at a distance in bins: a main lobe four bins wide, low side lobes."""
    response: Floats = np.sinc(bins) + 0.5 * (np.sinc(bins - 1) + np.sinc(bins + 1))
    return response


def _aperture_response(sine: Floats) -> Floats:
    """Sum of the antennas' phases at a distance in sine of azimuth; 1 at the peak."""
    # The antennas lie symmetric about the middle, so the sum of their phases is real: a Dirichlet kernel.
    antenna = np.arange(ANTENNAS / 2) + 0.5
    return sum((np.cos(np.pi * sine * a) for a in antenna), np.zeros_like(sine)) * 2 / ANTENNAS


def _car(car: CarState) -> tuple[Floats, Floats]:
    """Scatterers of the car (N, 3) in `map`, and amplitudes at 1 m: motor block in the middle, corners."""
    x, y = CAR_SIZE_M[0] / 2, CAR_SIZE_M[1] / 2
    local = np.array([[0, 0, 0], [x, y, 0], [x, -y, 0], [-x, y, 0], [-x, -y, 0]])
    points = local @ rotation_z(float(car.heading_rad)).T + np.array([*car.position_m, CAR_CENTRE_Z_M])
    return points, CAR_ECHO * np.array([1.0, 0.12, 0.12, 0.12, 0.12])


def _clutter(node: str) -> tuple[Floats, Floats]:
    """What stands still, as one node sees it: scatterers (N, 3) in `map` and amplitudes at 1 m."""
    rng = np.random.default_rng(20)  # the room is always the same
    points, echoes = [], []
    for box in furniture(without=node):
        size = float(np.sqrt(box.half_m[0] * box.half_m[1] * box.half_m[2]))
        spots = rng.uniform(-1, 1, (4, 3)) * np.array(box.half_m) @ rotation_z(box.yaw_rad).T
        points.append(spots + np.array(box.centre_m))
        echoes.append(rng.rayleigh(30 + 150 * size, 4))
    walls = rng.uniform(-1, 1, (60, 3)) * np.array([*ROOM_HALF_M, CEILING_M / 2]) + np.array([0, 0, CEILING_M / 2])
    side = rng.integers(0, 2, 60)
    walls[np.arange(60), side] = np.sign(walls[np.arange(60), side]) * np.array(ROOM_HALF_M)[side]
    points.append(walls)
    echoes.append(rng.rayleigh(60, 60))
    return np.vstack(points), np.concatenate(echoes)
