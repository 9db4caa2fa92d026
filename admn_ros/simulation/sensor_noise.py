# SPDX-License-Identifier: Apache-2.0
"""Noise of typical sensors indoors, by a level: 0 changes nothing, 1 is typical, 2 is bad.

It sets the arguments of the sensor models, and adds what they lack: compression of images and patches without depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.sensing.corruption.vision import DepthSaturation
from admn_ros.simulation.camera.camera_physics import FLYING, ISO
from admn_ros.simulation.radar.fmcw import FmcwConfig
from admn_ros.simulation.sound.room_acoustics import AcousticsConfig

_ISO_FACTOR = 8.0                    # indoors, a car in motion needs short exposures
_JPEG_BEST, _JPEG_SPAN = 95, 30      # range of the drawn quality at level 1: 65 to 95
_SPREAD_PER_M = 0.003                # depth noise at 1 m, growing with the square of the distance
_FLYING_MORE = 0.25                  # share of the pixels at edges
_PATCHES = 0.12                      # largest share of depth lost in patches
_SPURIOUS = 5.0                      # mean number of spurious radar echoes


@dataclass(frozen=True)
class SensorNoise:
    """Noise of all sensors.

    Attributes:
        level: 0 to 2.
    """

    level: float = 0.0

    @property
    def iso(self) -> float:
        """Sensitivity of the RGB cameras."""
        return float(ISO * _ISO_FACTOR**self.level)

    @property
    def laser_gain(self) -> float:
        """Factor on the light that returns to the depth cameras."""
        return 1 / (1 + 0.3 * self.level)

    @property
    def depth_spread_per_m(self) -> float:
        """Further depth noise at 1 m, in metres."""
        return _SPREAD_PER_M * self.level

    @property
    def flying(self) -> float:
        """Share of the depth pixels at edges with a value between near and far."""
        return FLYING + _FLYING_MORE * self.level

    @property
    def radar(self) -> FmcwConfig:
        """Radar, whose oscillator has more phase noise."""
        return FmcwConfig(phase_noise_rad=FmcwConfig.phase_noise_rad * (1 + 2 * self.level))

    @property
    def spurious_echoes(self) -> float:
        """Mean number of spurious radar echoes per frame."""
        return _SPURIOUS * self.level

    def acoustics(self, order: int) -> AcousticsConfig:
        """Return the acoustics with reflections up to `order`, louder hum and fans, and noisier microphones."""
        return AcousticsConfig(order=order, noise=AcousticsConfig.noise * (1 + 2 * self.level),
                               hiss=AcousticsConfig.hiss * (1 + 5 * self.level))

    def compressed(self, rgb: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """Return an RGB image (H, W, 3) as after JPEG compression at a drawn quality."""
        if not self.level:
            return rgb
        quality = round(_JPEG_BEST - _JPEG_SPAN * self.level * float(rng.random()))
        file = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.ascontiguousarray(np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])

    def patchy(self, depth: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Return a depth image (H, W) with missing patches: NaN, and a few false ranges."""
        if not self.level:
            return depth
        severity = _PATCHES * self.level * float(rng.random())
        return np.asarray(DepthSaturation().apply(depth, severity, rng), np.float32)
