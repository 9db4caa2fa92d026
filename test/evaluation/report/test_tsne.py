# SPDX-License-Identifier: Apache-2.0
"""t-SNE keeps neighbours together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from admn_ros.evaluation.report.allocation import principal_plane
from admn_ros.evaluation.report.tsne import neighbour_plane

CLUSTERS, DIMENSIONS = 6, 20


def clusters(count: int, seed: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Clusters whose centres two principal components do not tell apart, and the cluster of each point."""
    rng, label = np.random.default_rng(seed), np.arange(count) % CLUSTERS
    centres = 6 * np.eye(CLUSTERS, DIMENSIONS)
    return centres[label] + rng.normal(size=(count, DIMENSIONS)), label


def alike(plane: npt.NDArray[np.float64], label: npt.NDArray[np.int64]) -> float:
    """Share of points whose nearest neighbour is of their own cluster."""
    squares = np.square(plane[:, None] - plane).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    return float((label[squares.argmin(axis=1)] == label).mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_neighbours_of_a_point_are_of_its_own_cluster(seed: int) -> None:
    points, label = clusters(120, seed)
    projected, _ = principal_plane(points)
    plane = neighbour_plane(points, projected)
    assert alike(plane, label) >= 0.98 > alike(projected, label)
    assert plane.mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert (neighbour_plane(points, projected) == plane).all()


@pytest.mark.parametrize("points", [
    pytest.param(np.eye(4), id="four"), pytest.param(np.repeat(np.eye(3), 4, axis=0), id="copies")])
def test_few_points_and_copies_have_a_place(points: npt.NDArray[np.float64]) -> None:
    plane = neighbour_plane(points, principal_plane(points)[0])
    assert plane.shape == (len(points), 2) and np.isfinite(plane).all()
