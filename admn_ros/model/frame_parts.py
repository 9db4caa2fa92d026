# SPDX-License-Identifier: Apache-2.0
"""Parts of a frame's cost as callables, for counting operations and measuring time."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from admn_ros.budget.costs import LayerCosts, ModalityCosts
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality

Work = Callable[[], object]


class FrameParts:
    """Parts of a frame on inputs of zeros, named as in `admn_ros.budget.costs.LayerCosts`.

    Args:
        network: network in evaluation mode, on any device.
    """

    def __init__(self, network: AdmnNetwork) -> None:
        self._network = network
        self._like = network.qoi.cls_token.detach()

    def controller(self, modality: Modality, nodes: int) -> Work:
        """Return the controller's convolutions on a number of present sensor nodes."""
        convolutions, observed = self._network.qoi.stems[str(modality)], min(nodes, self._network.qoi.observed)
        x = self._zeros(observed, *self._network.backbone(modality).shape)
        return lambda: convolutions(x)

    def embedding(self, modality: Modality, nodes: int) -> Work:
        """Return patch embedding, final norm and adapter on a number of present sensor nodes."""
        vit, adapter = self._network.backbone(modality), self._network.adapters[str(modality)]
        x = self._zeros(nodes, *vit.shape)
        return lambda: adapter(vit.readout(*vit.embed(x)))

    def layer(self, modality: Modality, nodes: int) -> Work:
        """Return one backbone layer on a number of present sensor nodes.

        Each call runs the next layer, as in a frame: the weights of a single layer would stay in the processor's cache.
        """
        vit = self._network.backbone(modality)
        tokens, blocks = self._zeros(nodes, *vit.pos_embed.shape[1:]), itertools.cycle(vit.blocks)
        return lambda: next(blocks)(tokens)

    def fixed(self) -> Work:
        """Return the fixed part: controller transformer, its heads, value of the inputs, fusion, heads, covariance."""
        network, qoi = self._network, self._network.qoi
        slots, seen = (len(code) for code in (network.fusion.encoder.code, qoi.encoder.code))
        tokens, qualities = self._zeros(1, slots, network.config.fusion.dim), self._zeros(1, seen, qoi.dim)
        present = self._zeros(1, slots).bool().logical_not()
        keep, share = self._zeros(1, seen).bool().logical_not(), self._zeros(1)
        nodes, modalities = qoi.observed, len(network.config.modalities)
        looks, seeing = [self._zeros(1, nodes, qoi.dim)] * modalities, [present[:, :nodes]] * modalities

        def work() -> None:
            if qoi.budget is not None:
                qoi.budget(share)
            e_corr = qoi.encoder(qualities, keep)[:, 0]
            qoi.mlp_layers(e_corr)
            qoi.mlp_corruption(e_corr)
            if qoi.value is not None:
                qoi.value(looks, seeing)
            output, _ = network.fuse(tokens, present)
            output.scale_tril_m[0] @ output.scale_tril_m[0].T

        return work

    def _zeros(self, *shape: int) -> torch.Tensor:
        return self._like.new_zeros(shape)


def count_flops(network: AdmnNetwork) -> LayerCosts:
    """Count the floating-point operations of a network's parts with PyTorch's counter.

    Exact for any network, but slow at first use: a dispatch mode makes PyTorch import its compiler, which takes one
    second and 75 MB. The formulas of `admn_ros.model.flops` give the same numbers without a network.
    """
    parts, config, observed = FrameParts(network), network.config, network.qoi.observed
    # Sensor nodes run as a batch: each of them adds the same.
    nodes = range(1, len(config.sensor_nodes) + 1)
    modalities = {}
    for m, depth in config.depths.items():
        controller, embedding, layer = (_flops(part(m, 1)) for part in (parts.controller, parts.embedding, parts.layer))
        modalities[m] = ModalityCosts(depth, tuple(min(n, observed) * controller for n in nodes),
                                      tuple(n * embedding for n in nodes), tuple(n * layer for n in nodes))
    return LayerCosts("gflops", _flops(parts.fixed()), modalities)


def _flops(work: Work) -> int:
    # The counter does not cover the fused attention kernels of all devices, but it counts matrix products.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())
