# SPDX-License-Identifier: Apache-2.0
"""Detection of points in a range-Doppler map: cell-averaging CFAR, peak grouping and azimuth, as in TI's firmware."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError

_AZIMUTH_FFT = 256


@dataclass(frozen=True)
class Cfar:
    """Settings of the detector; a cell is detected if its power exceeds the mean of its neighbours in range.

    Attributes:
        threshold_db: smallest excess of a detected cell.
        window: cells on each side whose mean is taken.
        guard: cells on each side, next to the cell, that are left out.
        skip: rows next to the antenna that are ignored, because of transmitter leakage.
        most: largest number of points; the strongest are kept.
    """

    threshold_db: float = 6.0
    window: int = 8
    guard: int = 4
    skip: int = 6
    most: int = 100

    def __post_init__(self) -> None:
        for name, least in (("window", 1), ("guard", 0), ("skip", 0), ("most", 0)):
            if getattr(self, name) < least:
                raise InputError(name, getattr(self, name), f"at least {least}")


def detect(power: npt.NDArray[np.floating], cube: npt.NDArray[np.complexfloating], cfar: Cfar,
           range_step_m: float, velocity_step_mps: float) -> npt.NDArray[np.float32]:
    """Detect points.

    Args:
        power: power (rows, columns) in units of the mean noise; zero velocity in the middle column.
        cube: spectrum (rows, columns, antennas) before the azimuth FFT. The antennas are half a wavelength apart along
            y; the phase decreases with the antenna for targets to the left.
        cfar: settings of the detector.
        range_step_m: range between two rows.
        velocity_step_mps: velocity between two columns.

    Returns:
        Points (P, 5), strongest first: x, y, z in the radar frame (m), radial velocity (m/s), SNR (dB).
    """
    rows, columns = np.nonzero(_peaks(power) & (power > _level(power, cfar) * 10 ** (cfar.threshold_db / 10)))
    keep = rows >= cfar.skip
    rows, columns = rows[keep], columns[keep]
    order = np.argsort(-power[rows, columns], kind="stable")[:cfar.most]
    rows, columns = rows[order], columns[order]
    # The inverse FFT, because the phase decreases with the antenna where the sine is positive.
    angles = np.abs(np.fft.ifft(cube[rows, columns], _AZIMUTH_FFT, axis=1))
    place = np.argmax(angles, axis=1)
    sine = 2.0 * ((place + _AZIMUTH_FFT // 2) % _AZIMUTH_FFT - _AZIMUTH_FFT // 2) / _AZIMUTH_FFT
    reach = rows * range_step_m
    velocity = (columns - power.shape[1] // 2) * velocity_step_mps
    points = [reach * np.sqrt(1 - sine**2), reach * sine, np.zeros(len(rows)), velocity,
              10 * np.log10(power[rows, columns])]
    return np.stack(points, axis=1).astype(np.float32)


def _peaks(power: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Return the cells that are not below their eight neighbours; velocity wraps around, range does not."""
    wide = np.concatenate([power[:, -1:], power, power[:, :1]], axis=1)
    across = np.maximum(np.maximum(wide[:, :-2], wide[:, 1:-1]), wide[:, 2:])
    highest = across.copy()
    np.maximum(highest[1:], across[:-1], out=highest[1:])
    np.maximum(highest[:-1], across[1:], out=highest[:-1])
    peaks: npt.NDArray[np.bool_] = power >= highest
    return peaks


def _level(power: npt.NDArray[np.floating], cfar: Cfar) -> npt.NDArray[np.floating]:
    """Return the mean of the window on both sides in range, with the first and last rows repeated at the ends."""
    reach = cfar.guard + cfar.window
    wide = np.pad(power.astype(np.float64), ((reach + 1, reach), (0, 0)), mode="edge")
    total = np.cumsum(wide, axis=0)
    rows = np.arange(len(power)) + reach + 1
    before = total[rows - cfar.guard - 1] - total[rows - reach - 1]
    after = total[rows + reach] - total[rows + cfar.guard]
    level: npt.NDArray[np.floating] = (before + after) / (2 * cfar.window)
    return level
