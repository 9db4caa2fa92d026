# SPDX-License-Identifier: Apache-2.0
"""Prediction of what an input is worth before it runs, from the controller's low-resolution look at it.

An input adds information about the position, in 1/m^2 as the inverse of a variance, and about the class, in logits.
Both add up over inputs: the expected position error of a set of inputs is (prior + sum of information)^(-1/2), and the
expected rate of right classes is the sigmoid of (bias + sum of logits). `admn_ros.training.stages.value` fits both to
the errors of the frozen network. Deeper backbones reach a growing share of an input's information.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.config import Objective
from admn_ros.sample import Modality

LOGIT_INFORMATION = 40.0
"""Position information in 1/m^2 that is worth as much as one logit of the class, for equal weights of both.

A convention: a standard deviation of 0.16 m. `Objective` moves the balance.
"""
MODALITY_FEATURES = 16
"""Features of a modality that the head learns."""
_LOG_INFORMATION = (-6.0, 12.0)


@dataclass(frozen=True)
class InputValue:
    """Predicted value of every input of a batch.

    Attributes:
        position: (B, M, N) information about the position in 1/m^2, 0 for absent inputs.
        classes: (B, M, N) information about the class in logits, 0 for absent inputs.
        share: depth of each backbone to the share of the information that its first layers give, ascending to 1.
    """

    position: Tensor
    classes: Tensor
    share: Mapping[Modality, Tensor]

    def of_depths(self, objective: Objective) -> dict[Modality, Tensor]:
        """Return the value (B, N, depth) of running the first 1, 2, ... layers of each modality at each sensor node."""
        whole = objective.position * self.position / LOGIT_INFORMATION + objective.classification * self.classes
        return {m: whole[:, i, :, None] * share for i, (m, share) in enumerate(self.share.items())}


class ValueHead(nn.Module):
    """Value of each input from the tokens of the controller's convolutions.

    It does not read the budget, so that a larger budget never has a lower predicted value.
    """

    def __init__(self, dim: int, depths: Mapping[Modality, int], hidden: int) -> None:
        super().__init__()
        self.depths = dict(depths)
        self.modality = nn.Parameter(torch.zeros(len(depths), MODALITY_FEATURES))
        self.layers = nn.Sequential(nn.Linear(3 * dim + MODALITY_FEATURES, hidden), nn.GELU(),
                                    nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 2))
        self.log_prior = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(()))
        # A trained network gets most of its information from the first layer; the fit finds out how much.
        self.gains = nn.ParameterDict({str(m): nn.Parameter(torch.tensor([3.0] + [0.0] * (depth - 1)))
                                       for m, depth in depths.items()})

    def forward(self, tokens: Sequence[Tensor], present: Sequence[Tensor]) -> InputValue:
        """Predict the value of every input.

        Args:
            tokens: (B, N, dim) of each modality.
            present: (B, N) bool of each modality.
        """
        here = torch.stack(list(present), dim=1)
        x = torch.stack(list(tokens), dim=1) * here[..., None]
        of_modality = x.sum(dim=2) / here.sum(dim=2, keepdim=True).clamp_min(1)
        of_frame = x.sum(dim=(1, 2)) / here.sum(dim=(1, 2))[:, None].clamp_min(1)
        batch, modalities, nodes, dim = x.shape
        shape = batch, modalities, nodes
        features = torch.cat([
            x, of_modality[:, :, None].expand(*shape, dim), of_frame[:, None, None].expand(*shape, dim),
            self.modality[None, :, None].expand(*shape, -1)], dim=-1)
        return bounded_value(self.layers(features).float(), here, self.shares())

    def shares(self) -> dict[Modality, Tensor]:
        """Return the share (depth,) of an input's information that the first 1, 2, ... layers give."""
        return {m: self.gains[str(m)].softmax(dim=0).cumsum(dim=0) for m in self.depths}

    def expected(self, value: InputValue, used: Tensor, layers: Mapping[Modality, int]) -> tuple[Tensor, Tensor]:
        """Return the expected error (...) of the position in metres, and the logit (...) of a right class.

        Args:
            value: value of the inputs of a batch.
            used: (B, M, N) or (B, S, M, N) bool; inputs that run, in S sets.
            layers: number of layers of each modality.
        """
        share = torch.stack([value.share[m][k - 1] for m, k in layers.items()])[:, None]
        position, classes = (x if used.dim() == x.dim() else x[:, None] for x in (value.position, value.classes))
        information = (used * position * share).sum(dim=(-2, -1)) + self.log_prior.exp()
        return information.rsqrt(), (used * classes * share).sum(dim=(-2, -1)) + self.bias


def bounded_value(raw: Tensor, present: Tensor, share: Mapping[Modality, Tensor]) -> InputValue:
    """Return the value of inputs from the outputs (B, M, N, 2) of the head's layers.

    Args:
        raw: outputs.
        present: (B, M, N) bool.
        share: as in `InputValue`.
    """
    position, classes = raw.unbind(-1)
    return InputValue(position.clamp(*_LOG_INFORMATION).exp() * present, F.softplus(classes) * present, share)
