# SPDX-License-Identifier: Apache-2.0
"""Confidence intervals: percentile bootstrap over scenes (Efron and Tibshirani 1993, Section 13.3).

Frames of one scene are correlated, so whole scenes are resampled, with replacement. All figures of a report use the
same resamples, so that an interval of a difference can be computed from paired resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from admn_ros.scoring.metrics import Floats, Whole

ROUNDS = 1000
FEWEST_SCENES = 5
"""Fewest scenes for an interval. Fewer scenes have too few distinct resamples."""
_CHUNK = 2_000_000

Interval = tuple[float, float]
_Number = TypeVar("_Number", np.int64, np.float64)


@dataclass(frozen=True)
class SceneBootstrap:
    """Resamples of scenes.

    Attributes:
        scenes: number of scenes.
        seed: seed of the resamples.
        rounds: number of resamples.
    """

    scenes: int
    seed: int = 0
    rounds: int = ROUNDS

    @property
    def draws(self) -> Whole:
        """Number of times that each resample contains each scene, (rounds, scenes)."""
        rng = np.random.default_rng([self.seed, self.scenes])
        return rng.multinomial(self.scenes, np.full(self.scenes, 1 / self.scenes), size=self.rounds).astype(np.int64)

    def of_mean(self, values: Floats, scene: Whole) -> Interval | None:
        """Return the 95 % interval of a mean.

        Args:
            values: values (N,).
            scene: scene of each value (N,).

        Returns:
            The interval; None with fewer than `FEWEST_SCENES` scenes.
        """
        sums = np.bincount(scene, weights=values, minlength=self.scenes)
        counts = np.bincount(scene, minlength=self.scenes).astype(np.float64)

        def mean(draws: Whole) -> Floats:
            weight = draws @ counts
            return np.asarray(np.divide(draws @ sums, weight, out=np.full(len(draws), np.nan), where=weight > 0))

        return self._interval(mean, scene)

    def of_ratio(self, above: Floats, below: Floats, scene: Whole) -> Interval | None:
        """Return the 95 % interval of the ratio of two means over the same frames, resampled together.

        Args:
            above: values (N,) of the numerator.
            below: values (N,) of the denominator.
            scene: scene of each frame (N,).

        Returns:
            The interval; None with fewer than `FEWEST_SCENES` scenes.
        """
        sums = [np.bincount(scene, weights=values, minlength=self.scenes) for values in (above, below)]

        def ratio(draws: Whole) -> Floats:
            one, other = (draws @ part for part in sums)
            return np.asarray(np.divide(one, other, out=np.full(len(draws), np.nan), where=other > 0))

        return self._interval(ratio, scene)

    def of_quantile(self, values: Floats, scene: Whole, probability: float) -> Interval | None:
        """Return the 95 % interval of a quantile: the smallest value whose cumulative share reaches `probability`."""
        return self._interval(_quantile_of(values, scene, probability), scene)

    def of_quantile_change(self, old: Floats, old_scene: Whole, new: Floats, new_scene: Whole,
                           probability: float) -> Interval | None:
        """Return the 95 % interval of a quantile of the new values minus that of the old ones, paired by scene."""
        before, after = (_quantile_of(old, old_scene, probability), _quantile_of(new, new_scene, probability))
        return self._interval(lambda draws: after(draws) - before(draws), np.intersect1d(old_scene, new_scene))

    def of_counts(self, counts: npt.NDArray[_Number], figure: Callable[[npt.NDArray[_Number]], Floats],
                  scene: Whole) -> Interval | None:
        """Return the 95 % interval of a figure of additive counts or sums, such as a confusion matrix.

        Args:
            counts: counts of each scene (scenes, ...).
            figure: function from (rounds, ...) to (rounds,).
            scene: scene of each counted frame (N,).
        """
        return self._interval(lambda draws: figure(np.tensordot(draws, counts, axes=1)), scene)

    def _interval(self, figure: Callable[[Whole], Floats], scene: Whole) -> Interval | None:
        if len(np.unique(scene)) < FEWEST_SCENES:
            return None
        drawn = figure(self.draws)
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        return float(low), float(high)


def _quantile_of(values: Floats, scene: Whole, probability: float) -> Callable[[Whole], Floats]:
    """Return a quantile of values (N,) of scenes (N,), as a function of resamples (R, scenes) to (R,)."""
    order = np.argsort(values, kind="stable")
    ordered, places = values[order], scene[order]

    def quantile(draws: Whole) -> Floats:
        step = max(1, _CHUNK // max(1, len(values)))
        parts = [_weighted_quantile(ordered, draws[i:i + step][:, places], probability)
                 for i in range(0, len(draws), step)]
        return np.concatenate(parts)

    return quantile


def _weighted_quantile(ordered: Floats, weights: Whole, probability: float) -> Floats:
    """Return the quantiles (R,) of ascending values (N,) with weights (R, N); NaN where all weights are 0."""
    summed = weights.cumsum(axis=1)
    total = summed[:, -1]
    place = (summed < np.ceil(probability * total)[:, None]).sum(axis=1)
    return np.where(total > 0, ordered[np.minimum(place, len(ordered) - 1)], np.nan)
