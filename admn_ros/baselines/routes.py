# SPDX-License-Identifier: Apache-2.0
"""Choosing depths for all modalities at once: the best of all combinations that are possible for a sample."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


class Routes:
    """All combinations of one listed depth for each modality.

    Args:
        depths: of each modality, in the model's order; 0 leaves the modality out.
    """

    def __init__(self, depths: Sequence[Sequence[int]]) -> None:
        self.choices = torch.tensor(list(itertools.product(*(range(len(d)) for d in depths))))
        self.counts = torch.tensor(list(itertools.product(*depths)))

    def best(self, scores: Sequence[Tensor], available: Tensor, max_layers: int | None) -> Tensor:
        """Depths (B, M) of the combination of largest total score.

        A missing modality has no layers and costs nothing. Nothing at all runs only when nothing else is possible.

        Args:
            scores: (B, number of depths) per modality.
            available: (B, M) bool.
            max_layers: of a sample; None for any.
        """
        total = torch.stack([s.detach().cpu().float()[:, self.choices[:, i]] for i, s in enumerate(scores)]).sum(dim=0)
        layers = (self.counts * available[:, None]).sum(dim=2)
        fits = layers <= (layers.max() if max_layers is None else max_layers)
        runs = fits & (layers > 0)
        possible = torch.where(runs.any(dim=1, keepdim=True), runs, layers == 0)
        # Of combinations that differ in a missing modality alone the scores decide, which changes nothing.
        index = total.masked_fill(~possible, -torch.inf).argmax(dim=1)
        return self.counts[index] * available
