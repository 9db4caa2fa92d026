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
_LARGEST_SIGN = 4.0
_LOG_SCALE = (-1.5, 5.0)
"""Range of the logarithm of the covariance's scale: standard deviations times 0.47 to 12."""
_LOG_TEMPERATURE = 2.0
_SPREAD, _CENTRE = 1.5, -4.0
"""Centre and spread of the logarithm of a variance in m^2: standard deviations from 2 cm to 1 m within two spreads."""
_TINY = 1e-9


class Calibration(nn.Module):
    """Scale of the covariance and temperature of the classes, from signs of how far an estimate can be trusted.

    Untrained, it changes nothing.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.modalities, self.nodes = len(config.modalities), len(config.sensor_nodes)
        self.seen_height_m, self.std_floor_m = config.calibration.seen_height_m, config.localization.std_floor_m
        signs, hidden = FRAME_SIGNS + MODALITY_SIGNS * self.modalities, config.calibration.hidden
        self.scale = nn.Sequential(nn.Linear(signs, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.temperature = nn.Linear(signs, 1)
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
        log_scale = self.scale(signs)[:, 0].clamp(*_LOG_SCALE)
        log_sharpness = self.temperature(signs).clamp(-_LOG_TEMPERATURE, _LOG_TEMPERATURE)
        scaled = scale_tril_m * (log_scale / 2).exp()[:, None, None]
        diagonal = scaled.diagonal(dim1=-2, dim2=-1)
        return scaled + torch.diag_embed((self.std_floor_m - diagonal).clamp_min(0)), class_logits * log_sharpness.exp()

    def signs(self, mean_m: Tensor, scale_tril_m: Tensor, class_logits: Tensor, evidence: Evidence,
              poses: Tensor) -> Tensor:
        """Return the signs (B, FRAME_SIGNS + MODALITY_SIGNS * M) that the calibration reads. Arguments as `forward`.

        Of a frame: logarithm of the area of the ellipse and its elongation; mean and largest disagreement of the inputs
        with the estimate; heights of the sensor nodes above and below those of training, and their tilt, weighted by
        information; logarithm of the class probability; number of inputs. Of a modality: share of its inputs that ran,
        information of the best one, disagreement.
        """
        present = evidence.present.float()
        count = present.sum(dim=1, keepdim=True)
        diagonal = scale_tril_m.float().diagonal(dim1=-2, dim2=-1)
        log_area = diagonal.log().sum(dim=1, keepdim=True)
        elongation = scale_tril_m.float().square().sum(dim=(1, 2))[:, None].log() - log_area
        # Of an absent input nothing is defined, so that it is replaced before any arithmetic.
        log_std = torch.where(evidence.present, evidence.scale_tril_m.diagonal(dim1=-2, dim2=-1).log().sum(-1) / 2, 2.0)
        away = torch.where(evidence.present, torch.log1p(_mahalanobis(evidence, mean_m) / 2), 0.0)
        weight = present * torch.softmax(-2 * log_std, dim=1)
        weight = weight / weight.sum(dim=1, keepdim=True).clamp_min(_TINY)
        low_m, high_m = self.seen_height_m
        height_m, tilt = poses[..., 2].float(), poses[..., 4].float()
        span_m = high_m - low_m
        posed = [((height_m - high_m) / span_m).clamp_min(0), ((low_m - height_m) / span_m).clamp_min(0), 4 * tilt - 1]
        frame = [(log_area - _CENTRE) / _SPREAD, elongation - 1, away.sum(dim=1, keepdim=True) / count.clamp_min(1),
                 away.amax(dim=1, keepdim=True), *((weight * x).sum(dim=1, keepdim=True) for x in posed),
                 class_logits.float().log_softmax(dim=1).amax(dim=1, keepdim=True), count / present.shape[1]]
        here, apart, known = (x.view(-1, self.modalities, self.nodes) for x in (present, away, log_std))
        of_modality = [here.mean(dim=2), -(known.amin(dim=2) - _CENTRE / 2) / _SPREAD,
                       apart.sum(dim=2) / here.sum(dim=2).clamp_min(1)]
        return torch.cat([*frame, *of_modality], dim=1).clamp(-_LARGEST_SIGN, _LARGEST_SIGN)


def _mahalanobis(evidence: Evidence, mean_m: Tensor) -> Tensor:
    """Return the squared Mahalanobis distance (B, slots) of the estimate from each input's evidence."""
    x, y = (mean_m[:, None] - evidence.mean_m).float().unbind(-1)
    factor = evidence.scale_tril_m.float()
    first = x / factor[..., 0, 0]
    return first**2 + ((y - factor[..., 1, 0] * first) / factor[..., 1, 1])**2
