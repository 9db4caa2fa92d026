# SPDX-License-Identifier: Apache-2.0
"""Inputs of the present sensor nodes of a modality in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from admn_ros.sample import Modality, SampleBatch

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Present inputs of a modality.

    Attributes:
        x: inputs (R, C, H, W).
        index: their indices in the flattened (B * N).
        whole: whether every input is present.
    """

    x: Tensor
    index: tuple[int, ...]
    whole: bool

    def put(self, slots: Tensor, values: Tensor) -> None:
        """Write values (R, dim) to slots (B * N, dim)."""
        if self.whole:
            slots.copy_(values)
        else:
            slots[list(self.index)] = values

    def mask(self, size: int, nodes: int) -> Bools:
        """Return which inputs are present, (B, N)."""
        if self.whole:
            return np.ones((size, nodes), np.bool_)
        found = np.zeros(size * nodes, np.bool_)
        found[list(self.index)] = True
        return found.reshape(size, nodes)

    def where(self, used: Sequence[bool], nodes: int) -> Rows:
        """Select the inputs of some frames, given for each frame or with one entry for all."""
        if all(used):
            return self
        chosen = [k for k, i in enumerate(self.index) if len(used) > 1 and used[i // nodes]]
        return Rows(self.x[chosen] if chosen else self.x[:0], tuple(self.index[k] for k in chosen), False)


def rows_of(batch: SampleBatch, modality: Modality) -> Rows:
    """Return the present inputs of a modality; none if the batch does not have it."""
    if modality not in batch.inputs:
        return Rows(torch.empty(0), (), False)
    flat, present = batch.inputs[modality].flatten(0, 1), batch.present[modality].flatten().tolist()
    if all(present):
        return Rows(flat, tuple(range(len(present))), True)
    index = tuple(i for i, here in enumerate(present) if here)
    return Rows(flat[list(index)], index, False)
