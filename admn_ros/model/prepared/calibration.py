# SPDX-License-Identifier: Apache-2.0
"""Calibration for inference, in NumPy; see `admn_ros.model.prepared.evidence`."""

from __future__ import annotations

import numpy as np
import torch

from admn_ros.model.calibration import (
    CENTRE,
    LARGEST_SIGN,
    LEAST_SURE,
    LOG_SCALE,
    LOG_SHARPNESS,
    NOTHING,
    SPREAD,
    Calibration,
)
from admn_ros.model.prepared.evidence import Floats, Gaussians
from admn_ros.model.prepared.rows import Bools
from admn_ros.model.prepared.transformer import Affine, gelu


class PreparedCalibration:
    """`Calibration`."""

    def __init__(self, calibration: Calibration) -> None:
        self._modalities, self._nodes = calibration.modalities, calibration.nodes
        self._floor_m = np.float32(calibration.std_floor_m)
        self._factor, self._offset, self._lowest = (
            x.numpy() for x in (calibration.factor, calibration.offset, calibration.lowest))
        self._hidden, self._scale = Affine(calibration.scale[0]), Affine(calibration.scale[2])
        self._temperature = Affine(calibration.temperature)

    def __call__(self, fused: Gaussians, alone: Gaussians, present: Bools, poses: Floats,
                 class_logits: Floats) -> tuple[Gaussians, Floats]:
        """Calibrate estimates.

        Args:
            fused: Gaussians (B,) of the position.
            alone: Gaussians (B, slots) of each input; those of absent ones do not matter.
            present: (B, slots).
            poses: (B, slots, 5), or (1, slots, 5) for all frames.
            class_logits: (B, K).

        Returns:
            Gaussians (B,) and logits (B, K).
        """
        signs = torch.from_numpy(self._signs(fused, alone, present, poses, class_logits))
        log_scale = self._scale(gelu(self._hidden(signs))).numpy()[:, 0].clip(*LOG_SCALE)
        log_sharpness = self._temperature(signs).numpy().clip(-LOG_SHARPNESS, LOG_SHARPNESS)
        factor = np.exp(log_scale / 2)
        first, second = (np.maximum(x * factor, self._floor_m) for x in (fused.first, fused.second))
        return Gaussians(fused.x_m, fused.y_m, first, fused.skew * factor, second), class_logits * np.exp(log_sharpness)

    def _signs(self, fused: Gaussians, alone: Gaussians, present: Bools, poses: Floats, logits: Floats) -> Floats:
        """Return the signs as `Calibration.signs`."""
        here = present.astype(np.float32)
        count = here.sum(axis=1)
        log_area = np.log(fused.first * fused.second)
        elongation = np.log(fused.first**2 + fused.skew**2 + fused.second**2) - log_area
        along = (fused.x_m[:, None] - alone.x_m) / alone.first
        across = (fused.y_m[:, None] - alone.y_m - alone.skew * along) / alone.second
        apart = np.where(present, np.log1p((along * along + across * across) / 2), np.float32(0))
        sure = np.where(present, -np.log(alone.first * alone.second), np.float32(-NOTHING))
        weight = np.exp(sure - sure.max(axis=1, keepdims=True)) * here
        weight /= weight.sum(axis=1, keepdims=True)
        posed = (weight[:, None] @ np.maximum(poses @ self._factor + self._offset, self._lowest))[:, 0]
        highest = logits.max(axis=1, keepdims=True)
        surest = -np.log(np.exp(logits - highest).sum(axis=1))
        shape = len(here), self._modalities, self._nodes
        ran = here.reshape(shape).sum(axis=2)
        best = np.maximum(sure.reshape(shape).max(axis=2), np.float32(LEAST_SURE))
        by_frame = ((log_area - CENTRE) / SPREAD, elongation - 1, apart.sum(axis=1) / np.maximum(count, 1),
                    apart.max(axis=1), *posed.T, surest, count / here.shape[1])
        by_modality = (ran / self._nodes, (best + CENTRE) / (2 * SPREAD),
                       apart.reshape(shape).sum(axis=2) / np.maximum(ran, 1))
        signs = np.empty((len(here), len(by_frame) + len(by_modality) * self._modalities), np.float32)
        for place, sign in enumerate(by_frame):
            signs[:, place] = sign
        signs[:, len(by_frame):].reshape(len(here), len(by_modality), -1)[:] = np.stack(by_modality, axis=1)
        return signs.clip(-LARGEST_SIGN, LARGEST_SIGN)
