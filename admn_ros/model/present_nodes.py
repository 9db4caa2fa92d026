# SPDX-License-Identifier: Apache-2.0
"""Conversion between (B, N) sensor nodes and the rows of present ones."""

from __future__ import annotations

import torch
from torch import Tensor


def present_rows(x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Select the inputs of present sensor nodes, so that absent ones are not computed.

    Args:
        x: (B, N, ...).
        present: (B, N) bool.

    Returns:
        Rows (R, ...) and their indices (R,) in the flattened (B * N).
    """
    index = present.flatten().nonzero().squeeze(1)
    flat = x.flatten(0, 1)
    # The usual case of all sensor nodes present needs no copy.
    return (flat if len(index) == len(flat) else flat[index]), index


def to_slots(rows: Tensor, index: Tensor, batch: int, nodes: int) -> Tensor:
    """Scatter rows (R, dim) to (batch, nodes, dim); absent sensor nodes are zero."""
    slots = torch.zeros(batch * nodes, rows.shape[-1], dtype=rows.dtype, device=rows.device)
    return slots.index_copy(0, index, rows).view(batch, nodes, -1)
