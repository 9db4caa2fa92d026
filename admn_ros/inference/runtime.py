# SPDX-License-Identifier: Apache-2.0
"""What computes a network: PyTorch, or ONNX Runtime with exported graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from admn_ros.errors import ConfigError
from admn_ros.inference.onnx.network import OnnxNetwork
from admn_ros.inference.onnx.sessions import pick_providers
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.model.qoi import ControllerOutput
from admn_ros.sample import Modality, SampleBatch

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
