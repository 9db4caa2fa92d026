# SPDX-License-Identifier: Apache-2.0
"""Calibration: covariances and class probabilities that hold what they promise.

A network is surer of its training data than of others. A small head reads from an estimate how far it can be trusted,
and scales its covariance and the logits of its classes (temperature, Guo et al. 2017) accordingly. Position and
predicted class stay as they are. `admn_ros.training.stages.calibration` fits it to data that the network has not seen.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from admn_ros.config import ModelConfig
from admn_ros.model.evidence import Evidence

FRAME_SIGNS, MODALITY_SIGNS = 9, 3
"""Number of signs of a frame, and of each of its modalities."""
POSE_NUMBERS = 5
LARGEST_SIGN = 4.0
LOG_SCALE = (-1.5, 5.0)
"""Range of the logarithm of the covariance's scale: standard deviations times 0.47 to 12."""
LOG_SHARPNESS = 2.0
"""Largest absolute logarithm of the factor of the class logits, the inverse of a temperature."""
SPREAD, CENTRE = 1.5, -4.0
"""Centre and spread of the logarithm of a variance in m^2: standard deviations from 2 cm to 1 m within two spreads."""
NOTHING, LEAST_SURE = 1e4, -4.0
"""Of an input that did not run: its logarithm of area in the weights, and its information."""


class Calibration(nn.Module):
    """Scale of the covariance and temperature of the classes, from signs of how far an estimate can be trusted.

    Untrained, it changes nothing.
    """

    factor: Tensor
    offset: Tensor
    lowest: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.modalities, self.nodes = len(config.modalities), len(config.sensor_nodes)
        self.std_floor_m = config.localization.std_floor_m
        signs, hidden = FRAME_SIGNS + MODALITY_SIGNS * self.modalities, config.calibration.hidden
        self.scale = nn.Sequential(nn.Linear(signs, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.temperature = nn.Linear(signs, 1)
        low_m, high_m = config.calibration.seen_height_m
        span_m = high_m - low_m
        # From x, y, z, yaw, tilt of a pose to: height above and below those of training, tilt.
        factor = torch.zeros(POSE_NUMBERS, 3)
        factor[2, 0], factor[2, 1], factor[4, 2] = 1 / span_m, -1 / span_m, 4.0
        self.register_buffer("factor", factor, persistent=False)
        self.register_buffer("offset", torch.tensor((-high_m / span_m, low_m / span_m, -1.0)), persistent=False)
        self.register_buffer("lowest", torch.tensor((0.0, 0.0, -torch.inf)), persistent=False)
        self.reset()

    def reset(self) -> None:
        """Make the outputs those of an identity."""
        for last in (self.scale[2], self.temperature):
            for weight in last.parameters():
                nn.init.zeros_(weight)

    def forward(self, mean_m: Tensor, scale_tril_m: Tensor, class_logits: Tensor, evidence: Evidence,
                poses: Tensor) -> tuple[Tensor, Tensor]:
        """Calibrate estimates.

        Args:
            mean_m: (B, 2) positions in metres.
            scale_tril_m: (B, 2, 2) Cholesky factors of their covariances.
            class_logits: (B, K) logits of the classes.
            evidence: evidence of each slot.
            poses: (B, slots, 5), x, y, z, yaw, tilt of each slot's sensor node.

        Returns:
            scale_tril_m with a diagonal of at least `std_floor_m`, and class_logits.
        """
        signs = self.signs(mean_m, scale_tril_m, class_logits, evidence, poses)
        log_scale = self.scale(signs)[:, 0].clamp(*LOG_SCALE)
        log_sharpness = self.temperature(signs).clamp(-LOG_SHARPNESS, LOG_SHARPNESS)
        scaled = scale_tril_m * (log_scale / 2).exp()[:, None, None]
        scaled.diagonal(dim1=-2, dim2=-1).clamp_(min=self.std_floor_m)
        return scaled, class_logits * log_sharpness.exp()

    def signs(self, mean_m: Tensor, scale_tril_m: Tensor, class_logits: Tensor, evidence: Evidence,
              poses: Tensor) -> Tensor:
        """Return the signs (B, FRAME_SIGNS + MODALITY_SIGNS * M) that the calibration reads. Arguments as `forward`.

        Of a frame: logarithm of the area of the ellipse and its elongation; mean and largest disagreement of the inputs
        with the estimate; heights of the sensor nodes above and below those of training, and their tilt, weighted by
        information; logarithm of the class probability; number of inputs. Of a modality: share of its inputs that ran,
        information of the best one, disagreement.
        """
        # As few operations as possible: for one frame, starting an operation takes longer than computing it.
        here = evidence.present.float()
        count = here.sum(dim=1, keepdim=True)
        first, _, skew, second = (x[:, None] for x in scale_tril_m.float().flatten(1).unbind(dim=1))
        log_area = (first * second).log()
        elongation = (first * first + skew * skew + second * second).log() - log_area
        log_area_each, apart = _of_inputs(evidence, mean_m)
        # Of an absent input nothing is defined.
        sure = (-log_area_each).masked_fill(~evidence.present, -NOTHING)
        apart = apart.masked_fill(~evidence.present, 0.0)
        weight = (torch.softmax(sure, dim=1) * here)[:, None]
        posed = torch.maximum(poses.float() @ self.factor + self.offset, self.lowest)
        logits, shape = class_logits.float(), (len(here), self.modalities, self.nodes)
        ran = here.view(shape).sum(dim=2)
        best = sure.view(shape).amax(dim=2).clamp_min(LEAST_SURE)
        return torch.cat([
            (log_area - CENTRE) / SPREAD, elongation - 1, apart.sum(dim=1, keepdim=True) / count.clamp_min(1),
            apart.amax(dim=1, keepdim=True), (weight @ posed)[:, 0],
            logits.amax(dim=1, keepdim=True) - logits.logsumexp(dim=1, keepdim=True), count / here.shape[1],
            ran / self.nodes, (best + CENTRE) / (2 * SPREAD), apart.view(shape).sum(dim=2) / ran.clamp_min(1),
        ], dim=1).clamp(-LARGEST_SIGN, LARGEST_SIGN)


def _of_inputs(evidence: Evidence, mean_m: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logarithm of the area of each input's ellipse (B, slots), and how far it is from the estimate.

    The latter is the logarithm of 1 plus half of the squared Mahalanobis distance.
    """
    x, y = (mean_m[:, None] - evidence.mean_m).float().unbind(-1)
    first, _, skew, second = evidence.scale_tril_m.float().flatten(2).unbind(-1)
    along = x / first
    across = (y - skew * along) / second
    return (first * second).log(), (0.5 * (along * along + across * across)).log1p()
