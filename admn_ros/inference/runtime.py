# SPDX-License-Identifier: Apache-2.0
"""What computes a network: PyTorch, or ONNX Runtime with exported graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import LayerCosts
from admn_ros.errors import ConfigError
from admn_ros.inference.onnx.network import OnnxNetwork
from admn_ros.inference.onnx.sessions import pick_providers
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.model.prepared.network import PreparedNetwork
from admn_ros.model.qoi import ControllerOutput
from admn_ros.sample import Modality, MultimodalSample, SampleBatch

ENGINES = ("torch", "onnxruntime")


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

    Raises:
        ConfigError: there is no such engine, or providers are given for torch.
    """

    engine: str = "torch"
    providers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigError("engine", self.engine, ", ".join(ENGINES))
        if self.providers and not self.is_onnx:
            raise ConfigError.conflict("providers", "engine torch", "they belong to engine onnxruntime")

    @property
    def is_onnx(self) -> bool:
        """Whether ONNX Runtime computes the network."""
        return self.engine == "onnxruntime"


TORCH = RuntimeChoice()


def provider_names(text: str) -> tuple[str, ...]:
    """Return the providers of a text that separates them by commas."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def open_onnx(choice: RuntimeChoice, network: AdmnNetwork, folder: Path, device: str) -> OnnxNetwork:
    """Open the graphs of a model folder, with as many threads as PyTorch has.

    Args:
        choice: execution providers.
        network: network of the folder.
        folder: model folder of `admn export`.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        ModelError: graphs are missing, damaged, of other weights, or refused by ONNX Runtime.
        ConfigError: the package onnxruntime or a provider is missing.
    """
    return OnnxNetwork(network, folder, torch.get_num_threads(), pick_providers(choice.providers, device))


def estimate_each(runtime: Runtime, batch: SampleBatch,
                  active: Sequence[Mapping[Modality, Sequence[int]]]) -> list[NetworkOutput]:
    """Run on each sample exactly its own layers, and return the output of each, without batch dimension."""
    if len(active) > 1 and isinstance(runtime, PreparedNetwork):
        together = runtime.estimate_each(batch, active)
        return [NetworkOutput(*(x[row] for x in together)) for row in range(len(active))]
    if len(active) == 1:
        return [NetworkOutput(*(x[0] for x in runtime.estimate(batch, active[0])))]
    names, rows = list(batch.inputs), torch.arange(len(active), device=next(iter(batch.present.values())).device)
    return [NetworkOutput(*(x[0] for x in runtime.estimate(batch.part(names, row), layers)))
            for row, layers in zip(torch.split(rows, 1), active, strict=True)]


def stack(samples: Sequence[MultimodalSample]) -> SampleBatch:
    """Stack samples that hold the same modalities with the same shapes; one alone without a copy."""
    if len(samples) > 1:
        return SampleBatch.stack(samples)
    [sample] = samples
    return SampleBatch({m: x[None] for m, x in sample.inputs.items()}, {m: x[None] for m, x in sample.present.items()},
                       None if sample.poses is None else sample.poses[None])


@dataclass(frozen=True)
class Job:
    """A sample to run, with its place in the caller's order, its present sensor nodes and its budget."""

    place: int
    sample: MultimodalSample
    present: Mapping[Modality, tuple[int, ...]]
    table: LayerCosts
    granted: Budget
    requested: Budget
