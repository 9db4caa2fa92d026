# SPDX-License-Identifier: Apache-2.0
"""Figures of estimates against the truth, in NumPy: distances, densities, ellipses, classes.

N frames, D axes, K classes. Rows that a figure must not count are left out by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

CDF_AT_CM = (5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0)
"""Where the distribution of errors is tabulated."""
COVERAGES = (0.50, 0.90, 0.95)


def distances(mean_m: Floats, truth_m: Floats) -> Floats:
    """Euclidean distances (N,) of (N, D) and (N, D)."""
    return np.asarray(np.linalg.norm(mean_m - truth_m, axis=1), dtype=np.float64)


def mahalanobis(mean_m: Floats, covariance_m2: Floats, truth_m: Floats) -> Floats:
    """Squared Mahalanobis distances (N,) of the truths; covariances (N, D, D) are positive definite."""
    residual = truth_m - mean_m
    whitened = np.linalg.solve(covariance_m2, residual[..., None])[..., 0]
    return np.asarray((residual * whitened).sum(axis=1), dtype=np.float64)


def gaussian_nll(mean_m: Floats, covariance_m2: Floats, truth_m: Floats) -> Floats:
    """Negative logarithm of the Gaussian density, in 1/m^D, at each truth: (N,)."""
    _, log_volume = np.linalg.slogdet(covariance_m2)
    axes = mean_m.shape[1]
    nll: Floats = 0.5 * (mahalanobis(mean_m, covariance_m2, truth_m) + log_volume + axes * math.log(2 * math.pi))
    return nll


def cdf_at(values: Floats, points: Sequence[float] = CDF_AT_CM) -> list[float]:
    """Share of the values at or below each point."""
    return [float(np.mean(values <= point)) for point in points]


def confusion_matrix(truth: Whole, said: Whole, classes: int) -> Whole:
    """Counts (K, K): row is the true class, column the estimated one."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth, said), 1)
    return counts


def accuracy(confusion: npt.NDArray[np.int64]) -> Floats:
    """Share on the diagonal; of (..., K, K) the shape (...). NaN where nothing was counted."""
    right = np.trace(confusion, axis1=-2, axis2=-1).astype(np.float64)
    return _divided(right, confusion.sum(axis=(-2, -1)).astype(np.float64))


def macro_f1(confusion: npt.NDArray[np.int64]) -> Floats:
    """Mean F1 of the classes that were there or were said; of (..., K, K) the shape (...)."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    counted = (confusion.sum(axis=-1) + confusion.sum(axis=-2)).astype(np.float64)
    f1 = np.where(counted > 0, _divided(2 * right, counted), 0.0)
    return _divided(f1.sum(axis=-1), (counted > 0).sum(axis=-1).astype(np.float64))


def ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share their mean rank."""
    order = np.argsort(values, kind="stable")
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    result = np.empty(len(values))
    result[order] = np.repeat(first + (counts + 1) / 2, counts)
    return result


def rank_correlation(a: Floats, b: Floats) -> float | None:
    """Spearman's: range [-1, 1]; None where one of them does not vary."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def separation(low: Floats, high: Floats) -> float | None:
    """Area under the ROC curve: how likely a draw of `high` is above one of `low`, equals by half."""
    if not len(low) or not len(high):
        return None
    ranked = ranks(np.concatenate([low, high]))[len(low):]
    return float((ranked.sum() - len(high) * (len(high) + 1) / 2) / (len(low) * len(high)))


def _divided(a: Floats, b: Floats) -> Floats:
    out = np.full(np.broadcast_shapes(np.shape(a), np.shape(b)), np.nan)
    return np.asarray(np.divide(a, b, out=out, where=b > 0), dtype=np.float64)
