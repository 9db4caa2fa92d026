# SPDX-License-Identifier: Apache-2.0
"""Inputs of a network as pictures: what it sees, after corruption and preprocessing."""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

from admn_ros.config import DepthInput, InputConfig, RgbInput
from admn_ros.sample import Modality
from admn_ros.views.colorize import Picture, colorize


def input_picture(tensor: Tensor, config: InputConfig) -> Picture:
    """Return an RGB image, uint8 (H, W, 3), of an input (C, H, W) of a network.

    RGB and depth have their normalization undone; of other inputs the first channel is shown between its extremes, with
    the last row at the bottom for RGB and depth and at the top for the others, whose rows are ranges or frequencies.

    Args:
        tensor: input as the network gets it.
        config: description of the input.
    """
    values = tensor.float().numpy()
    if isinstance(config, RgbInput):
        mean, std = (np.array(v, np.float32)[:, None, None] for v in (config.mean, config.std))
        shown = np.clip(np.rint(255 * (values * std + mean)), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(shown.transpose(1, 2, 0))
    if isinstance(config, DepthInput):
        metres = values[0] * config.std[0] + config.mean[0] if config.relief else values[0]
        metres = metres * config.max_m
        return colorize(Modality.DEPTH, np.where(metres > config.min_m / 2, metres, np.nan).astype(np.float32))
    low, high = float(values[0].min()), float(values[0].max())
    steps = np.rint(255 * (values[0, ::-1] - low) / max(high - low, 1e-6)).astype(np.uint8)
    coloured = cv2.applyColorMap(np.ascontiguousarray(steps), cv2.COLORMAP_TURBO)
    return np.ascontiguousarray(coloured[..., ::-1], dtype=np.uint8)
