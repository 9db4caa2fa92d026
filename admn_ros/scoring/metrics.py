# SPDX-License-Identifier: Apache-2.0
"""Metrics in NumPy: distances, Gaussian densities, error distributions, confusion matrices.

Shapes: N frames, D axes, K classes. Callers leave out the rows that a metric must not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

CM_PER_M = 100.0
CDF_AT_CM = (5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0)
"""Errors at which the cumulative distribution is tabulated."""
COVERAGES = (0.50, 0.90, 0.95)
"""Probabilities of the ellipses whose coverage is reported."""
CONFIDENCE_BINS = 15
"""Bins of equal width of the expected calibration error, as in Guo et al. 2017."""


def distances(mean_m: Floats, truth_m: Floats) -> Floats:
    """Return the Euclidean distances (N,) between the rows of two (N, D) arrays."""
    return np.asarray(np.linalg.norm(mean_m - truth_m, axis=1), dtype=np.float64)


def mahalanobis(mean_m: Floats, covariance_m2: Floats, truth_m: Floats) -> Floats:
    """Return the squared Mahalanobis distances (N,) of the true positions.

    Args:
        mean_m: means (N, D).
        covariance_m2: positive definite covariances (N, D, D).
        truth_m: true positions (N, D).
    """
    residual = truth_m - mean_m
    whitened = np.linalg.solve(covariance_m2, residual[..., None])[..., 0]
    return np.asarray((residual * whitened).sum(axis=1), dtype=np.float64)


def gaussian_nll(mean_m: Floats, covariance_m2: Floats, truth_m: Floats) -> Floats:
    """Return the negative log-likelihood (N,) of the true positions, densities in 1/m^D."""
    _, log_volume = np.linalg.slogdet(covariance_m2)
    axes = mean_m.shape[1]
    nll: Floats = 0.5 * (mahalanobis(mean_m, covariance_m2, truth_m) + log_volume + axes * math.log(2 * math.pi))
    return nll


def cdf_at(values: Floats, points: Sequence[float] = CDF_AT_CM) -> list[float]:
    """Return the fraction of the values at or below each point."""
    return [float(np.mean(values <= point)) for point in points]


def confusion_matrix(truth: Whole, predicted: Whole, classes: int) -> Whole:
    """Count predictions: (K, K), rows are true classes, columns are predicted classes."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def confidence_sums(confidence: Floats, right: Mask, bins: int = CONFIDENCE_BINS) -> Floats:
    """Sum predictions in bins of equal width by their confidence.

    Args:
        confidence: probability of the predicted class (N,), in [0, 1].
        right: whether the prediction was right (N,).
        bins: number of bins.

    Returns:
        (bins, 3): number of predictions, sum of their confidences, number of right ones. Sums of parts add up.
    """
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    weights = (np.ones_like(confidence), confidence, right.astype(np.float64))
    return np.stack([np.bincount(place, weight, minlength=bins) for weight in weights], axis=1)


def calibration_error(sums: Floats) -> Floats:
    """Return the expected calibration error of `confidence_sums`: (..., bins, 3) to (...). NaN without predictions.

    It is the mean difference between confidence and accuracy over the bins, weighted by predictions.
    """
    count, confident, right = np.moveaxis(sums, -1, 0)
    return _divided(np.abs(confident - right).sum(axis=-1), count.sum(axis=-1))


def accuracy(confusion: npt.NDArray[np.int64]) -> Floats:
    """Return the fraction on the diagonal: (..., K, K) to (...). NaN where nothing was counted."""
    right = np.trace(confusion, axis1=-2, axis2=-1).astype(np.float64)
    return _divided(right, confusion.sum(axis=(-2, -1)).astype(np.float64))


def macro_f1(confusion: npt.NDArray[np.int64]) -> Floats:
    """Return the mean F1 of the classes that occur as truth or prediction: (..., K, K) to (...)."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    counted = (confusion.sum(axis=-1) + confusion.sum(axis=-2)).astype(np.float64)
    f1 = np.where(counted > 0, _divided(2 * right, counted), 0.0)
    return _divided(f1.sum(axis=-1), (counted > 0).sum(axis=-1).astype(np.float64))


def _divided(a: Floats, b: Floats) -> Floats:
    out = np.full(np.broadcast_shapes(np.shape(a), np.shape(b)), np.nan)
    return np.asarray(np.divide(a, b, out=out, where=b > 0), dtype=np.float64)
