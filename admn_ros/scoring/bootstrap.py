# SPDX-License-Identifier: Apache-2.0
"""How sure a figure is: percentile bootstrap over scenes (Efron and Tibshirani 1993, Section 13.3).

Frames of one scene are alike, so whole scenes are drawn, with replacement. All figures of a report see the same
draws: differences of two figures can be judged by their intervals' draws together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from admn_ros.scoring.metrics import Floats, Whole

ROUNDS = 1000
FEWEST_SCENES = 5
"""Of fewer scenes there are too few different draws to say anything."""
_CHUNK = 2_000_000

Interval = tuple[float, float]


@dataclass(frozen=True)
class SceneBootstrap:
    """Draws of scenes.

    scenes: how many there are.
    seed: of the draws.
    rounds: how many draws.
    """

    scenes: int
    seed: int = 0
    rounds: int = ROUNDS

    @property
    def draws(self) -> Whole:
        """How often each scene is in each draw, (rounds, scenes)."""
        rng = np.random.default_rng([self.seed, self.scenes])
        return rng.multinomial(self.scenes, np.full(self.scenes, 1 / self.scenes), size=self.rounds).astype(np.int64)

    def of_mean(self, values: Floats, scene: Whole) -> Interval | None:
        """95 % interval of the mean of values (N,) of the scenes (N,); None with too few of them."""
        sums = np.bincount(scene, weights=values, minlength=self.scenes)
        counts = np.bincount(scene, minlength=self.scenes).astype(np.float64)

        def mean(draws: Whole) -> Floats:
            weight = draws @ counts
            return np.asarray(np.divide(draws @ sums, weight, out=np.full(len(draws), np.nan), where=weight > 0))

        return self._interval(mean, scene)

    def of_quantile(self, values: Floats, scene: Whole, share: float) -> Interval | None:
        """95 % interval of a quantile (the smallest value with at least `share` of the values up to it)."""
        return self._interval(_quantile_of(values, scene, share), scene)

    def of_quantile_change(self, old: Floats, old_scene: Whole, new: Floats, new_scene: Whole,
                           share: float) -> Interval | None:
        """95 % interval of how much larger a quantile of the new values is, both under the same draws."""
        before, after = _quantile_of(old, old_scene, share), _quantile_of(new, new_scene, share)
        return self._interval(lambda draws: after(draws) - before(draws), np.intersect1d(old_scene, new_scene))

    def of_counts(self, counts: npt.NDArray[np.int64], figure: Callable[[npt.NDArray[np.int64]], Floats],
                  scene: Whole) -> Interval | None:
        """95 % interval of a figure of counts that add up, such as a confusion matrix.

        Args:
            counts: (scenes, ...), of each scene.
            figure: of (rounds, ...) to (rounds,).
            scene: scenes (N,) of the frames that were counted.
        """
        return self._interval(lambda draws: figure(np.tensordot(draws, counts, axes=1)), scene)

    def _interval(self, figure: Callable[[Whole], Floats], scene: Whole) -> Interval | None:
        if len(np.unique(scene)) < FEWEST_SCENES:
            return None
        drawn = figure(self.draws)
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        return float(low), float(high)


def _quantile_of(values: Floats, scene: Whole, share: float) -> Callable[[Whole], Floats]:
    """A quantile of values (N,) of scenes (N,), as a function of draws (R, scenes) to (R,)."""
    order = np.argsort(values, kind="stable")
    ordered, places = values[order], scene[order]

    def quantile(draws: Whole) -> Floats:
        step = max(1, _CHUNK // max(1, len(values)))
        parts = [_weighted_quantile(ordered, draws[i:i + step][:, places], share) for i in range(0, len(draws), step)]
        return np.concatenate(parts)

    return quantile


def _weighted_quantile(ordered: Floats, weights: Whole, share: float) -> Floats:
    """Of ascending values (N,) with weights (R, N): (R,), NaN where there is no weight."""
    summed = weights.cumsum(axis=1)
    total = summed[:, -1]
    place = (summed < np.ceil(share * total)[:, None]).sum(axis=1)
    return np.where(total > 0, ordered[np.minimum(place, len(ordered) - 1)], np.nan)
