# SPDX-License-Identifier: Apache-2.0
"""Random sets of inputs and depths, on which stages that leave the network as it is see what it makes of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality


def random_depths(network: AdmnNetwork, one_layer: float, draws: torch.Generator) -> dict[Modality, int]:
    """Draw the number of layers of each modality for a batch.

    Args:
        network: network with the backbones.
        one_layer: probability of one layer of each modality; otherwise each has a random depth.
        draws: source of random numbers, on the CPU.
    """
    depths = network.config.depths
    if float(torch.rand((), generator=draws)) < one_layer:
        return dict.fromkeys(depths, 1)
    return {m: 1 + int(torch.randint(depth, (), generator=draws)) for m, depth in depths.items()}


def random_sets(network: AdmnNetwork, size: int, sets: int, whole_modalities: float,
                draws: torch.Generator) -> Iterator[Tensor]:
    """Yield random sets of inputs (B, M, N) bool. Each set keeps an input with a probability of its own.

    Args:
        network: network with M modalities at N sensor nodes.
        size: number of samples B.
        sets: number of sets.
        whole_modalities: share of the sets that have a modality at all sensor nodes or at none.
        draws: source of random numbers, on the CPU.
    """
    modalities, nodes = len(network.config.depths), network.nodes
    for _ in range(sets):
        probability = 0.1 + 0.8 * torch.rand(size, 1, 1, generator=draws)
        whole = torch.rand(size, 1, 1, generator=draws) < whole_modalities
        inputs = torch.rand(size, modalities, nodes, generator=draws) < probability
        yield torch.where(whole, inputs[:, :, :1], inputs)
