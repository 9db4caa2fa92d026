# SPDX-License-Identifier: Apache-2.0
"""Localization from the evidence of each input, fused in the model's frame.

Each token gives a position in the frame of its sensor node and an information matrix (the inverse of a covariance),
so that a bearing without range counts in one direction only, and an input that does not see the target counts
little. The poses of the nodes transform both into the model's frame, where information adds up as in an information
filter (Mutambara 1998). The network therefore learns nothing about the placement of the nodes.

All 2 x 2 algebra is in closed form, because LAPACK is slow on batches of small matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from admn_ros.config import LocalizationConfig

POSE_FEATURES = 3
"""Features of a sensor node's pose that the head reads: distance to the area's centre, height, tilt."""
LOG_INFORMATION = (-8.0, 10.0)
"""Range of the logarithm of information in 1/m^2: standard deviations from 7 mm to 55 m."""


class Evidence(NamedTuple):
    """Gaussian of each slot alone with the prior, in the model's frame.

    Attributes:
        mean_m: (B, slots, 2) position in metres.
        scale_tril_m: (B, slots, 2, 2) Cholesky factor of the covariance.
        present: (B, slots) bool; the other slots are undefined.
    """

    mean_m: Tensor
    scale_tril_m: Tensor
    present: Tensor


class _Information(NamedTuple):
    """Information matrices (xx, xy, yy) and information vectors (x, y)."""

    xx: Tensor
    xy: Tensor
    yy: Tensor
    x: Tensor
    y: Tensor

    def plus(self, other: _Information) -> _Information:
        return _Information(*(a + b for a, b in zip(self, other, strict=True)))


class EvidenceHead(nn.Module):
    """Gaussian of the target's position in the plane, in metres.

    The prior is centred on the configured area, with half of its size as standard deviation.
    """

    centre_m: Tensor
    half_range_m: Tensor

    def __init__(self, dim: int, config: LocalizationConfig) -> None:
        super().__init__()
        low, high = torch.tensor(config.min_m), torch.tensor(config.max_m)
        self.std_floor_m = config.std_floor_m
        self.register_buffer("centre_m", (low + high) / 2, persistent=False)
        self.register_buffer("half_range_m", (high - low) / 2, persistent=False)
        self.hidden = nn.Sequential(nn.Linear(dim + POSE_FEATURES, dim), nn.GELU(), nn.Linear(dim, dim), nn.GELU())
        self.output = nn.Linear(dim, 5)

    def forward(self, tokens: Tensor, present: Tensor, poses: Tensor) -> tuple[Tensor, Tensor, Evidence]:
        """Fuse the evidence of the tokens.

        Args:
            tokens: (B, slots, dim).
            present: (B, slots) bool; other tokens have no influence.
            poses: (B, slots, 5), x, y, z, yaw, tilt of each token's sensor node.

        Returns:
            mean_m (B, 2); scale_tril_m (B, 2, 2), lower triangular, with a diagonal of at least std_floor_m;
            and the evidence of each slot.
        """
        information = self._information(tokens, poses.float())
        prior = self._prior()
        total = _Information(*(torch.where(present, part, 0.0).sum(dim=1) for part in information)).plus(prior)
        mean_m, scale_tril_m = self._gaussian(total)
        return mean_m, scale_tril_m, Evidence(*self._gaussian(information.plus(prior)), present)

    def _information(self, tokens: Tensor, poses: Tensor) -> _Information:
        """Return the information of each token in the model's frame."""
        towards = self.centre_m - poses[..., :2]
        features = torch.cat([towards.norm(dim=-1, keepdim=True), poses[..., 2:3], poses[..., 4:5]], dim=-1)
        hidden = self.hidden(torch.cat([tokens, features.to(tokens.dtype)], dim=-1))
        # The geometry is float32 under autocast too: a determinant does not survive the rounding of bfloat16.
        ahead, left, low_x, low_y, skew = self.output(hidden).float().unbind(-1)
        cos, sin = poses[..., 3].cos(), poses[..., 3].sin()
        # The output is an offset from the area's centre along the node's axes, in units of the area's half size.
        reach = self.half_range_m.mean()
        x = self.centre_m[0] + reach * (cos * ahead - sin * left)
        y = self.centre_m[1] + reach * (sin * ahead + cos * left)
        a, d = ((v.clamp(*LOG_INFORMATION) / 2).exp() for v in (low_x, low_y))
        # Cholesky factor [[a, 0], [skew, d]] of the information matrix, rotated by the node's yaw.
        first, second = cos * a - sin * skew, sin * a + cos * skew
        xx, xy, yy = first**2 + (sin * d)**2, first * second - sin * cos * d**2, second**2 + (cos * d)**2
        return _Information(xx, xy, yy, xx * x + xy * y, xy * x + yy * y)

    def _prior(self) -> _Information:
        xx, yy = (1 / self.half_range_m**2).unbind()
        return _Information(xx, torch.zeros_like(xx), yy, xx * self.centre_m[0], yy * self.centre_m[1])

    def _gaussian(self, information: _Information) -> tuple[Tensor, Tensor]:
        """Return the mean (..., 2) and the Cholesky factor (..., 2, 2) of the covariance."""
        xx, xy, yy, x, y = information
        determinant = xx * yy - xy**2
        mean_m = torch.stack([yy * x - xy * y, xx * y - xy * x], dim=-1) / determinant[..., None]
        floor = self.std_floor_m**2
        first = (yy / determinant + floor).sqrt()
        below = -xy / determinant / first
        # Positive up to rounding, which the floor covers.
        second = (xx / determinant + floor - below**2).clamp_min(floor).sqrt()
        rows = torch.stack([first, torch.zeros_like(first), below, second], dim=-1)
        return mean_m, rows.reshape(*rows.shape[:-1], 2, 2)
