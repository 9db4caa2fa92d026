# SPDX-License-Identifier: Apache-2.0
"""Figures against values that were computed by hand, and against slow definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from admn_ros.inference.ellipse import ellipse_limit
from admn_ros.scoring import metrics
from admn_ros.scoring.bootstrap import FEWEST_SCENES, SceneBootstrap
from admn_ros.scoring.ranking import auroc, rank_correlation

numbers = st.floats(-5, 5).map(lambda x: round(x, 3))
series = st.integers(2, 30).flatmap(lambda n: hnp.arrays(np.float64, n, elements=numbers))


@st.composite
def gaussians(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Mean (2,) or (3,) and a covariance that is well conditioned."""
    axes = draw(st.sampled_from((2, 3)))
    mean = draw(hnp.arrays(np.float64, axes, elements=numbers))
    factor = np.tril(draw(hnp.arrays(np.float64, (axes, axes), elements=st.floats(-1, 1))))
    np.fill_diagonal(factor, draw(hnp.arrays(np.float64, axes, elements=st.floats(0.1, 2))))
    return mean, factor @ factor.T


def test_distances_and_their_distribution():
    errors = metrics.distances(np.array([[0.0, 0], [3, 4], [1, 1]]), np.array([[0.0, 0], [0, 0], [1, 2]]))
    assert errors.tolist() == [0, 5, 1]
    assert metrics.cdf_at(errors, (0, 1, 4.9, 5)) == [1 / 3, 2 / 3, 2 / 3, 1]


def test_density_by_hand():
    mean, truth = np.zeros((1, 2)), np.array([[1.0, 2.0]])
    covariance = np.diag([1.0, 4.0])[None]
    assert metrics.mahalanobis(mean, covariance, truth) == pytest.approx([2.0])
    assert metrics.gaussian_nll(mean, covariance, truth) == pytest.approx([math.log(2 * math.pi) + math.log(2) + 1])


@given(gaussians())
@settings(max_examples=20, deadline=None)
def test_density_is_that_of_training(gaussian):
    import torch

    from admn_ros.training.losses import gaussian_nll

    mean, covariance = gaussian
    truth = mean + 0.3
    factor = torch.linalg.cholesky(torch.tensor(covariance))[None]
    expected = gaussian_nll(torch.tensor(mean)[None], factor, torch.tensor(truth)[None])
    assert metrics.gaussian_nll(mean[None], covariance[None], truth[None]) == pytest.approx(expected.numpy(), rel=1e-6)


@given(gaussians(), st.sampled_from(metrics.COVERAGES), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_an_ellipse_covers_its_probability(gaussian, share, seed):
    mean, covariance = gaussian
    draws = np.random.default_rng(seed).multivariate_normal(mean, covariance, 4000)
    away = metrics.mahalanobis(np.broadcast_to(mean, draws.shape), np.repeat(covariance[None], 4000, 0), draws)
    assert np.mean(away <= ellipse_limit(share, len(mean))) == pytest.approx(share, abs=0.05)


def test_classes_by_hand():
    confusion = metrics.confusion_matrix(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0]), 4)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert metrics.accuracy(confusion) == pytest.approx(3 / 5)
    # F1 0.5, 0.8 and 0; of the fourth class nothing is true or predicted.
    assert metrics.macro_f1(confusion) == pytest.approx(1.3 / 3)
    assert np.isnan(metrics.accuracy(np.zeros((2, 2), np.int64)))


def test_calibration_error_by_hand():
    confidence, right = np.array([0.55, 0.58, 0.95, 1.0]), np.array([True, False, True, True])
    sums = metrics.confidence_sums(confidence, right, bins=10)
    # Two predictions in [0.5, 0.6), of which one is right; two in [0.9, 1], both right.
    assert sums[5] == pytest.approx([2, 1.13, 1]) and sums[9] == pytest.approx([2, 1.95, 2])
    assert metrics.calibration_error(sums) == pytest.approx((0.13 + 0.05) / 4)
    assert np.isnan(metrics.calibration_error(np.zeros((10, 3))))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_outcomes_drawn_with_their_confidence_have_no_calibration_error(seed):
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.3, 1, 20000)
    sums = metrics.confidence_sums(confidence, rng.random(20000) < confidence)
    assert metrics.calibration_error(sums) < 0.02
    parts = metrics.confidence_sums(confidence[:100], np.ones(100, bool)) + metrics.confidence_sums(
        confidence[100:], np.ones(19900, bool))
    assert parts == pytest.approx(metrics.confidence_sums(confidence, np.ones(20000, bool)))
    assert metrics.calibration_error(parts) == pytest.approx(1 - confidence.mean())


@given(series, st.data())
def test_rank_correlation_is_pearsons_of_the_ranks(a, data):
    b = data.draw(hnp.arrays(np.float64, len(a), elements=numbers))
    slow = [[1 + sum(y < x for y in v) + (sum(y == x for y in v) - 1) / 2 for x in v] for v in (a, b)]
    found = rank_correlation(a, b)
    if np.ptp(a) and np.ptp(b):
        assert found == pytest.approx(np.corrcoef(*slow)[0, 1])
    else:
        assert found is None


def test_rank_correlation_of_monotone_samples():
    x = np.array([0.0, 1, 5, 9])
    assert rank_correlation(x, np.exp(x)) == pytest.approx(1)
    assert rank_correlation(x, -x) == pytest.approx(-1)


@given(series, series)
def test_the_area_under_the_curve_counts_pairs(low, high):
    pairs = [(h > x) + (h == x) / 2 for x in low for h in high]
    assert auroc(low, high) == pytest.approx(np.mean(pairs))
    assert auroc(low[:0], high) is None


# --- bootstrap ---------------------------------------------------------------------------------------


@given(st.integers(FEWEST_SCENES, 12), st.integers(0, 1000), st.sampled_from((0.5, 0.95)))
@settings(max_examples=15, deadline=None)
def test_the_bootstrap_equals_explicit_resampling(scenes, seed, share):
    rng = np.random.default_rng(seed)
    scene = np.concatenate([np.arange(scenes), rng.integers(0, scenes, 20)])
    values = rng.normal(size=len(scene)).round(2)
    boot = SceneBootstrap(scenes, seed, rounds=60)
    drawn = [np.concatenate([np.repeat(values[scene == s], n) for s, n in enumerate(draw)]) for draw in boot.draws]
    assert boot.of_mean(values, scene) == pytest.approx(
        tuple(np.quantile([d.mean() for d in drawn], [0.025, 0.975])))
    assert boot.of_quantile(values, scene, share) == pytest.approx(
        tuple(np.quantile([np.quantile(d, share, method="inverted_cdf") for d in drawn], [0.025, 0.975])))
    counts = np.bincount(scene, minlength=scenes)
    assert boot.of_counts(counts[:, None], lambda c: c[:, 0].astype(float), scene) == pytest.approx(
        tuple(np.quantile([len(d) for d in drawn], [0.025, 0.975])))
    below = rng.uniform(1, 2, len(scene)).round(2)
    least = [np.concatenate([np.repeat(below[scene == s], n) for s, n in enumerate(draw)]) for draw in boot.draws]
    assert boot.of_ratio(values, below, scene) == pytest.approx(
        tuple(np.quantile([a.mean() / b.mean() for a, b in zip(drawn, least, strict=True)], [0.025, 0.975])))


def test_equal_scenes_give_a_point_and_few_scenes_no_interval():
    scene = np.repeat(np.arange(8), 5)
    assert SceneBootstrap(8).of_mean(np.tile([1.0, 2, 3, 4, 5], 8), scene) == (3, 3)
    assert SceneBootstrap(4).of_mean(np.ones(4), np.arange(4)) is None
