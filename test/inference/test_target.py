# SPDX-License-Identifier: Apache-2.0
"""When a frame shows no target, and what is left of its estimate."""

from __future__ import annotations

import numpy as np
import pytest

from admn_ros.budget.budget import Budget
from admn_ros.inference.engine import Engine, blank_sample
from admn_ros.inference.target import shows_target, without_absent_target
from admn_ros.model.checkpoint import create_random_model
from helpers import models


@pytest.mark.parametrize(("classes", "scores", "shows"), [
    (("car", "none"), [0.6, 0.4], True), (("car", "none"), [0.5, 0.5], True), (("car", "none"), [0.49, 0.51], False),
    (("car", "none"), None, False), (("left", "right"), [0.1, 0.9], True), (("left", "right"), None, False)])
def test_a_frame_shows_no_target_if_class_none_is_above_the_threshold(classes, scores, shows):
    assert shows_target(classes, None if scores is None else np.array(scores), 0.5) is shows


def test_at_one_every_frame_shows_a_target():
    assert shows_target(("car", "none"), np.array([0.0, 1.0]), 1.0)


def test_without_a_target_class_and_allocation_stay(tmp_path):
    config = models.room()
    create_random_model(config, tmp_path / "model", seed=0)
    engine = Engine(tmp_path / "model", "cpu")
    seen = engine.infer(blank_sample(config), Budget(3, "layers"))
    scores = seen.scores[list(seen.labels).index("none")]
    assert without_absent_target(seen, float(scores) + 1e-6) is seen
    hidden = without_absent_target(seen, float(scores) - 1e-6)
    assert hidden.mean_m is None and hidden.covariance_m2 is None
    assert hidden.scores is seen.scores and hidden.allocation is seen.allocation
