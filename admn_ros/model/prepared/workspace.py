# SPDX-License-Identifier: Apache-2.0
"""Memory for intermediate results that outlives a frame.

Large blocks that are freed go back to the operating system, which then has to provide every page anew.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Workspace:
    """Named blocks of float32, each as large as its largest use so far. For one thread at a time."""

    def __init__(self) -> None:
        self._blocks: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Return a block with undefined content. It is valid until the next call with the same name."""
        size = math.prod(shape)
        block = self._blocks.get(name)
        if block is None or len(block) < size:
            block = self._blocks[name] = torch.empty(size)
        return block[:size].view(shape)
