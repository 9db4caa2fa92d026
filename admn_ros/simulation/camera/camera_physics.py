# SPDX-License-Identifier: Apache-2.0
"""Sensor models of GDTM's cameras: images of the ZED and depth of the RealSense L515, from rendered ideal ones.

Every function takes the generator of its noise: the same state of the generator gives the same frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError

Single = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

DEPTH_RANGE_M = (0.25, 9.0)
DEPTH_STEP_M = 0.0025
ISO = 200.0
"""Default sensitivity of the RGB cameras."""
FLYING = 0.4
"""Default share of the depth pixels at edges with a value between near and far."""

_FULL_WELL = 9000.0        # electrons of white at ISO 100
_READ_NOISE = 6.0          # electrons
_GAMMA = 2.2               # of the image encoding
# Return strength: reflectance x cosine / range^2. Half of the pixels are valid at this strength.
_HALF_RETURN = 0.0065
_SHARPNESS = 4.0           # exponent of the transition from valid to invalid


def expose(rgb: Bytes, rng: np.random.Generator, *, exposure: float | None = None, iso: float = ISO,
           colour_cast: Sequence[float] | None = None, vignetting: float = 0.12, blur_px: float = 0.45) -> Bytes:
    """Apply exposure, colour cast, lens and sensor noise of a camera to a rendered image.

    Args:
        rgb: uint8 (H, W, 3), gamma-encoded, well exposed.
        rng: generator of the noise and of the arguments that are not given.
        exposure: factor on the light; None for automatic exposure with an error of a few percent.
        iso: sensitivity, 25 to 25600; higher means fewer electrons and more noise.
        colour_cast: gains of red, green and blue; None for a small random cast.
        vignetting: share of light lost in the corners, 0 to 0.9.
        blur_px: standard deviation of the lens blur, in pixels of an image 480 pixels wide; it scales with the width.

    Returns:
        uint8 (H, W, 3), gamma-encoded.

    Raises:
        InputError: an argument is out of range.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise InputError("rgb", f"{rgb.dtype} {rgb.shape}", "uint8 (H, W, 3)")
    if not 25 <= iso <= 25600:
        raise InputError("iso", iso, "25 to 25600")
    if not 0 <= vignetting <= 0.9:
        raise InputError("vignetting", vignetting, "0 to 0.9")
    if blur_px < 0:
        raise InputError("blur_px", blur_px, "at least 0")
    # The number of draws is fixed, so that an argument does not change the noise.
    error, drawn = float(np.exp(rng.normal(0, 0.05))), np.exp(rng.normal(0, 0.02, 3))
    factor = automatic_exposure(rgb) * error if exposure is None else exposure
    if not 0 < factor < 1000:
        raise InputError("exposure", factor, "above 0, below 1000")
    cast = np.asarray(drawn if colour_cast is None else colour_cast, np.float64)
    if cast.shape != (3,) or not (cast >= 0).all():
        raise InputError("colour_cast", colour_cast, "three gains of at least 0")
    light: Single = _LINEAR[rgb]
    sigma = blur_px * rgb.shape[1] / 480
    if sigma > 0.2:   # narrower kernels have no effect
        light = cv2.GaussianBlur(light, (0, 0), sigma).astype(np.float32)
    gains = (factor * cast).astype(np.float32)
    light = light * _vignette(rgb.shape[0], rgb.shape[1], vignetting)[..., None] * gains
    return _encode(_with_noise(light, rng, iso))


def automatic_exposure(rgb: Bytes) -> float:
    """Return the factor on the light that brings an image (H, W, 3) to middle grey, 0.6 to 1.7."""
    mean = float(_LINEAR[rgb[::4, ::4]].mean())
    return float(np.clip(0.24 / max(mean, 1e-4), 0.6, 1.7))


def measure_depth(true_depth: Single, rng: np.random.Generator, *, reflectance: Single | None = None,
                  normal_cosine: Single | None = None, matrix: Floats | None = None,
                  stripes: Sequence[float] | None = None, gain: float = 1.0, spread_per_m: float = 0.0,
                  flying: float = FLYING) -> Single:
    """Apply noise, quantization and invalid pixels of an L515 to true depth.

    Pixels are invalid where too little light returns (dark, far, grazing), at edges, and in vertical stripes where the
    infrared light of GDTM's motion capture disturbs the scan.

    Args:
        true_depth: float32 (H, W), metres along the optical axis.
        rng: generator of everything random.
        reflectance: (H, W), 0 to 1; None for 0.5 everywhere.
        normal_cosine: (H, W), cosine between ray and surface normal; None to derive it from the depth.
        matrix: camera matrix K (3, 3) for that; None for the field of view of the L515 (70 by 55 degrees).
        stripes: positions of the stripes as shares of the width; None for three to five at random.
        gain: factor on the returned light, above 0; below 1 for a weaker laser.
        spread_per_m: further noise at 1 m (standard deviation in metres), growing with the square of the distance.
        flying: share of the pixels at edges with a value between near and far, 0 to 1.

    Returns:
        float32 (H, W), metres in steps of 2.5 mm, NaN where invalid.

    Raises:
        InputError: the shapes differ, or an argument is out of range.
    """
    if true_depth.ndim != 2:
        raise InputError("true_depth", f"shape {true_depth.shape}", "(H, W)")
    for name, given in (("reflectance", reflectance), ("normal_cosine", normal_cosine)):
        if given is not None and given.shape != true_depth.shape:
            raise InputError(name, f"shape {given.shape}", f"{true_depth.shape}")
    if not gain > 0:
        raise InputError("gain", gain, "above 0")
    if not spread_per_m >= 0:
        raise InputError("spread_per_m", spread_per_m, "at least 0")
    if not 0 <= flying <= 1:
        raise InputError("flying", flying, "0 to 1")
    cosine = depth_cosine(true_depth, matrix) if normal_cosine is None else normal_cosine
    albedo = np.float32(0.5) if reflectance is None else reflectance
    strength = np.maximum(gain * albedo * cosine / np.maximum(true_depth, 0.1)**2, 1e-7).astype(np.float32)
    shape = true_depth.shape
    # Speckle of the laser: the strength varies in small clumps of pixels.
    clumps = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), 0.9)
    strength *= np.exp(1.5 * clumps)  # the standard deviation of the clumps is 0.32
    valid = 1 / (1 + (_HALF_RETURN / strength)**_SHARPNESS)
    valid *= np.where(_edges(true_depth), 0.45, 0.998)
    columns = rng.uniform(0.03, 0.97, int(rng.integers(3, 6))) if stripes is None else np.asarray(stripes)
    valid *= 1 - _striped(shape, columns, rng)
    sigma = (0.0015 + 0.0008 * true_depth + 0.00003 / np.sqrt(strength)).astype(np.float32)
    if spread_per_m:
        sigma += np.float32(spread_per_m) * true_depth**2
    measured = _flying(true_depth, rng, flying) + sigma * rng.standard_normal(shape, dtype=np.float32)
    measured = np.round(measured / np.float32(DEPTH_STEP_M)) * np.float32(DEPTH_STEP_M)
    low, high = DEPTH_RANGE_M
    lost = (rng.random(shape, dtype=np.float32) >= valid) | ~((measured >= low) & (measured <= high))
    depth: Single = np.where(lost, np.float32(np.nan), measured).astype(np.float32)
    return depth


def depth_cosine(depth: Single, matrix: Floats | None = None) -> Single:
    """Return the cosine (H, W) between each pixel's ray and the surface normal, from depth (H, W) and K (3, 3)."""
    rows, columns = depth.shape
    k = _l515_matrix(columns, rows) if matrix is None else matrix
    x = ((np.arange(columns) - k[0, 2]) / k[0, 0]).astype(np.float32)[None, :]
    y = ((np.arange(rows) - k[1, 2]) / k[1, 1]).astype(np.float32)[:, None]
    # With inverse depth w(x, y) of a plane, its normal is (dw/dx, dw/dy, w - x dw/dx - y dw/dy).
    inverse: Single = (1 / np.maximum(depth, 1e-3)).astype(np.float32)
    wx, wy = _smaller_slope(inverse, 1) * np.float32(k[0, 0]), _smaller_slope(inverse, 0) * np.float32(k[1, 1])
    normal = np.sqrt(wx**2 + wy**2 + (inverse - x * wx - y * wy)**2)
    cosine: Single = np.clip(inverse / (normal * np.sqrt(1 + x**2 + y**2)), 0, 1).astype(np.float32)
    return cosine


_LINEAR = ((np.arange(256) / 255) ** _GAMMA).astype(np.float32)
_ENCODED = np.round(255 * (np.arange(4096) / 4095) ** (1 / _GAMMA)).astype(np.uint8)


def _with_noise(light: Single, rng: np.random.Generator, iso: float) -> Single:
    """Add shot noise and read noise to light (H, W, 3), of which 1 is white."""
    well = _FULL_WELL * 100 / iso
    variance = np.maximum(light, 0) / np.float32(well) + np.float32((_READ_NOISE / well) ** 2)
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    noisy: Single = light + noise * np.sqrt(variance)
    return noisy


def _encode(light: Single) -> Bytes:
    # Highlights roll off above 0.8, as in the tone curves of cameras.
    rolled = np.where(light > 0.8, 1 - 0.2 * np.exp((0.8 - light) / 0.2), light)
    picture: Bytes = _ENCODED[(np.clip(rolled, 0, 1) * 4095).astype(np.uint16)]
    return picture


def _vignette(rows: int, columns: int, lost: float) -> Single:
    y, x = np.linspace(-1, 1, rows, dtype=np.float32), np.linspace(-1, 1, columns, dtype=np.float32)
    share: Single = 1 - np.float32(lost) * ((x[None, :]**2 + y[:, None]**2) / 2)**2
    return share


def _smaller_slope(image: Single, axis: int) -> Single:
    """Return the difference to the neighbour on the flatter side, so that edges are not taken for slopes."""
    step = np.diff(image, axis=axis)
    before = np.concatenate([np.take(step, [0], axis), step], axis=axis)
    after = np.concatenate([step, np.take(step, [-1], axis)], axis=axis)
    slope: Single = np.where(np.abs(before) < np.abs(after), before, after)
    return slope


def _edges(depth: Single) -> npt.NDArray[np.bool_]:
    """Return the pixels beside a jump in depth."""
    low, high = cv2.erode(depth, np.ones((3, 3))), cv2.dilate(depth, np.ones((3, 3)))
    # Second differences: a slanted floor is steep in small images, but straight.
    bent = np.maximum(high - depth, depth - low) - np.minimum(high - depth, depth - low)
    edges: npt.NDArray[np.bool_] = bent > np.maximum(0.06, 0.05 * depth)
    return edges


def _flying(depth: Single, rng: np.random.Generator, share: float) -> Single:
    """Replace the depth of some pixels at edges by a value between near and far."""
    between = cv2.blur(depth, (3, 3)).astype(np.float32)
    mixed: Single = np.where(_edges(depth) & (rng.random(depth.shape, dtype=np.float32) < share), between, depth)
    return mixed


def _striped(shape: tuple[int, ...], columns: Floats, rng: np.random.Generator) -> Single:
    """Return the share (H, W) of pixels lost in vertical, slightly wavy stripes, one or two pixels wide of 160."""
    rows, width = shape
    lost = np.zeros((rows, width), np.float32)
    place = np.arange(width, dtype=np.float32)[None, :] / width
    height = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    for column in columns:
        lean, wide = float(rng.normal(0, 0.012)), float(rng.uniform(0.003, 0.006))
        middle = np.float32(column) + lean * (height - 0.5) + rng.normal(0, 0.0015, (rows, 1)).astype(np.float32)
        lost = np.maximum(lost, np.where(np.abs(place - middle) < wide, np.float32(0.93), np.float32(0)))
    return lost


def _l515_matrix(width: int, height: int) -> Floats:
    return np.array([[width / 2 / np.tan(np.deg2rad(35)), 0, (width - 1) / 2],
                     [0, height / 2 / np.tan(np.deg2rad(27.5)), (height - 1) / 2], [0, 0, 1.0]])
