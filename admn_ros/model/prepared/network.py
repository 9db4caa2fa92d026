# SPDX-License-Identifier: Apache-2.0
"""The network prepared for inference: one copy of the weights in the forms that run fastest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from admn_ros.config import ModelConfig
from admn_ros.errors import InputError
from admn_ros.model.fusion import Adapter
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.model.prepared.backbone import Layers, PreparedBackbone
from admn_ros.model.prepared.controller import PreparedController
from admn_ros.model.prepared.fusion import PreparedFusion
from admn_ros.model.prepared.rows import Bools, Rows, rows_of
from admn_ros.model.qoi import ControllerOutput
from admn_ros.sample import Modality, SampleBatch

Active = Mapping[Modality, Sequence[int]]
"""Layers of each modality; modalities that are not named have none."""


def prepare(network: AdmnNetwork, dtype: torch.dtype = torch.float32) -> AdmnNetwork | PreparedNetwork:
    """Return a network prepared for inference, or the network itself where that is not possible.

    Networks of other types and on other devices run as they are, in float32.

    Args:
        network: network.
        dtype: precision of the layers of the backbones.
    """
    plain = type(network) is AdmnNetwork and network.qoi.cls_token.device.type == "cpu"
    return PreparedNetwork(network.eval(), dtype) if plain else network


class PreparedNetwork(nn.Module):
    """`AdmnNetwork` for inference on a CPU, with the same estimates up to rounding.

    Weights are those at the time of preparation. One thread at a time may use it, in inference mode.

    Args:
        network: network in evaluation mode, on the CPU; see `prepare`.
        dtype: precision of the layers of the backbones.

    Attributes:
        qoi: the controller.
        fusion: everything behind the backbones.
        name: name of the runtime, as in measured costs.
    """

    def __init__(self, network: AdmnNetwork, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.name = "torch" if dtype is torch.float32 else f"torch {str(dtype).removeprefix('torch.')}"
        self.config: ModelConfig = network.config
        shapes = {m: c.input.shape for m, c in self.config.modalities.items()}
        self.qoi = PreparedController(network.qoi, shapes)
        self.backbones = nn.ModuleDict({str(m): PreparedBackbone(network.backbone(m), cast(
            Adapter, network.adapters[str(m)]), dtype) for m in shapes})
        self.fusion = PreparedFusion(network)
        self._nodes = network.nodes
        self._poses = tuple(network.poses.shape)

    def backbone(self, modality: Modality) -> PreparedBackbone:
        """Return the backbone of a modality."""
        return cast(PreparedBackbone, self.backbones[str(modality)])

    def controller(self, batch: SampleBatch, budget: Tensor | None = None) -> ControllerOutput:
        """Estimate the quality of the inputs and score the layers. See `AdmnNetwork.controller`."""
        output: ControllerOutput = self.qoi(batch, budget)
        return output

    def estimate(self, batch: SampleBatch, active: Active) -> NetworkOutput:
        """Run exactly the listed layers, the same for every sample of the batch. See `AdmnNetwork.estimate`.

        Raises:
            InputError: a layer does not exist, or nothing runs on some sample.
        """
        return self.estimate_each(batch, [active])

    def estimate_each(self, batch: SampleBatch, active: Sequence[Active]) -> NetworkOutput:
        """Run on each sample exactly its own layers.

        Args:
            batch: inputs (B, N, C, H, W) per modality.
            active: layers of each sample, or one entry for all of them.

        Raises:
            InputError: a layer does not exist, or nothing runs on some sample.
        """
        size = len(next(iter(batch.present.values()), ()))
        present = np.zeros((size, len(self.config.modalities), self._nodes), np.bool_)
        found: list[tuple[Rows, Tensor]] = []
        for place, m in enumerate(self.config.modalities):
            layers = [self._layers(m, each) for each in active]
            rows = rows_of(batch, m).where([bool(those) for those in layers], self._nodes)
            if rows.index:
                each = layers if len(active) == 1 else [layers[i // self._nodes] for i in rows.index]
                found.append((rows, self.backbone(m)(rows.x, each)))
                present[:, place] = rows.mask(size, self._nodes)
        slots = present.reshape(size, -1)
        if not size or not slots.any(axis=1).all():
            raise InputError("active", "no layers of a present input", "at least one layer for every sample")
        output: NetworkOutput = self.fusion(self._in_order(found, present), slots, batch.poses)
        return output

    def _layers(self, modality: Modality, active: Active) -> Layers:
        """Return the layers of a modality, ascending."""
        layers, depth = tuple(sorted(set(active.get(modality, ())))), self.config.depths[modality]
        if layers and not 0 <= layers[0] <= layers[-1] < depth:
            raise InputError("active layers", list(layers), f"[0, {depth})")
        return layers

    def _in_order(self, found: Sequence[tuple[Rows, Tensor]], present: Bools) -> Tensor:
        """Return the tokens (R, dim) of all modalities, frame by frame."""
        tokens = torch.cat([values for _, values in found]) if len(found) > 1 else found[0][1]
        if len(present) == 1:
            return tokens
        _, modalities, nodes = present.shape
        places = np.nonzero(present.any(axis=(0, 2)))[0]
        order = np.concatenate([(np.array(rows.index) // nodes * modalities + place) * nodes
                                + np.array(rows.index) % nodes
                                for place, (rows, _) in zip(places, found, strict=True)])
        return tokens[torch.from_numpy(order.argsort())]
