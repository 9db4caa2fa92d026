# SPDX-License-Identifier: Apache-2.0
"""Scores of estimates: the one place where training, evaluation, tables, tracking and probes compute them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from admn_ros.inference.ellipse import ellipse_limit
from admn_ros.scoring import metrics
from admn_ros.scoring.metrics import CM_PER_M, Floats, Mask, Whole


class ErrorSummary(NamedTuple):
    """Distribution of position errors, in centimetres; n is their number."""

    n: int
    mean_cm: float
    median_cm: float
    p95_cm: float

    @classmethod
    def of(cls, errors_cm: Floats) -> ErrorSummary:
        """Summarize errors (N,), N > 0."""
        return cls(len(errors_cm), float(errors_cm.mean()), float(np.median(errors_cm)),
                   float(np.quantile(errors_cm, 0.95)))


@dataclass(frozen=True)
class Estimates:
    """Estimates of N frames beside their ground truth. Masks that select rows are (N,) bool.

    Attributes:
        mean_m: estimated positions (N, D); NaN where there is no estimate.
        covariance_m2: covariances (N, D, D).
        position_m: true positions (N, D); NaN where unknown.
        scores: scores of the classes (N, K), the highest one is the prediction.
        label: true classes (N,); -1 where unknown.
    """

    mean_m: Floats
    covariance_m2: Floats
    position_m: Floats
    scores: Floats
    label: Whole

    @property
    def answered(self) -> Mask:
        """Rows with an estimate."""
        return finite_rows(self.mean_m)

    @property
    def located(self) -> Mask:
        """Rows with an estimate and a true position."""
        return self.answered & finite_rows(self.position_m)

    @property
    def labelled(self) -> Mask:
        """Rows with an estimate, scores and a true class."""
        return (self.label >= 0) & self.answered & finite_rows(self.scores)

    @property
    def predicted(self) -> Whole:
        """Predicted classes (N,)."""
        return np.asarray(self.scores.argmax(axis=1), np.int64)

    def confidence_sums(self, rows: Mask) -> Floats:
        """Return `metrics.confidence_sums` of the selected rows, whose scores must be probabilities."""
        return metrics.confidence_sums(self.scores[rows].max(axis=1), self.predicted[rows] == self.label[rows])

    def errors_cm(self, rows: Mask) -> Floats:
        """Return the position errors of the selected rows, in centimetres."""
        return CM_PER_M * metrics.distances(self.mean_m[rows], self.position_m[rows])

    def nll(self, rows: Mask) -> Floats:
        """Return the negative log-likelihood of the true positions of the selected rows, densities in 1/m^D."""
        return metrics.gaussian_nll(self.mean_m[rows], self.covariance_m2[rows], self.position_m[rows])

    def covered(self, rows: Mask, probability: float) -> Mask:
        """Return which true positions of the selected rows lie in the ellipse of a probability in (0, 1)."""
        away = metrics.mahalanobis(self.mean_m[rows], self.covariance_m2[rows], self.position_m[rows])
        return np.asarray(away <= ellipse_limit(probability, self.mean_m.shape[1]), np.bool_)


def finite_rows(values: Floats) -> Mask:
    """Return which rows of (N, D) are finite."""
    return np.asarray(np.isfinite(values).all(axis=1), np.bool_)
