# SPDX-License-Identifier: Apache-2.0
"""Evidence of the inputs and its fusion for inference, in NumPy.

Dozens of operations on a few numbers each: NumPy starts an operation in a fraction of the time that PyTorch takes.
The formulas are those of `admn_ros.model.evidence`, in the same precision.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from admn_ros.model.evidence import LOG_INFORMATION, POSE_FEATURES, EvidenceHead
from admn_ros.model.prepared.rows import Bools
from admn_ros.model.prepared.transformer import Affine, gelu

Floats = npt.NDArray[np.float32]
_NOTHING, _HALF = np.float32(0), np.float32(0.5)


class Gaussians(NamedTuple):
    """Gaussians in the plane: mean (...), and the three entries (...) of the Cholesky factor of the covariance."""

    x_m: Floats
    y_m: Floats
    first: Floats
    skew: Floats
    second: Floats


class _Information(NamedTuple):
    xx: Floats
    xy: Floats
    yy: Floats
    x: Floats
    y: Floats


class Places(NamedTuple):
    """What depends on the poses of the slots' sensor nodes alone.

    Attributes:
        poses: (B, slots, 5), or (1, slots, 5) for all frames, as the others.
        cos: cosine of the yaw.
        sin: sine of the yaw.
        hidden: (B, slots, dim) part of the hidden layer.
    """

    poses: Floats
    cos: Floats
    sin: Floats
    hidden: Tensor


class PreparedEvidence:
    """`EvidenceHead`.

    Args:
        head: the head.
        modalities: number of modalities, each of which has a slot for every sensor node.
    """

    def __init__(self, head: EvidenceHead, modalities: int) -> None:
        self._modalities = modalities
        self._last: tuple[bytes, Places] | None = None
        first = cast(nn.Linear, head.hidden[0])
        weight = first.weight.detach().t()
        self._by_token, self._by_pose = weight[:-POSE_FEATURES].contiguous(), weight[-POSE_FEATURES:].contiguous()
        self._bias = first.bias.detach()
        self._second, self._output = Affine(head.hidden[2]), Affine(head.output)
        self._centre_m: Floats = head.centre_m.numpy()
        self._reach_m = np.float32(head.half_range_m.mean())
        self._floor = np.float32(head.std_floor_m**2)
        xx, yy = 1 / head.half_range_m.numpy()**2
        self._prior = _Information(xx, np.float32(0), yy, xx * self._centre_m[0], yy * self._centre_m[1])

    def places(self, poses: Floats) -> Places:
        """Return what depends on the poses (B, N, 5) of the sensor nodes, which seldom change."""
        key = poses.tobytes()
        if self._last is None or self._last[0] != key:
            at = np.tile(poses, (1, self._modalities, 1))
            towards = self._centre_m - at[..., :2]
            features = np.stack([np.hypot(towards[..., 0], towards[..., 1]), at[..., 2], at[..., 4]], axis=-1)
            hidden = torch.from_numpy(features) @ self._by_pose + self._bias
            self._last = key, Places(at, np.cos(at[..., 3]), np.sin(at[..., 3]), hidden)
        return self._last[1]

    def outputs(self, tokens: Tensor, places: Places, present: Bools) -> Floats:
        """Return the five outputs (R, 5) of the tokens (R, dim) of the present slots (B, slots)."""
        by_pose = places.hidden.expand(len(present), -1, -1)
        of_present = by_pose.flatten(0, 1) if present.all() else by_pose[torch.from_numpy(present)]
        hidden = gelu(torch.addmm(of_present, tokens, self._by_token))
        found: Floats = self._output(gelu(self._second(hidden))).numpy()
        return found

    def fuse(self, outputs: Floats, present: Bools, places: Places) -> tuple[Gaussians, Gaussians]:
        """Fuse evidence.

        Args:
            outputs: (B, slots, 5); those of absent slots are zero.
            present: (B, slots).
            places: of the slots.

        Returns:
            Gaussian (B,) of all present slots, and Gaussians (B, slots) of each alone.
        """
        each = self._information(outputs, places)
        total = _Information(*(np.where(present, part, _NOTHING).sum(axis=1) for part in each))
        return self._gaussian(self._with_prior(total)), self._gaussian(self._with_prior(each))

    def _with_prior(self, information: _Information) -> _Information:
        return _Information(*(part + prior for part, prior in zip(information, self._prior, strict=True)))

    def _information(self, outputs: Floats, places: Places) -> _Information:
        ahead, left, low_x, low_y, skew = outputs.transpose(2, 0, 1)
        _, cos, sin, _ = places
        x = self._centre_m[0] + self._reach_m * (cos * ahead - sin * left)
        y = self._centre_m[1] + self._reach_m * (sin * ahead + cos * left)
        a, d = (np.exp(v.clip(*LOG_INFORMATION) * _HALF) for v in (low_x, low_y))
        first, second, sd, cd = cos * a - sin * skew, sin * a + cos * skew, sin * d, cos * d
        xx, xy, yy = first * first + sd * sd, first * second - sd * cd, second * second + cd * cd
        return _Information(xx, xy, yy, xx * x + xy * y, xy * x + yy * y)

    def _gaussian(self, information: _Information) -> Gaussians:
        xx, xy, yy, x, y = information
        inverse: Floats = np.float32(1) / (xx * yy - xy * xy)
        x_m = (yy * x - xy * y) * inverse
        y_m = (xx * y - xy * x) * inverse
        first = np.sqrt(yy * inverse + self._floor)
        below = -xy * inverse / first
        second = np.sqrt(np.maximum(xx * inverse + self._floor - below * below, self._floor))
        return Gaussians(x_m, y_m, first, below, second)
