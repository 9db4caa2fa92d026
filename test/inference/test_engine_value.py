# SPDX-License-Identifier: Apache-2.0
"""Engine of a model that predicts the value of its inputs."""

import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from admn_ros.budget.budget import Budget
from admn_ros.config import Objective
from admn_ros.inference.engine import Engine
from admn_ros.model.allocation import allocate
from admn_ros.model.checkpoint import initialize, load_model, save_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.value.allocation import allocate_by_value
from admn_ros.sample import MultimodalSample
from helpers import models


@pytest.fixture(scope="module")
def network():
    config = models.four_modalities()
    config = config.model_copy(update={"qoi": config.qoi.model_copy(update={"value_hidden": 8})})
    network = AdmnNetwork(config)
    initialize(network, 4)
    return network


@pytest.fixture
def engine(network):
    return Engine.of(network)


def sample(config, seed=0):
    generator = torch.Generator().manual_seed(seed)
    nodes = len(config.sensor_nodes)
    return MultimodalSample({m: torch.randn(nodes, *c.input.shape, generator=generator)
                             for m, c in config.modalities.items()},
                            {m: torch.ones(nodes, dtype=torch.bool) for m in config.modalities})


def test_the_model_allocates_by_value_and_a_model_without_head_by_quality(engine):
    assert engine.policy is allocate_by_value
    estimate = engine.infer(sample(engine.config), Budget(2, "layers"))
    assert estimate.allocation.layers == 2
    assert estimate.allocation.reason_text.startswith("Layers by predicted value: ")
    assert engine.infer(sample(engine.config), Budget(2, "layers"), decide=allocate).allocation.layers == 2
    assert Engine.of(AdmnNetwork(models.four_modalities())).policy is allocate


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_the_head_is_counted_in_the_operations_of_a_frame(engine, share):
    table = engine.costs.table("gflops")
    everywhere = dict.fromkeys(engine.config.modalities, 2)
    low, high = table.amount(table.base(everywhere)), table.amount(table.total(everywhere))
    budget = Budget(low + share * (high - low), "gflops")
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        estimate = engine.infer(sample(engine.config), budget)
    assert estimate.allocation.layers
    assert counter.get_total_flops() == round(estimate.allocation.spent * 1e9) <= budget.limit * 1e9


def test_the_objective_may_change_between_frames(engine):
    inputs, budget = sample(engine.config), Budget(math.inf, "layers")
    texts = []
    for objective in (Objective(), Objective(position=0), Objective(classification=0)):
        engine.objective = objective
        texts.append(engine.infer(inputs, budget).allocation.reason_text)
    assert len(set(texts)) == 3


def test_a_model_folder_keeps_the_head(network, tmp_path):
    save_model(network, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    kept = loaded.qoi.value.state_dict()
    assert all(torch.equal(x, kept[name]) for name, x in network.qoi.value.state_dict().items())
