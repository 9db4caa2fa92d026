# SPDX-License-Identifier: Apache-2.0
"""A network as recorded segments, with the calls of `AdmnNetwork`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from admn_ros.config import ModelConfig
from admn_ros.errors import InputError
from admn_ros.inference.graphs.frame import Active, Frame, Run
from admn_ros.inference.graphs.recorder import Recorder
from admn_ros.inference.graphs.segments import Blocks, Segment, Segments, blocks_of
from admn_ros.inference.graphs.tensors import FrameTensors
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.model.qoi import ControllerOutput
from admn_ros.model.value.head import InputValue
from admn_ros.sample import Modality, SampleBatch

LOG = logging.getLogger(__name__)
TOGETHER = 8
"""Frames that run together, at most. Their segments are recorded when they are first needed."""


class Rows:
    """A segment that is recorded for some numbers of rows.

    Args:
        recorder: what records.
        segment: makes the segment for a number of rows.
        counts: numbers of rows, ascending.
        modality: modality whose tensors it works on: segments of different ones run beside each other.
    """

    def __init__(self, recorder: Recorder, segment: Callable[[int], Segment], counts: Sequence[int],
                 modality: Modality) -> None:
        # The largest first: its memory then serves the others.
        self._replays = {rows: recorder.record(segment(rows), modality) for rows in reversed(counts)}
        self._counts = counts

    def __call__(self, rows: int) -> None:
        """Run on the first `rows` rows, or on a few more."""
        self._replays[next(count for count in self._counts if count >= rows)]()


class GraphLayer(nn.Module):
    """Layer of a backbone. It is a module for the sake of forward hooks, which count the layers that run."""

    def __init__(self, replay: Rows, tokens: Tensor) -> None:
        super().__init__()
        self._replay, self._tokens = replay, tokens

    def forward(self, rows: int) -> Tensor:
        """Run the layer, and return as many tokens as run it."""
        self._replay(rows)
        return self._tokens[:rows]


class GraphBackbone(nn.Module):
    """Backbone and adapter.

    Attributes:
        blocks: its layers.
    """

    def __init__(self, recorder: Recorder, segments: Segments, modality: Modality, tensors: FrameTensors,
                 depth: int) -> None:
        super().__init__()
        self._embed = Rows(recorder, lambda rows: segments.embed(modality, rows), tensors.counts, modality)
        self.blocks = nn.ModuleList(GraphLayer(Rows(
            recorder, lambda rows, i=i: segments.layer(modality, i, rows),  # type: ignore[misc]
            tensors.counts, modality), tensors.tokens[modality]) for i in range(depth))
        self._readout = Rows(recorder, lambda rows: segments.readout(modality, rows), tensors.counts, modality)

    def forward(self, run: Run) -> None:
        """Run layers on the chosen inputs."""
        self._embed(run.rows)
        for i, rows in run.layers:
            self.blocks[i](rows)
        self._readout(run.rows)


class GraphController(nn.Module):
    """Controller. It is a module for the sake of forward hooks.

    Attributes:
        observed: number of sensor nodes that it reads.
        looks: convolutions of each modality.
        assess: everything behind them.
    """

    def __init__(self, recorder: Recorder, segments: Segments, network: AdmnNetwork, frame: Frame) -> None:
        super().__init__()
        self._config, self._judged, self._frame = network.config, network.qoi.judged, frame
        self._recorder = recorder
        self.observed = network.qoi.observed
        counts = [n for n in frame.tensors.counts if frame.tensors.frames > 1 or n <= self.observed]
        self.looks = {m: Rows(recorder, lambda rows, m=m: segments.look(m, rows),  # type: ignore[misc]
                              counts, m) for m in network.config.modalities}
        self.assess = recorder.record(segments.assess())
        value = network.qoi.value
        self._share = {} if value is None else {m: x.cpu() for m, x in value.shares().items()}

    def forward(self, batch: SampleBatch, budget: Tensor | None = None) -> ControllerOutput:
        """See `AdmnNetwork.controller`."""
        shares, parts = [1.0] * _size(batch) if budget is None else budget.tolist(), []
        for first, part in _parts(batch, self._frame.tensors.frames):
            seen = self._frame.upload(part, shares[first:first + _size(part)])
            self._recorder.beside([partial(self.looks[m], rows) for m, rows in seen.items()])
            self.assess()
            parts.append(self._frame.fetch(self._frame.tensors.scores, _size(part)))
        found = {name: torch.cat([each[name] for each in parts]) for name in parts[0]}
        depths = self._config.depths
        return ControllerOutput(
            dict(zip(depths, torch.split(found["logits"], list(depths.values()), dim=1), strict=True)),
            dict(zip(depths, found["corruption"].unbind(1), strict=True)), found["e_corr"], self._judged,
            InputValue(found["position"], found["classes"], self._share) if self._share else None)


class GraphNetwork(nn.Module):
    """`AdmnNetwork` for inference on a GPU, with the same estimates up to rounding.

    Every segment is recorded once. A frame replays those that its allocation needs, so that no budget and no absent
    input needs a new recording. The device is waited for twice: for the scores and for the estimates. Batches are on
    the CPU. One thread at a time may use it.

    Args:
        network: network in evaluation mode. Its weights must not change afterwards.
        recorder: what records the segments, on the network's device.
        dtype: precision of the backbones' layers. Everything else is float32.
        frames: number of frames that run together.
        blocks: layers of the network in this precision, if they exist.

    Raises:
        RuntimeError: a segment cannot be recorded.

    Attributes:
        qoi: the controller.
        frame: tensors and copies of a frame.
        fuse: everything behind the backbones.
        name: name of the runtime, as in measured costs.
    """

    @torch.inference_mode()
    def __init__(self, network: AdmnNetwork, recorder: Recorder, dtype: torch.dtype = torch.float32,
                 frames: int = 1, blocks: Blocks | None = None) -> None:
        super().__init__()
        self.config: ModelConfig = network.config
        self.name = "torch graphs" if dtype is torch.float32 else f"torch graphs {str(dtype).removeprefix('torch.')}"
        tensors = FrameTensors(network, frames)
        self.frame = frame = Frame(network, tensors, recorder)
        self._of, self._recorder, self._dtype = (network,), recorder, dtype  # its modules are no parts of this one
        self._blocks = blocks_of(network, dtype) if blocks is None else blocks
        segments = Segments(network, tensors, self._blocks)
        self.qoi = GraphController(recorder, segments, network, frame)
        self.backbones = nn.ModuleDict({str(m): GraphBackbone(recorder, segments, m, tensors, depth)
                                        for m, depth in self.config.depths.items()})
        self.fuse = recorder.record(segments.fuse())
        self._several: list[GraphNetwork] = []  # in a list: its modules are no parts of this one

    def backbone(self, modality: Modality) -> GraphBackbone:
        """Return the backbone of a modality."""
        return cast(GraphBackbone, self.backbones[str(modality)])

    @torch.inference_mode()
    def controller(self, batch: SampleBatch, budget: Tensor | None = None) -> ControllerOutput:
        """Estimate the quality of the inputs and score the layers. See `AdmnNetwork.controller`."""
        output: ControllerOutput = self._for(batch).qoi(batch, budget)
        return output

    def estimate(self, batch: SampleBatch, active: Active) -> NetworkOutput:
        """Run exactly the listed layers, the same for every sample of the batch. See `AdmnNetwork.estimate`.

        Raises:
            InputError: a layer does not exist.
        """
        return self.estimate_each(batch, [active] * _size(batch))

    @torch.inference_mode()
    def estimate_each(self, batch: SampleBatch, active: Sequence[Active]) -> NetworkOutput:
        """Run on each sample exactly its own layers.

        Raises:
            InputError: a layer does not exist.
        """
        layers = [{m: self._layers(m, each) for m in self.config.modalities} for each in active]
        runner = self._for(batch)
        found = [runner._run(part, layers[first:first + _size(part)])
                 for first, part in _parts(batch, runner.frame.tensors.frames)]
        return NetworkOutput(*(torch.cat([each[name] for each in found]) for name in NetworkOutput._fields))

    def _run(self, batch: SampleBatch, active: Sequence[Active]) -> dict[str, Tensor]:
        self._recorder.beside([partial(self.backbone(m), run) for m, run in self.frame.choose(batch, active).items()])
        self.fuse()
        return self.frame.fetch(self.frame.tensors.result, len(active))

    def _for(self, batch: SampleBatch) -> GraphNetwork:
        """Return what runs as many frames together as a batch has, up to `TOGETHER`."""
        if _size(batch) <= self.frame.tensors.frames:
            return self
        if not self._several:
            try:
                several = GraphNetwork(self._of[0], self._recorder, self._dtype, TOGETHER, self._blocks)
            except RuntimeError as error:  # most likely there is not enough memory
                LOG.warning("frames of a batch run one after another: %s", error)
                several = self
            self._several.append(several)
        return self._several[0]

    def _layers(self, modality: Modality, active: Active) -> list[int]:
        """Return the layers of a modality, ascending."""
        layers, depth = sorted(set(active.get(modality, ()))), self.config.depths[modality]
        if layers and not 0 <= layers[0] <= layers[-1] < depth:
            raise InputError("active layers", layers, f"[0, {depth})")
        return layers

    def close(self) -> None:
        """Free recordings and tensors. The network cannot be used afterwards."""
        self._recorder.close()
        del self.qoi, self.backbones, self.fuse, self.frame, self._blocks, self._several, self._of


def _size(batch: SampleBatch) -> int:
    return len(next(iter(batch.present.values())))


def _parts(batch: SampleBatch, most: int) -> Iterator[tuple[int, SampleBatch]]:
    """Split a batch into parts of at most `most` samples, each with the index of its first."""
    size = _size(batch)
    if size <= most:
        yield 0, batch
        return
    for first in range(0, size, most):
        yield first, batch.part(list(batch.inputs), torch.arange(first, min(first + most, size)))
