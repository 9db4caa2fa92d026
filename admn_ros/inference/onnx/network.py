# SPDX-License-Identifier: Apache-2.0
"""A network on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from admn_ros.config import ModelConfig
from admn_ros.inference.onnx import graphs
from admn_ros.inference.onnx.manifest import FOLDER, check_graphs, graph_file
from admn_ros.inference.onnx.sessions import Array, Held, Place, Session
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.model.present_nodes import present_rows
from admn_ros.model.qoi import ControllerOutput, QoiEncoder
from admn_ros.model.value.head import InputValue
from admn_ros.sample import Modality, SampleBatch

Sessions = Mapping[str, Session]


class OnnxLayer(nn.Module):
    """One layer of a backbone."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def forward(self, tokens: Array | Held) -> Held:
        """Map tokens (R, T, dim) to the same shape."""
        return self._session(tokens=tokens)[0]


class OnnxBackbone(nn.Module):
    """Backbone of one modality, with its adapter.

    Attributes:
        blocks: layers.
    """

    def __init__(self, sessions: Sessions, modality: Modality, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(OnnxLayer(sessions[graphs.block(modality, k)]) for k in range(depth))
        self.embed, self._readout = sessions[graphs.embedding(modality)], sessions[graphs.readout(modality)]

    def readout(self, tokens: Array | Held, maps: Sequence[Array | Held]) -> Held:
        """Return the fusion tokens (R, fusion dim) of tokens (R, T, dim), and feature maps if there are some."""
        return self._readout(tokens=tokens, **({"maps": maps[0]} if maps else {}))[0]

    def forward(self, rows: Array, layers: Sequence[int]) -> Held:
        """Map rows (R, C, H, W) to fusion tokens (R, fusion dim) with exactly these layers, ascending."""
        tokens, *maps = self.embed(rows=rows)
        for k in layers:
            tokens = self.blocks[k](tokens)
        return self.readout(tokens, maps)


class OnnxController(nn.Module):
    """Controller. See `admn_ros.model.qoi.QoiEncoder`."""

    def __init__(self, sessions: Sessions, config: ModelConfig, qoi: QoiEncoder) -> None:
        super().__init__()
        self.looks = {m: sessions[graphs.look(m)] for m in config.modalities}
        self._session, self._config, self._judged = sessions[graphs.CONTROLLER], config, qoi.judged
        self._shares = {} if qoi.value is None else {
            m: qoi.value.gains[str(m)].detach().cpu().softmax(dim=0).cumsum(dim=0) for m in config.modalities}

    def judge(self, tokens: Array, present: Array, budget: Array) -> list[Array]:
        """Run what follows the looks: tokens (1, M, N, dim) of observed nodes, present (1, M, N), budget (1,)."""
        budgets = {"budget": budget} if self._config.qoi.budget_token else {}
        return [x.numpy() for x in self._session(tokens=tokens, present=present, **budgets)]

    def forward(self, batch: SampleBatch, budget: Tensor | None = None) -> ControllerOutput:
        """See `AdmnNetwork.controller`."""
        config, size = self._config, _size(batch)
        batch = batch.first(config.observed)
        present = np.zeros((size, len(config.modalities), config.observed), bool)
        tokens = np.zeros((*present.shape, config.qoi.dim), np.float32)
        for i, m in enumerate(config.modalities):
            if m in batch.inputs:
                present[:, i] = batch.present[m].numpy()
                rows, _ = present_rows(batch.inputs[m], batch.present[m])
                if len(rows):
                    tokens[:, i][present[:, i]] = self.looks[m](rows=rows.numpy())[0].numpy()
        shares = np.ones(size, np.float32) if budget is None else budget.float().numpy()
        parts = zip(*(self.judge(tokens[b:b + 1], present[b:b + 1], shares[b:b + 1]) for b in range(size)),
                    strict=True)
        logits, corruption, e_corr, *values = (torch.from_numpy(np.concatenate(part)) for part in parts)
        return ControllerOutput(
            dict(zip(config.modalities, torch.split(logits, list(config.depths.values()), dim=1), strict=True)),
            dict(zip(config.modalities, corruption.unbind(1), strict=True)), e_corr, self._judged,
            InputValue(values[0], values[1], self._shares) if values else None)


class OnnxNetwork(nn.Module):
    """Exported graphs of a network, with the calls of `AdmnNetwork`. See `admn_ros.inference.runtime.Runtime`.

    Batches are on the CPU. Their samples share looks and backbones.

    Args:
        network: the network, for its description.
        folder: model folder with graphs.
        place: where the graphs run.

    Raises:
        ModelError: graphs are missing, damaged, of other weights, or refused by ONNX Runtime.
        ConfigError: the package onnxruntime is missing.

    Attributes:
        config: description of the model.
        qoi: the controller.
        name: name of the runtime, as in measured costs.
    """

    def __init__(self, network: AdmnNetwork, folder: Path, place: Place) -> None:
        super().__init__()
        model = check_graphs(network, folder).model
        sessions = {name: Session(graph_file(folder / FOLDER, name), place, model)
                    for name in graphs.graph_names(network)}
        self.config = network.config
        self.name = f"onnxruntime {place.providers[0]}{' float16' * place.half}"
        self.qoi = OnnxController(sessions, network.config, network.qoi)
        self.backbones = nn.ModuleDict({str(m): OnnxBackbone(sessions, m, depth)
                                        for m, depth in network.config.depths.items()})
        self._fusion, self._poses = sessions[graphs.FUSION], network.poses.cpu().clone()

    def backbone(self, modality: Modality) -> OnnxBackbone:
        """Return the backbone of a modality."""
        return cast(OnnxBackbone, self.backbones[str(modality)])

    def controller(self, batch: SampleBatch, budget: Tensor | None = None) -> ControllerOutput:
        """See `AdmnNetwork.controller`."""
        output: ControllerOutput = self.qoi(batch, budget)
        return output

    def estimate(self, batch: SampleBatch, active: Mapping[Modality, Sequence[int]]) -> NetworkOutput:
        """See `AdmnNetwork.estimate`."""
        config, size = self.config, _size(batch)
        present = np.zeros((size, len(config.modalities), len(config.sensor_nodes)), bool)
        tokens = np.zeros((*present.shape, config.fusion.dim), np.float32)
        for i, m in enumerate(config.modalities):
            layers = sorted(set(active.get(m, ())))
            if layers and m in batch.inputs:
                present[:, i] = batch.present[m].numpy()
                rows, _ = present_rows(batch.inputs[m], batch.present[m])
                if len(rows):
                    tokens[:, i][present[:, i]] = self.backbone(m)(rows.numpy(), layers).numpy()
        slots, there = tokens.reshape(size, -1, config.fusion.dim), present.reshape(size, -1)
        poses = (self._poses[None].expand(size, -1, -1) if batch.poses is None else batch.poses.float()).numpy()
        parts = zip(*(self.fuse(slots[b:b + 1], there[b:b + 1], poses[b:b + 1]) for b in range(size)), strict=True)
        return NetworkOutput(*(torch.from_numpy(np.concatenate(part)) for part in parts))

    def fuse(self, tokens: Array, present: Array, poses: Array) -> list[Array]:
        """Run everything behind the adapters: tokens (1, slots, dim), present (1, slots), poses (1, N, 5)."""
        posed = {"poses": poses} if len(self._poses) else {}
        return [x.numpy() for x in self._fusion(tokens=tokens, present=present, **posed)]


def _size(batch: SampleBatch) -> int:
    return len(next(iter(batch.present.values())))
