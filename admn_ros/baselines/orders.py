# SPDX-License-Identifier: Apache-2.0
"""Which layers stay when a backbone may run only so many of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from admn_ros.errors import InputError

LayerOrder = Callable[[int, int], tuple[int, ...]]
"""Depth of a backbone and number of layers, at most the depth, to ascending layer indices."""

PUBLISHED_DEPTH: Final = 12
# 3, 4, 6 and 8 are what the published results were made with; the other numbers are what Tables 8
# and 9 of the paper (Section A.4) leave. They are not nested: 8 layers do not include the fourth.
PUBLISHED: Final[dict[int, tuple[int, ...]]] = {
    3: (0, 10, 11),
    4: (0, 8, 10, 11),
    5: (0, 3, 5, 9, 11),
    6: (0, 1, 3, 8, 10, 11),
    7: (0, 1, 3, 5, 7, 9, 11),
    8: (0, 1, 2, 4, 6, 8, 10, 11),
    9: (0, 1, 2, 3, 5, 7, 9, 10, 11),
    10: (0, 1, 2, 3, 4, 5, 7, 9, 10, 11),
    11: (0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11),
}


def every_other(depth: int, count: int) -> tuple[int, ...]:
    """The paper's "every-other" layers (Section 4.1.2): 12 layers as published, other depths evenly spread.

    The first layer is always among them, and the last one if there are two or more.

    Raises:
        InputError: the count is not in [0, depth].
    """
    _check(depth, count)
    if depth == PUBLISHED_DEPTH and count in PUBLISHED:
        return PUBLISHED[count]
    if count <= 1:
        return tuple(range(count))
    # Integer rounding of i * (depth - 1) / (count - 1); steps are at least 1, so no index repeats.
    steps = count - 1
    return tuple((2 * i * (depth - 1) + steps) // (2 * steps) for i in range(count))


def prefix(depth: int, count: int) -> tuple[int, ...]:
    """The first layers.

    Raises:
        InputError: the count is not in [0, depth].
    """
    _check(depth, count)
    return tuple(range(count))


def _check(depth: int, count: int) -> None:
    if not 0 <= count <= depth:
        raise InputError("layers", count, f"[0, {depth}]")
