# SPDX-License-Identifier: Apache-2.0
"""Multiply-accumulate operations of the segmentation network, counted in the layers that run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from admn_ros.baselines.segmentation.network import CHOICES, RgbdSegmentation


class MacMeter:
    """Counts the multiply-accumulate operations of convolutions and linear layers of a module while it is open."""

    def __init__(self, module: nn.Module) -> None:
        self.macs = 0
        self._layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        self._hooks: list[Any] = []

    def __enter__(self) -> MacMeter:
        self._hooks = [layer.register_forward_hook(self._count) for layer in self._layers]
        return self

    def __exit__(self, *exc: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _count(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        # Each output value is a product with one row of the weights.
        self.macs += output.numel() * weight[0].numel()


def macs_by_choice(network: RgbdSegmentation) -> tuple[int, ...]:
    """Return the operations of one frame with 0 to 4 depth blocks, without the gate."""
    config, device = network.config, next(network.parameters()).device
    rgb = torch.zeros(1, config.rgb_channels, config.height, config.width, device=device)
    depth = torch.zeros(1, config.depth_channels, config.height, config.width, device=device)
    found = []
    for count in range(CHOICES):
        with torch.no_grad(), MacMeter(network) as meter:
            network.run(rgb, depth, torch.tensor([count], device=device))
        found.append(meter.macs)
    return tuple(found)


def gate_macs(network: RgbdSegmentation) -> int:
    """Return the operations of the gate for one frame."""
    config, device = network.config, next(network.parameters()).device
    x = torch.zeros(1, config.rgb_channels + config.depth_channels, config.height, config.width, device=device)
    with torch.no_grad(), MacMeter(network.gate) as meter:
        network.gate(x)
    return meter.macs
