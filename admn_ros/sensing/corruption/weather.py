# SPDX-License-Identifier: Apache-2.0
"""Heavy rain in front of a camera: streaks, and haze from distant rain.

The image model is that of Li et al., "Heavy Rain Image Restoration" (CVPR 2019), which the paper follows for
AVE: I = T * (J + sum of streak layers) + (1 - T) * A, with T = exp(-beta * distance) and the atmospheric light A. It is
implemented from the formula. The distance is assumed to grow towards the top of the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.sample import Array, Modality
from admn_ros.sensing.corruption.corruption import Corruption, Floats, to_uint8

_LAYERS = ((0.16, 0.0012, 0.9), (0.09, 0.004, 0.6), (0.05, 0.010, 0.4))
"""Length of the streaks as a share of the image height, share of pixels with a drop, and brightness of each layer.

Near drops are few, long and bright; far ones are many, short and faint.
"""


@dataclass(frozen=True)
class RainHaze(Corruption):
    """Rain streaks and haze.

    Attributes:
        beta: attenuation at the top row of the image at severity 1. 1.2 leaves 30 % of the contrast there, and 70 % at
            the bottom.
        air: atmospheric light in [0, 1].
        tilt_deg: largest tilt of the rain against the vertical in degrees; one tilt is drawn per image.
    """

    kind: ClassVar[str] = "rain"
    modality: Modality = Modality.RGB
    beta: float = 1.2
    air: float = 0.75
    tilt_deg: float = 25.0

    def parameters(self, severity: float) -> dict[str, float]:
        """Return the attenuation of the haze, and the share of all drops."""
        return {"haze_beta": severity * self.beta, "rain_density": severity}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        height = data.shape[0]
        tilt = math.radians(rng.uniform(-self.tilt_deg, self.tilt_deg))
        rain = np.zeros(data.shape[:2], np.float32)
        for length, density, brightness in _LAYERS:
            seeds = rng.random(data.shape[:2], dtype=np.float32)
            drops = (seeds < density * severity).astype(np.float32)
            rain += np.float32(brightness) * _streaks(drops, max(2.0, length * height), tilt)
        distance = np.linspace(1.0, 0.3, height, dtype=np.float32)[:, None, None]
        clear = np.exp(-np.float32(severity * self.beta) * distance)
        image = data.astype(np.float32) / np.float32(255) + np.minimum(rain, 1)[..., None]
        return to_uint8(clear * np.minimum(image, 1) + (1 - clear) * np.float32(self.air))


def _streaks(drops: Floats, length_px: float, tilt_rad: float) -> Floats:
    """Draw a streak for each drop (H, W), bright in its middle."""
    half = math.ceil(length_px / 2)
    line: npt.NDArray[np.float32] = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    dx, dy = round(half * math.sin(tilt_rad)), round(half * math.cos(tilt_rad))
    cv2.line(line, (half - dx, half - dy), (half + dx, half + dy), 1.0, 1, cv2.LINE_AA)
    streaks = cv2.filter2D(drops, -1, line / np.float32(line.max()), borderType=cv2.BORDER_CONSTANT)
    return np.asarray(np.minimum(streaks, 1), dtype=np.float32)
