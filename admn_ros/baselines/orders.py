# SPDX-License-Identifier: Apache-2.0
"""Orders in which the layers of a backbone are kept when only some of them run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from admn_ros.errors import InputError

LayerOrder = Callable[[int, int], tuple[int, ...]]
"""Function from the depth of a backbone and a number of layers, at most the depth, to ascending layer indices."""

PUBLISHED_DEPTH: Final = 12
# 3, 4, 6 and 8 layers are those of the published results, the others those of Tables 8 and 9 of the paper
# (Section A.4). They are not nested: the 8 layers do not include the fourth one.
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
    """Return the paper's "every-other" layers (Section 4.1.2): of 12 as published, of other depths evenly spaced.

    The first layer is always included, and the last one if there are two or more.

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
    """Return the first layers.

    Raises:
        InputError: the count is not in [0, depth].
    """
    _check(depth, count)
    return tuple(range(count))


def order_of(nested: bool) -> LayerOrder:
    """Return the order of a model's backbones that is used without scores: the first layers if they are nested."""
    return prefix if nested else every_other


def _check(depth: int, count: int) -> None:
    if not 0 <= count <= depth:
        raise InputError("layers", count, f"[0, {depth}]")
