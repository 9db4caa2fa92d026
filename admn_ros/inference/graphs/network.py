# SPDX-License-Identifier: Apache-2.0
"""A network as recorded segments, with the calls of `AdmnNetwork`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from admn_ros.config import ModelConfig
from admn_ros.errors import InputError
from admn_ros.inference.graphs.recorder import Recorder, Replay
from admn_ros.inference.graphs.segments import Segments
from admn_ros.inference.graphs.tensors import Both, FrameTensors
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.model.qoi import ControllerOutput
from admn_ros.model.value.head import InputValue
from admn_ros.sample import Modality, SampleBatch

Nodes = dict[Modality, tuple[int, ...]]
"""Present sensor nodes of each modality."""


class GraphLayer(nn.Module):
    """Layer of a backbone. It is a module for the sake of forward hooks, which count the layers that run."""

    def __init__(self, replays: Sequence[Replay], tokens: Tensor) -> None:
        super().__init__()
        self._replays, self._tokens = replays, tokens

    def forward(self, rows: int) -> Tensor:
        """Run the layer on the first rows of the tokens, and return them."""
        self._replays[rows - 1]()
        return self._tokens[:rows]


class GraphBackbone(nn.Module):
    """Backbone and adapter.

    Attributes:
        blocks: its layers.
        embeds: embedding, for 1, 2, ... rows.
        readouts: readout and adapter, for 1, 2, ... rows.
    """

    def __init__(self, recorder: Recorder, segments: Segments, modality: Modality, tokens: Tensor, depth: int) -> None:
        super().__init__()
        nodes = len(tokens)
        self.embeds = _record(recorder, [segments.embed(modality, n + 1) for n in range(nodes)])
        self.blocks = nn.ModuleList(GraphLayer(
            _record(recorder, [segments.layer(modality, i, n + 1) for n in range(nodes)]), tokens)
            for i in range(depth))
        self.readouts = _record(recorder, [segments.readout(modality, n + 1) for n in range(nodes)])

    def forward(self, rows: int, layers: Sequence[int]) -> None:
        """Run layers on the first chosen inputs."""
        self.embeds[rows - 1]()
        for i in layers:
            self.blocks[i](rows)
        self.readouts[rows - 1]()


class GraphController(nn.Module):
    """Controller. It is a module for the sake of forward hooks.

    Attributes:
        looks: convolutions of each modality, for 1, 2, ... rows.
        assess: everything behind them.
    """

    def __init__(self, recorder: Recorder, segments: Segments, network: AdmnNetwork, frame: Frame) -> None:
        super().__init__()
        self._config, self._judged, self._frame = network.config, network.qoi.judged, frame
        self._observed = network.qoi.observed
        self.looks = {m: _record(recorder, [segments.look(m, n + 1) for n in range(self._observed)])
                      for m in network.config.modalities}
        self.assess = recorder.record(segments.assess())
        value = network.qoi.value
        self._share = {} if value is None else {m: x.cpu() for m, x in value.shares().items()}

    def forward(self, batch: SampleBatch, budget: Tensor | None = None) -> ControllerOutput:
        """See `AdmnNetwork.controller`."""
        shares = [1.0] * _size(batch) if budget is None else budget.tolist()
        found = [self._one(one, share) for one, share in zip(_frames(batch), shares, strict=True)]
        parts = {name: torch.cat([each[name] for each in found]) for name in found[0]}
        depths = self._config.depths
        return ControllerOutput(
            dict(zip(depths, torch.split(parts["logits"], list(depths.values()), dim=1), strict=True)),
            dict(zip(depths, parts["corruption"].unbind(1), strict=True)), parts["e_corr"], self._judged,
            InputValue(parts["position"], parts["classes"], self._share) if self._share else None)

    def _one(self, batch: SampleBatch, share: float) -> dict[str, Tensor]:
        for m, nodes in self._frame.upload(batch, share).items():
            seen = sum(node < self._observed for node in nodes)
            if seen:
                self.looks[m][seen - 1]()
        self.assess()
        return self._frame.fetch(self._frame.tensors.scores)


class Frame:
    """The copies of a frame to and from the device.

    Args:
        network: network on its device.
        recorder: what waits for the device.

    Attributes:
        tensors: tensors of the frame.
        waits: how often the device was waited for, since the beginning.
    """

    def __init__(self, network: AdmnNetwork, recorder: Recorder) -> None:
        self.tensors, self.waits = FrameTensors(network), 0
        self._recorder, self._poses = recorder, network.poses.cpu()
        self._modalities, self._shape = tuple(network.config.modalities), tuple(network.poses.shape)
        self._held: SampleBatch | None = None
        self._nodes: Nodes = {}

    def upload(self, batch: SampleBatch, share: float = 1.0) -> Nodes:
        """Copy the present inputs of a batch of one, and the budget's share, to the device.

        Returns:
            The present sensor nodes.

        Raises:
            InputError: the poses are of another number of sensor nodes.
        """
        self._held, nodes, side = None, present_nodes(batch, self._modalities), self.tensors.inputs.host
        side["share"].fill_(share)
        side["here"].zero_()
        poses = side.get("poses")
        if poses is not None:
            poses.copy_(self._poses_of(batch))
        for i, (m, present) in enumerate(nodes.items()):
            if present:
                side["here"][i, 0, [node for node in present if node < side["here"].shape[2]]] = True
                side["nodes"][i, :len(present)] = torch.tensor(present)
                for row, node in zip(self.tensors.rows(side, m), present, strict=False):
                    row.copy_(batch.inputs[m][0, node])
        self.tensors.inputs.device.copy_from(side, "rows", max(map(len, nodes.values()), default=0))
        self._held, self._nodes = batch, nodes
        return nodes

    def choose(self, batch: SampleBatch, running: Nodes) -> None:
        """Copy to the device which inputs run; the inputs as well, if they are not there yet.

        Args:
            batch: batch of one. Inputs of the last call of `upload` must not have changed.
            running: the sensor nodes that run.
        """
        held = self._held
        if held is None or held.inputs is not batch.inputs or held.poses is not batch.poses \
                or not all(set(nodes) <= set(self._nodes[m]) for m, nodes in running.items()):
            self.upload(batch)
        side = self.tensors.choice.host
        present = side["present"].view(len(self._modalities), -1)
        present.zero_()
        for i, (m, nodes) in enumerate(running.items()):
            if nodes:
                present[i, list(nodes)] = True
                side["rows"][i, :len(nodes)] = torch.tensor([self._nodes[m].index(node) for node in nodes])
                side["nodes"][i, :len(nodes)] = torch.tensor(nodes)
        self.tensors.choice.device.copy_from(side)

    def fetch(self, both: Both) -> dict[str, Tensor]:
        """Wait for the device, and return copies of the fields that it computed."""
        both.host.copy_from(both.device)
        self._recorder.wait()
        self.waits += 1
        return {name: both.host[name].clone() for name in both.host}

    def _poses_of(self, batch: SampleBatch) -> Tensor:
        if batch.poses is not None and tuple(batch.poses.shape[1:]) != self._shape:
            raise InputError("poses", tuple(batch.poses.shape), ("B", *self._shape))
        return self._poses if batch.poses is None else batch.poses


class GraphNetwork(nn.Module):
    """`AdmnNetwork` for inference on a GPU, with the same estimates up to rounding.

    Every segment is recorded once. A frame replays those that its allocation needs, so that no budget and no absent
    input needs a new recording. The device is waited for twice: for the scores and for the estimates. Batches are on
    the CPU; their frames run one after another. One thread at a time may use it.

    Args:
        network: network in evaluation mode. Its weights must not change afterwards.
        recorder: what records the segments, on the network's device.
        dtype: precision of the backbones' layers. Everything else is float32.

    Raises:
        RuntimeError: a segment cannot be recorded.

    Attributes:
        qoi: the controller.
        frame: tensors and copies of a frame.
        fuse: everything behind the backbones.
        name: name of the runtime, as in measured costs.
    """

    @torch.inference_mode()
    def __init__(self, network: AdmnNetwork, recorder: Recorder, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config: ModelConfig = network.config
        self.frame = frame = Frame(network, recorder)
        segments = Segments(network, frame.tensors, dtype)
        self._recorder, self.name = recorder, " ".join(["torch graphs", *_other_than_float32(dtype)])
        self.qoi = GraphController(recorder, segments, network, frame)
        self.backbones = nn.ModuleDict({
            str(m): GraphBackbone(recorder, segments, m, frame.tensors.tokens[m], depth)
            for m, depth in self.config.depths.items()})
        self.fuse = recorder.record(segments.fuse())

    def backbone(self, modality: Modality) -> GraphBackbone:
        """Return the backbone of a modality."""
        return cast(GraphBackbone, self.backbones[str(modality)])

    @torch.inference_mode()
    def controller(self, batch: SampleBatch, budget: Tensor | None = None) -> ControllerOutput:
        """Estimate the quality of the inputs and score the layers. See `AdmnNetwork.controller`."""
        output: ControllerOutput = self.qoi(batch, budget)
        return output

    @torch.inference_mode()
    def estimate(self, batch: SampleBatch, active: Mapping[Modality, Sequence[int]]) -> NetworkOutput:
        """Run exactly the listed layers, the same for every sample of the batch. See `AdmnNetwork.estimate`.

        Raises:
            InputError: a layer does not exist.
        """
        layers = {m: self._layers(m, active) for m in self.config.modalities}
        found = [self._one(one, layers) for one in _frames(batch)]
        return NetworkOutput(*(torch.cat([each[name] for each in found]) for name in NetworkOutput._fields))

    def _one(self, batch: SampleBatch, layers: Mapping[Modality, Sequence[int]]) -> dict[str, Tensor]:
        running = {m: nodes if layers[m] else () for m, nodes in present_nodes(batch, self.config.modalities).items()}
        self.frame.choose(batch, running)
        for m, nodes in running.items():
            if nodes:
                self.backbone(m)(len(nodes), layers[m])
        self.fuse()
        return self.frame.fetch(self.frame.tensors.result)

    def _layers(self, modality: Modality, active: Mapping[Modality, Sequence[int]]) -> list[int]:
        """Return the layers of a modality, ascending."""
        layers, depth = sorted(set(active.get(modality, ()))), self.config.depths[modality]
        if layers and not 0 <= layers[0] <= layers[-1] < depth:
            raise InputError("active layers", layers, f"[0, {depth})")
        return layers

    def close(self) -> None:
        """Free recordings and tensors. The network cannot be used afterwards."""
        self._recorder.close()
        del self.qoi, self.backbones, self.fuse, self.frame


def present_nodes(batch: SampleBatch, modalities: Sequence[Modality] | Mapping[Modality, object]) -> Nodes:
    """Return the present sensor nodes of each modality of a batch of one, ascending."""
    return {m: tuple(i for i, here in enumerate(batch.present[m][0].tolist()) if here) if m in batch.inputs else ()
            for m in modalities}


def _other_than_float32(dtype: torch.dtype) -> list[str]:
    return [] if dtype is torch.float32 else [str(dtype).removeprefix("torch.")]


def _size(batch: SampleBatch) -> int:
    return len(next(iter(batch.present.values())))


def _frames(batch: SampleBatch) -> list[SampleBatch]:
    """Return the frames of a batch, one alone as it is."""
    size = _size(batch)
    return [batch] if size == 1 else [batch.part(list(batch.inputs), torch.tensor([i])) for i in range(size)]


def _record(recorder: Recorder, works: Sequence[Replay]) -> list[Replay]:
    """Record the largest first, whose memory then serves the others."""
    return [recorder.record(work) for work in reversed(works)][::-1]
