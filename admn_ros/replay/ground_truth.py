# SPDX-License-Identifier: Apache-2.0
"""Where the target was: a track of positions, read at the stamps of frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from admn_ros.errors import InputError
from admn_ros.scoring.metrics import Floats, Whole, distances

NS = 1_000_000_000
STEP_S = 0.01
FEWEST = 10
"""Frames with truth that an offset must have to be looked at."""
MOST = 5000

Align = Literal["linear", "nearest"]


@dataclass(frozen=True)
class Track:
    """Positions over time.

    stamps_ns: (T,), ascending.
    position_m: (T, 3), finite.
    origin: where it is from, for people.
    fixed: it holds at any time; T is 1.
    """

    stamps_ns: Whole
    position_m: Floats
    origin: str
    fixed: bool = False

    @classmethod
    def of(cls, stamps_ns: Whole, position_m: Floats, origin: str) -> Track:
        """From positions in any order; of equal stamps the last counts, and what is not finite is left out.

        Raises:
            InputError: nothing is left.
        """
        finite = np.isfinite(position_m).all(axis=1)
        stamps_ns, position_m = stamps_ns[finite][::-1], position_m[finite][::-1]
        kept, first = np.unique(stamps_ns, return_index=True)
        if not len(kept):
            raise InputError(origin, "no finite position", "true positions over time")
        return cls(kept, position_m[first], origin)

    def at(self, stamps_ns: Whole, align: Align, max_gap_s: float, offset_s: float = 0.0) -> Floats:
        """Positions (N, 3) at stamps (N,); NaN where the track does not say.

        Args:
            stamps_ns: of frames.
            align: linear: between two positions at most `max_gap_s` apart, never beyond the ends. nearest: the
                nearest one, at most `max_gap_s` away.
            max_gap_s: see there.
            offset_s: added to the track's stamps.
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
    """What is added to the stamps of the truth.

    searched: whether it was looked for.
    at_edge: the best one was the first or the last that was tried, so a better one may lie beyond.
    """

    seconds: float
    searched: bool = False
    at_edge: bool = False


def search_offset(track: Track, stamps_ns: Whole, mean_m: Floats, *, align: Align, max_gap_s: float, around_s: float,
                  within_s: float) -> Offset:
    """The offset with the least median distance of estimates (N, D) from the track; of equals the smaller one.

    A target that stands still fits any offset, and estimates that mean nothing fit none: look at the errors.
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
