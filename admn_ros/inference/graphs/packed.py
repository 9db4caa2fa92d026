# SPDX-License-Identifier: Apache-2.0
"""Named tensors in one block of memory, so that a single copy moves all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

ALIGNMENT = 256
"""Alignment of each tensor in bytes, as of PyTorch's own memory on a GPU: kernels read whole vectors."""


@dataclass(frozen=True)
class Field:
    """Shape and type of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class Packed:
    """Block of memory with named tensors, initially zero.

    Args:
        fields: the tensors, in the order of memory.
        device: device of the block.
        pinned: whether memory of the CPU is page-locked, so that a GPU copies it without waiting.
    """

    def __init__(self, fields: Mapping[str, Field], device: torch.device, *, pinned: bool = False) -> None:
        self._ends, start = {}, 0
        places = []
        for name, field in fields.items():
            places.append((name, field, start))
            self._ends[name] = start + field.bytes
            start = -(-self._ends[name] // ALIGNMENT) * ALIGNMENT
        self._block = torch.zeros(start, dtype=torch.uint8, device=device, pin_memory=pinned)
        self._parts = {name: self._block[at:at + field.bytes].view(field.dtype).view(field.shape)
                       for name, field, at in places}

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor. Its address never changes."""
        return self._parts[name]

    def get(self, name: str) -> Tensor | None:
        """Return a tensor; None if there is none of this name."""
        return self._parts.get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def copy_from(self, other: Packed, last: str | None = None, rows: int | None = None) -> None:
        """Copy a block of the same fields; to or from page-locked memory without waiting.

        Args:
            other: block to copy.
            last: last tensor that is needed; None for all.
            rows: number of rows of it that are needed; None for all.
        """
        end = len(self._block)
        if last is not None:
            end = self._ends[last]
            if rows is not None:
                part = self._parts[last]
                end -= (len(part) - rows) * part[0].numel() * part.element_size()
        self._block[:end].copy_(other._block[:end], non_blocking=True)
