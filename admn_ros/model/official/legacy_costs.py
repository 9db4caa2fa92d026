# SPDX-License-Identifier: Apache-2.0
"""Floating-point operations of the official release's heads and controllers, which are not ours.

Backbones and adapters are ours; `admn_ros.model.flops` says what is counted.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from admn_ros.budget.costs import LayerCosts
from admn_ros.model.costs import flop_costs
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.official.legacy_head import LegacyFrameController, LegacyLocalizationHead, SpectrogramLook
from admn_ros.model.transformer import Encoder


def legacy_flop_costs(network: AdmnNetwork) -> LayerCosts:
    """Count an imported network.

    Exact, but for MM-Fi's controller: it looks at the first three frames, so that with more than
    three present and one of those absent the count is too high.
    """
    config = network.config
    ours = flop_costs(config)
    modalities = dict(ours.modalities)
    for modality, costs in ours.modalities.items():
        look = network.qoi.look[str(modality)]
        if isinstance(look, SpectrogramLook):
            once = _spectrogram(look)
            modalities[modality] = replace(costs, controller=tuple(n * once for n in range(1, costs.nodes + 1)))
        elif isinstance(network.qoi, LegacyFrameController):
            most = network.qoi.frames - 1
            modalities[modality] = replace(
                costs, controller=tuple(costs.controller[min(i, most)] for i in range(costs.nodes)))
    return replace(ours, fixed=_fixed(network), modalities=modalities)


def _fixed(network: AdmnNetwork) -> int:
    """Controller without its looks, fusion and heads."""
    controller = _encoder(network.qoi.encoder) + _linears(network.qoi.mlp_layers) + _linears(network.qoi.mlp_corruption)
    heads = _linears(network.localization) + _linears(network.classification)
    if isinstance(network.localization, LegacyLocalizationHead):
        heads += _linears(network.localization.shared)  # applied twice
    axes = len(network.config.localization.min_m)
    return controller + _encoder(network.fusion.encoder) + heads + 2 * axes**3  # covariance from its factor


def _encoder(encoder: Encoder) -> int:
    tokens, dim = encoder.code.shape
    return _linears(encoder, tokens) + len(encoder.blocks) * 2 * (2 * tokens * tokens * dim)


def _linears(part: nn.Module, rows: int = 1) -> int:
    return sum(2 * rows * m.weight.numel() for m in part.modules() if isinstance(m, nn.Linear))


def _spectrogram(look: SpectrogramLook) -> int:
    """One spectrogram; pooling comes before the third convolution."""
    first, second, third = (m for m in look.layers if isinstance(m, nn.Conv2d))
    a = _shrunk(look.SIZE, first)
    b = _shrunk(a, second)
    pooled = b[0] // look.POOL[0], b[1] // look.POOL[1]
    sizes = a, b, _shrunk(pooled, third)
    convolutions = sum(2 * rows * columns * conv.weight.numel()
                       for (rows, columns), conv in zip(sizes, (first, second, third), strict=True))
    return convolutions + _linears(look)


def _shrunk(size: tuple[int, int], conv: nn.Conv2d) -> tuple[int, int]:
    """Output rows and columns of a convolution without padding."""
    return size[0] - conv.kernel_size[0] + 1, size[1] - conv.kernel_size[1] + 1
