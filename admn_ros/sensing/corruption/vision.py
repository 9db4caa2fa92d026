# SPDX-License-Identifier: Apache-2.0
"""Corruptions of cameras: low light and blur of RGB, saturation of infrared depth. Rain is in `weather`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError
from admn_ros.sample import Array, Modality
from admn_ros.sensing.corruption.corruption import DEPTH_MAX_M, Corruption, Floats

MEDIUM_GAMMA, SEVERE_GAMMA = 5.0, 100.0
MEDIUM_KERNEL, SEVERE_KERNEL = 51, 201
_PAPER_PX = 224


@dataclass(frozen=True)
class LowLight(Corruption):
    """A dark scene: gamma correction, noise, less contrast, a shift to blue (paper Section 4.1.1, after LLNet).

    The paper gives no numbers; these are from the official code: gamma 5 (medium) and 100 (severe), then noise of sigma
    25/255, contrast times 0.5, 10/255 more brightness, 30/255 more blue. Here gamma is `gamma` ** severity. The other
    values grow proportionally up to gamma 5, and are those of the code from there on. The code corrupts images of
    224 x 224 pixels; on larger images the noise is averaged in the resize.

    Attributes:
        gamma: gamma at severity 1, at least 5.
    """

    kind: ClassVar[str] = "lowlight"
    modality: Modality = Modality.RGB
    gamma: float = SEVERE_GAMMA

    def __post_init__(self) -> None:
        if not self.gamma >= MEDIUM_GAMMA:
            raise InputError("gamma", self.gamma, f"at least {MEDIUM_GAMMA}")

    def severity_of(self, gamma: float) -> float:
        """Return the severity of a gamma (1 to `self.gamma`)."""
        return math.log(gamma) / math.log(self.gamma)

    def parameters(self, severity: float) -> dict[str, float]:
        """Return gamma, sigma of the noise on [0, 1] data, gain, and offsets in [0, 1]."""
        grown = min(1.0, severity / self.severity_of(MEDIUM_GAMMA))
        return {"gamma": self.gamma ** severity, "sigma": grown * 25 / 255, "gain": 1 - 0.5 * grown,
                "offset": grown * 10 / 255, "blue": grown * 30 / 255}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        p = self.parameters(severity)
        curve = np.rint((np.arange(256) / 255) ** p["gamma"] * 255).astype(np.float32)
        light = curve[data] + rng.standard_normal(data.shape, dtype=np.float32) * np.float32(255 * p["sigma"])
        light = np.clip(light, 0, 255) * np.float32(p["gain"]) + np.float32(255 * p["offset"])
        light[..., 2] += np.float32(255 * p["blue"])
        return np.asarray(np.rint(np.clip(light, 0, 255)), dtype=np.uint8)


@dataclass(frozen=True)
class Blur(Corruption):
    """Gaussian blur (paper Section A.3). The paper has two strengths without numbers: 51 and 201 pixels in the code.

    They refer to images of 224 x 224 pixels, after a resize that does not keep the aspect ratio. For images of another
    size the kernel is scaled with the height and the width, so that the blur is the same after the resize. The kernel
    at 224 pixels is 1 + (`kernel_px` - 1) * severity, with OpenCV's rule for the standard deviation:
    0.15 * kernel + 0.35.

    Attributes:
        kernel_px: kernel at severity 1 in pixels of a 224-pixel image; the medium kernel of 51 is severity 0.25 of the
            default.
    """

    kind: ClassVar[str] = "blur"
    modality: Modality = Modality.RGB
    kernel_px: int = SEVERE_KERNEL

    def severity_of(self, kernel_px: float) -> float:
        """Return the severity of a kernel in pixels of a 224-pixel image."""
        return (kernel_px - 1) / (self.kernel_px - 1)

    def parameters(self, severity: float) -> dict[str, float]:
        """Return kernel and standard deviation in pixels of a 224-pixel image."""
        kernel = 1 + (self.kernel_px - 1) * severity
        return {"kernel_px": kernel, "sigma_px": 0.15 * kernel + 0.35}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        p = self.parameters(severity)
        height, width = data.shape[:2]
        size = [max(1, 2 * round(p["kernel_px"] * n / _PAPER_PX / 2 - 0.5) + 1) for n in (width, height)]
        sigma = [p["sigma_px"] * n / _PAPER_PX for n in (width, height)]
        pixels: npt.NDArray[np.uint8] = data.astype(np.uint8, copy=False)
        return np.asarray(cv2.GaussianBlur(pixels, (size[0], size[1]), sigma[0], sigmaY=sigma[1]), dtype=np.uint8)


@dataclass(frozen=True)
class DepthSaturation(Corruption):
    """Infrared depth saturated by sunlight: pixels without a return, some with a false one (paper Section A.3).

    The paper inserts one recorded frame, "entirely saturated, no useful information", which is not published; this
    corruption is procedural. The severity is the share of lost pixels, which form patches. The other pixels get up to
    5 % of noise. Severity 1 leaves nothing of the scene.

    Attributes:
        depth_max_m: largest false range in metres.
        false_returns: share of the lost pixels that report a random range.
    """

    kind: ClassVar[str] = "saturation"
    modality: Modality = Modality.DEPTH
    depth_max_m: float = DEPTH_MAX_M
    false_returns: float = 0.05

    def parameters(self, severity: float) -> dict[str, float]:
        """Return the share of lost pixels, and the relative noise of the others."""
        return {"lost": severity, "noise": 0.05 * severity}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        p = self.parameters(severity)
        light = _patches(data.shape, rng) + 0.5 * rng.standard_normal(data.shape, dtype=np.float32)
        ranges = rng.uniform(0.1, self.depth_max_m, data.shape).astype(np.float32)
        reported = rng.random(data.shape, dtype=np.float32) < self.false_returns
        noise = rng.standard_normal(data.shape, dtype=np.float32) * np.float32(p["noise"])
        lost = light <= np.quantile(light, p["lost"])
        damaged: Floats = np.where(lost, np.where(reported, ranges, np.float32(np.nan)),
                                   np.maximum(data * (1 + noise), np.float32(1e-3)))
        return damaged.astype(np.float32, copy=False)


def _patches(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return a smooth random field (H, W) of about unit variance, a few patches across."""
    coarse = rng.standard_normal((6, 8), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
