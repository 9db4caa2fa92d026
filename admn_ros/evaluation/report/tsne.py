# SPDX-License-Identifier: Apache-2.0
"""t-SNE: points in the plane whose neighbours are those of the points in many dimensions.

L. van der Maaten, G. Hinton: Visualizing Data using t-SNE. JMLR 9, 2008. Exact sums, for up to about a thousand points.
"""

from __future__ import annotations

import numpy as np

from admn_ros.scoring.metrics import Floats

ITERATIONS, EXAGGERATED = 400, 100
"""Steps, and how many of them attract neighbours more strongly, which lets clusters find each other."""
EXAGGERATION = 12.0
MOMENTUM, LATER_MOMENTUM = 0.5, 0.8
BISECTIONS = 50
START_SPREAD = 1e-4
"""Standard deviation of the first points."""
TINY = 1e-12


def neighbour_plane(points: Floats, start: Floats, perplexity: float = 30.0) -> Floats:
    """Place points in the plane. The result is the same in every run.

    Args:
        points: points (N, D), at least four.
        start: first points (N, 2), such as the principal components; they are scaled.
        perplexity: effective number of neighbours of a point; at most a third of the others.

    Returns:
        Points (N, 2), centred.
    """
    count = len(points)
    near = EXAGGERATION * _joint(_squares(points), min(perplexity, (count - 1) / 3))
    plane = START_SPREAD * start / max(start.std(axis=0)[0], TINY)
    speed, gains = np.zeros_like(plane), np.ones_like(plane)
    rate = max(count / EXAGGERATION / 4, 50.0)
    for step in range(ITERATIONS):
        if step == EXAGGERATED:
            near /= EXAGGERATION
        slope = _slope(near, plane)
        gains = np.maximum(np.where(np.sign(slope) != np.sign(speed), gains + 0.2, gains * 0.8), 0.01)
        speed = (MOMENTUM if step < EXAGGERATED else LATER_MOMENTUM) * speed - rate * gains * slope
        plane = plane + speed
    return np.asarray(plane - plane.mean(axis=0), np.float64)


def _squares(points: Floats) -> Floats:
    """Return the squared distances (N, N) of points (N, D)."""
    norms = np.square(points).sum(axis=1)
    return np.asarray(np.maximum(norms[:, None] + norms - 2 * points @ points.T, 0), np.float64)


def _joint(squares: Floats, perplexity: float) -> Floats:
    """Return the probability (N, N) of each pair of neighbours, for squared distances (N, N)."""
    count = len(squares)
    others = squares + np.diag(np.full(count, np.inf))
    others = others - others.min(axis=1, keepdims=True)  # the nearest neighbour has weight 1, so that no row is 0
    low, high = np.zeros((count, 1)), np.full((count, 1), np.inf)
    sharpness = 1 / np.maximum(np.median(squares, axis=1, keepdims=True), TINY)
    for _ in range(BISECTIONS):  # for the sharpness of each row that gives the perplexity
        weights = np.exp(-sharpness * others)
        rows = weights / weights.sum(axis=1, keepdims=True)
        wide = np.exp(-(rows * np.log(np.maximum(rows, TINY))).sum(axis=1, keepdims=True)) > perplexity
        low, high = np.where(wide, sharpness, low), np.where(wide, high, sharpness)
        sharpness = np.where(np.isinf(high), 2 * sharpness, (low + high) / 2)
    return np.asarray(np.maximum((rows + rows.T) / (2 * count), TINY), np.float64)


def _slope(near: Floats, plane: Floats) -> Floats:
    """Return the gradient (N, 2) of the divergence between the pairs in many dimensions and those in the plane."""
    pull = 1 / (1 + _squares(plane))
    np.fill_diagonal(pull, 0)
    force = (near - pull / pull.sum()) * pull
    return np.asarray(4 * (force.sum(axis=1, keepdims=True) * plane - force @ plane), np.float64)
