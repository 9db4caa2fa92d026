# SPDX-License-Identifier: Apache-2.0
"""Rank statistics: whether quality of information (QoI) follows the severity of corruption."""

from __future__ import annotations

import numpy as np
from scipy.stats import mannwhitneyu, spearmanr

from admn_ros.scoring.metrics import Floats


def rank_correlation(a: Floats, b: Floats) -> float | None:
    """Return Spearman's rank correlation, range [-1, 1]; None if one of the samples is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)


def auroc(low: Floats, high: Floats) -> float | None:
    """Return the area under the ROC curve: P(high > low) + P(high = low) / 2; None if one of the samples is empty."""
    if not len(low) or not len(high):
        return None
    pairs = mannwhitneyu(high, low, method="asymptotic").statistic
    return float(pairs / (len(low) * len(high)))
