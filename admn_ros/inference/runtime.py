# SPDX-License-Identifier: Apache-2.0
"""What computes a network: PyTorch, or another runtime with the same two calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from admn_ros.model.network import NetworkOutput
from admn_ros.model.qoi import ControllerOutput
from admn_ros.sample import Modality, SampleBatch


class Runtime(Protocol):
    """Computes the two halves of a frame. `AdmnNetwork` itself is the reference."""

    def controller(self, batch: SampleBatch, budget: Tensor | None = None) -> ControllerOutput:
        """Judge the inputs and score the layers; see `AdmnNetwork.controller`."""

    def estimate(self, batch: SampleBatch, active: Mapping[Modality, Sequence[int]]) -> NetworkOutput:
        """Run exactly the listed layers; see `AdmnNetwork.estimate`."""
