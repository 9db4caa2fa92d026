# SPDX-License-Identifier: Apache-2.0
"""Thousands of frames with random budgets and absences: the estimates of the reference, and no growth of memory."""

import numpy as np
import pytest
import torch

from admn_ros.budget.budget import Budget
from admn_ros.inference.engine import Engine
from admn_ros.inference.process_memory import resident_mib
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import MultimodalSample
from helpers import models

MOST_GROWTH_MIB = 5.0
COMPARED = 20
"""Every frame of that number is compared with the reference."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("frames", [100, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.nightly])])
def test_frames_of_any_budget_with_any_inputs(frames):
    config = models.four_modalities()
    config = config.model_copy(update={"qoi": config.qoi.model_copy(update={"value_hidden": 8})})
    network = AdmnNetwork(config)
    initialize(network, 4)
    engine, reference = Engine.of(network), Engine.of(network)
    reference.runtime = network
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    inputs = {m: torch.randn(2, *c.input.shape, generator=generator) for m, c in config.modalities.items()}
    before_mib = 0.0
    for number in range(frames):
        kept = [m for m in config.modalities if rng.random() < 0.8]
        sample = MultimodalSample({m: inputs[m] for m in kept},
                                  {m: torch.from_numpy(rng.random(2) < 0.8) for m in kept})
        budget = Budget(float(rng.integers(0, 20)), "layers")
        estimate = engine.infer(sample, budget)
        if number % COMPARED == 0:
            expected = reference.infer(sample, budget)
            assert estimate.allocation.active == expected.allocation.active
            assert estimate.allocation.nodes == expected.allocation.nodes
            if expected.mean_m is not None:
                assert estimate.mean_m == pytest.approx(expected.mean_m, rel=1e-4, abs=1e-6)
                assert estimate.covariance_m2 == pytest.approx(expected.covariance_m2, rel=1e-4, abs=1e-8)
                assert estimate.scores == pytest.approx(expected.scores, rel=1e-4)
        if number == frames // 3:
            before_mib = resident_mib()
    assert resident_mib() - before_mib < MOST_GROWTH_MIB
