# SPDX-License-Identifier: Apache-2.0
"""What computes a network: PyTorch, on a GPU as recorded segments, or ONNX Runtime with exported graphs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import LayerCosts
from admn_ros.errors import ConfigError
from admn_ros.inference.graphs.network import GraphNetwork
from admn_ros.inference.graphs.recorder import CudaRecorder
from admn_ros.inference.hardware import cpu_precisions
from admn_ros.inference.onnx.network import OnnxNetwork
from admn_ros.inference.onnx.sessions import TENSORRT, Place, pick_providers
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.model.official.legacy_network import LegacyNetwork
from admn_ros.model.prepared.network import PreparedNetwork, prepare
from admn_ros.model.qoi import ControllerOutput
from admn_ros.sample import Modality, MultimodalSample, SampleBatch

LOG = logging.getLogger(__name__)
ENGINES = ("torch", "onnxruntime")
PRECISIONS = ("float32", "bfloat16", "float16")


class Runtime(Protocol):
    """Computes the two halves of a frame. `AdmnNetwork` itself is the reference."""

    def controller(self, batch: SampleBatch, budget: Tensor | None = None) -> ControllerOutput:
        """Judge the inputs and score the layers; see `AdmnNetwork.controller`."""

    def estimate(self, batch: SampleBatch, active: Mapping[Modality, Sequence[int]]) -> NetworkOutput:
        """Run exactly the listed layers; see `AdmnNetwork.estimate`."""


@dataclass(frozen=True)
class RuntimeChoice:
    """Choice of what computes a network.

    Attributes:
        engine: `torch`, or `onnxruntime` for a model folder of `admn export`.
        providers: execution providers of ONNX Runtime, in order of preference; empty for those of the device.
        precision: precision of the backbones' layers in torch; everything else is float32. With TensorRT,
            float16 lets it choose the precision of every operator.

    Raises:
        ConfigError: there is no such engine or precision, or the engine has no such option.
    """

    engine: str = "torch"
    providers: tuple[str, ...] = ()
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigError("engine", self.engine, ", ".join(ENGINES))
        if self.precision not in PRECISIONS:
            raise ConfigError("precision", self.precision, ", ".join(PRECISIONS))
        if self.providers and not self.is_onnx:
            raise ConfigError.conflict("providers", "engine torch", "they belong to engine onnxruntime")
        half = self.precision == "float16" and TENSORRT in self.providers
        if self.precision != "float32" and self.is_onnx and not half:
            raise ConfigError.conflict(f"precision {self.precision}", f"engine {self.engine}",
                                       f"it belongs to torch; float16 also to {TENSORRT}")

    @property
    def is_onnx(self) -> bool:
        """Whether ONNX Runtime computes the network."""
        return self.engine == "onnxruntime"


TORCH = RuntimeChoice()


def provider_names(text: str) -> tuple[str, ...]:
    """Return the providers of a text that separates them by commas."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def open_runtime(choice: RuntimeChoice | None, network: AdmnNetwork, folder: Path, device: str) -> Runtime:
    """Return the form of a network that runs fastest, or the network itself where that is not possible.

    Args:
        choice: what computes the network; None for PyTorch without recordings, which take seconds on a GPU.
        network: network in evaluation mode. Its weights must not change afterwards.
        folder: model folder of `admn export`, for ONNX Runtime.
        device: `auto`, `cpu` or `cuda`, for ONNX Runtime.

    Raises:
        ModelError: graphs are missing, damaged, of other weights, or refused by ONNX Runtime.
        ConfigError: the package onnxruntime or a provider is missing, or the device does not have the precision.
    """
    if choice is not None and choice.is_onnx:
        providers = tuple(pick_providers(choice.providers, device))
        return OnnxNetwork(network, folder, Place(torch.get_num_threads(), providers, choice.precision == "float16"))
    place = network.poses.device
    if choice is not None and place.type == "cuda" and type(network) in (AdmnNetwork, LegacyNetwork):
        return record_graphs(network, place, choice.precision)
    precision = "float32" if choice is None else choice.precision
    allowed = cpu_precisions() if type(network) is AdmnNetwork and place.type == "cpu" else ("float32",)
    if precision not in allowed:
        raise ConfigError("precision", precision, f"{', '.join(allowed)} for this model on device {place}")
    return prepare(network, getattr(torch, precision))


def record_graphs(network: AdmnNetwork, device: torch.device, precision: str) -> Runtime:
    """Record a network on a GPU; return the network itself, and log the reason, if that is not possible."""
    recorder = CudaRecorder(device)
    try:
        return GraphNetwork(network, recorder, getattr(torch, precision))
    except RuntimeError as error:  # no memory left, or an operator that this version of PyTorch cannot capture
        recorder.close()
        LOG.warning("no CUDA graphs, every frame starts its operators one by one, in float32: %s", error)
        return network


def estimate_each(runtime: Runtime, batch: SampleBatch,
                  active: Sequence[Mapping[Modality, Sequence[int]]]) -> list[NetworkOutput]:
    """Run on each sample exactly its own layers, and return the output of each, without batch dimension."""
    if len(active) > 1 and isinstance(runtime, PreparedNetwork | GraphNetwork):
        together = runtime.estimate_each(batch, active)
        return [NetworkOutput(*(x[row] for x in together)) for row in range(len(active))]
    if len(active) == 1:
        return [NetworkOutput(*(x[0] for x in runtime.estimate(batch, active[0])))]
    names, rows = list(batch.inputs), torch.arange(len(active), device=batch.device)
    return [NetworkOutput(*(x[0] for x in runtime.estimate(batch.part(names, row), layers)))
            for row, layers in zip(torch.split(rows, 1), active, strict=True)]


def stack(samples: Sequence[MultimodalSample], runtime: Runtime) -> SampleBatch:
    """Stack samples that hold the same modalities with the same shapes, one alone without a copy, for a runtime."""
    if len(samples) > 1:
        batch = SampleBatch.stack(samples)
    else:
        [sample] = samples
        batch = SampleBatch({m: x[None] for m, x in sample.inputs.items()},
                            {m: x[None] for m, x in sample.present.items()},
                            None if sample.poses is None else sample.poses[None])
    # All others take batches on the CPU, wherever they compute.
    return batch.to(runtime.poses.device) if isinstance(runtime, AdmnNetwork) else batch


@dataclass(frozen=True)
class Job:
    """A sample to run, with its place in the caller's order, its present sensor nodes and its budget."""

    place: int
    sample: MultimodalSample
    present: Mapping[Modality, tuple[int, ...]]
    table: LayerCosts
    granted: Budget
    requested: Budget
