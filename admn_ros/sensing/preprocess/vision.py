# SPDX-License-Identifier: Apache-2.0
"""Images and depth images to network inputs."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from admn_ros.config import DepthInput, RgbInput
from admn_ros.errors import InputError
from admn_ros.sample import Array
from admn_ros.sensing.preprocess.area import Floats, resize_means

_SMALLEST_WEIGHT = 1e-4
_AROUND = 9
"""Side of the neighbourhood of `_relief` in pixels."""


def rgb_tensor(image: Array, config: RgbInput) -> Tensor:
    """Convert an image uint8 (H, W, 3), RGB order, to float32 (3, height, width): ([0, 1] values - mean) / std.

    The image is resized without keeping the aspect ratio, by area if it shrinks, else bilinearly, and rounded to
    integers. Compared with OpenCV's resizing, only values that lie between two integers can be rounded to the other
    one. With `stretch`, the smallest and the largest value of the image become 0 and 1.

    Raises:
        InputError: the image has another type or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError("rgb", f"{image.dtype} {image.shape}", "uint8 (H, W, 3)")
    resized = resize_means(image, config.height, config.width)
    planes = np.empty(config.shape, np.float32)
    cv2.split(np.rint(resized), list(planes))
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (config.mean, config.std))
    low, high = _range(image) if config.stretch else (0.0, 255.0)
    planes *= 1.0 / ((high - low) * std)
    planes -= (np.float32(low / (high - low)) + mean) / std
    return torch.from_numpy(planes)


def depth_tensor(depth: Array, config: DepthInput) -> Tensor:
    """Convert depth float32 (H, W) in metres to float32 (channels, height, width) in [min_m, max_m] / max_m.

    Invalid pixels (NaN, infinite, zero, negative) are excluded: a new pixel is the mean of the valid pixels under it,
    weighted by area, and 0 if there are none. The mean has an error of about 1e-7 of itself, and of `min_m` divided by
    the share of valid pixels. With `stretch`, invalid pixels are 0, and the smallest and the largest value of the image
    become 0 and 1.

    Raises:
        InputError: the depth has another type or shape.
    """
    if depth.dtype.kind != "f" or depth.ndim != 2 or 0 in depth.shape:
        raise InputError("depth", f"{depth.dtype} {depth.shape}", "float32 (rows, columns)")
    if config.stretch:
        return torch.from_numpy(np.repeat(_stretched(depth, config)[None], config.channels, axis=0))
    mean, seen = _valid_means(depth.astype(np.float32, copy=False), config)
    if not config.relief:
        return torch.from_numpy(np.repeat((mean / np.float32(config.max_m))[None], config.channels, axis=0))
    planes = _relief(mean, seen, config.max_m)
    planes -= np.array(config.mean, np.float32)[:, None, None]
    planes /= np.array(config.std, np.float32)[:, None, None]
    return torch.from_numpy(planes)


def _stretched(depth: Array, config: DepthInput) -> Floats:
    """Return depth (height, width), resized, between the extremes of the image."""
    known: Floats = np.nan_to_num(depth.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = _range(known)
    resized = resize_means(known, config.height, config.width)
    resized -= np.float32(low)
    resized /= np.float32(high - low)
    return resized.clip(0, 1)


def _range(values: Array) -> tuple[float, float]:
    """Return the smallest and the largest value; of a constant image such that it becomes 0, as with OpenCV."""
    low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + 1.0


def _valid_means(metres: Floats, config: DepthInput) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the mean (height, width) of the valid pixels under each new pixel, clipped, and whether there are any."""
    low, high = np.float32(config.min_m), np.float32(config.max_m)
    valid, clipped = metres > 0, np.fmax(metres, low)   # NaN and negative values become `low`
    largest = clipped.max()
    if largest > high:
        if largest == np.inf:
            valid &= clipped < np.inf
            clipped[np.isinf(clipped)] = low
        np.minimum(clipped, high, out=clipped)
    mean = resize_means(clipped, config.height, config.width)
    weights = resize_means(valid.view(np.uint8), config.height, config.width, most=1)
    seen = weights > _SMALLEST_WEIGHT
    # Invalid pixels count as `low` so far. Correcting the means is faster than setting all these pixels to 0.
    mean -= low * (1 - weights)
    np.divide(mean, weights, out=mean, where=seen)
    # Rounding of the sums can leave the range.
    np.clip(mean, low, high, out=mean)
    mean *= seen
    return mean, seen


def _relief(metres: Floats, seen: npt.NDArray[np.bool_], max_m: float) -> Floats:
    """Return depth, validity and relief of a depth image as float32 (3, H, W).

    The relief is inverse depth minus its mean over the valid pixels of the neighbourhood, in tenths of 1/m. It is about
    0 on every plane, where inverse depth is linear. Holes, which a network would treat as edges, are excluded.
    """
    planes = np.empty((3, *metres.shape), np.float32)
    depth, valid, standing = planes
    np.divide(metres, np.float32(max_m), out=depth)
    valid[...] = seen
    inverse = valid / np.maximum(metres, np.float32(1e-3))
    near, there = (cv2.blur(x, (_AROUND, _AROUND), borderType=cv2.BORDER_CONSTANT) for x in (inverse, valid))
    near /= np.maximum(there, np.float32(1e-6), out=there)
    np.multiply(valid, inverse - near, out=standing)
    standing *= 10
    np.clip(standing, -4, 4, out=standing)
    return planes
