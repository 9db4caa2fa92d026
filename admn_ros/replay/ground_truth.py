# SPDX-License-Identifier: Apache-2.0
"""Ground truth: positions of the target over time, interpolated at the stamps of frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from admn_ros.errors import InputError
from admn_ros.scoring.metrics import Floats, Whole, distances

NS = 1_000_000_000
STEP_S = 0.01
"""Step of the offset search, in seconds."""
FEWEST = 10
"""Smallest number of frames with ground truth at an offset."""
MOST = 5000
"""Largest number of frames of the offset search."""

Align = Literal["linear", "nearest"]


@dataclass(frozen=True)
class Track:
    """Positions over time.

    Attributes:
        stamps_ns: ascending stamps (T,), nanoseconds.
        position_m: finite positions (T, 3).
        origin: source of the positions, for reports.
        fixed: whether the only position (T = 1) holds at any time.
    """

    stamps_ns: Whole
    position_m: Floats
    origin: str
    fixed: bool = False

    @classmethod
    def of(cls, stamps_ns: Whole, position_m: Floats, origin: str) -> Track:
        """Make a track from positions in any order. The last of equal stamps wins; non-finite positions are dropped.

        Args:
            stamps_ns: stamps (T,), nanoseconds.
            position_m: positions (T, 3).
            origin: source of the positions.

        Raises:
            InputError: there is no finite position.
        """
        finite = np.isfinite(position_m).all(axis=1)
        stamps_ns, position_m = stamps_ns[finite][::-1], position_m[finite][::-1]
        kept, first = np.unique(stamps_ns, return_index=True)
        if not len(kept):
            raise InputError(origin, "no finite position", "true positions over time")
        return cls(kept, position_m[first], origin)

    def at(self, stamps_ns: Whole, align: Align, max_gap_s: float, offset_s: float = 0.0) -> Floats:
        """Interpolate the positions (N, 3) at the stamps of frames; NaN where the track has none.

        Args:
            stamps_ns: stamps of frames (N,), nanoseconds.
            align: "linear" interpolates between two positions at most `max_gap_s` apart, never beyond the ends;
                "nearest" takes the nearest position, at most `max_gap_s` away.
            max_gap_s: largest gap in seconds.
            offset_s: offset added to the track's stamps, in seconds.
        """
        if self.fixed:
            return np.repeat(self.position_m[:1], len(stamps_ns), axis=0)
        own, gap = self.stamps_ns + round(offset_s * NS), round(max_gap_s * NS)
        after = np.searchsorted(own, stamps_ns)
        right, left = np.minimum(after, len(own) - 1), np.maximum(after - 1, 0)
        to_right, to_left = np.abs(own[right] - stamps_ns), np.abs(stamps_ns - own[left])
        if align == "nearest":
            chosen = np.where(to_left <= to_right, left, right)
            near = np.minimum(to_left, to_right) <= gap
            return np.where(near[:, None], self.position_m[chosen], np.nan)
        span = (own[right] - own[left]).astype(np.float64)
        share = np.divide(to_left, span, out=np.zeros(len(span)), where=span > 0)[:, None]
        between = (1 - share) * self.position_m[left] + share * self.position_m[right]
        inside = (after > 0) & (after < len(own)) & (span <= gap)
        found = np.where(inside[:, None], between, np.nan)
        hit = to_right == 0
        found[hit] = self.position_m[right[hit]]
        return np.asarray(found, dtype=np.float64)


@dataclass(frozen=True)
class Offset:
    """Offset added to the stamps of the ground truth.

    Attributes:
        seconds: offset in seconds.
        searched: whether it is the result of a search.
        at_edge: whether the best offset is at the edge of the search range, so that a better one may lie beyond.
    """

    seconds: float
    searched: bool = False
    at_edge: bool = False


def search_offset(track: Track, stamps_ns: Whole, mean_m: Floats, *, align: Align, max_gap_s: float, around_s: float,
                  within_s: float) -> Offset:
    """Return the offset with the least median error of the estimates; of equal ones the smaller one.

    The search is meaningless for a target that does not move, and for estimates that are wrong; check the errors.

    Args:
        track: ground truth.
        stamps_ns: stamps of frames (N,), nanoseconds.
        mean_m: estimated positions (N, D).
        align, max_gap_s: interpolation, as in `Track.at`.
        around_s: centre of the search range, in seconds.
        within_s: half width of the search range, in seconds.
    """
    keep = np.linspace(0, len(stamps_ns) - 1, min(MOST, len(stamps_ns))).round().astype(int)
    stamps_ns, mean_m = stamps_ns[keep], mean_m[keep]
    steps = round(within_s / STEP_S)
    tried = sorted((k * STEP_S for k in range(-steps, steps + 1)), key=abs)

    def median(change_s: float) -> float:
        truth = track.at(stamps_ns, align, max_gap_s, around_s + change_s)[:, :mean_m.shape[1]]
        known = np.isfinite(truth).all(axis=1) & np.isfinite(mean_m).all(axis=1)
        return float(np.median(distances(mean_m[known], truth[known]))) if known.sum() >= FEWEST else np.inf

    best = _least(tried, median)
    return Offset(round(around_s + best, 6), True, steps > 0 and abs(abs(best) - steps * STEP_S) < STEP_S / 2)


def _least(tried: list[float], cost: Callable[[float], float]) -> float:
    costs = [cost(value) for value in tried]
    return tried[int(np.argmin(costs))]
