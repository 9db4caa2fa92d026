# SPDX-License-Identifier: Apache-2.0
"""Engine of a model that predicts the value of its inputs."""

import math

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from admn_ros.budget.budget import Budget
from admn_ros.config import Objective
from admn_ros.errors import InputError
from admn_ros.inference.engine import Engine
from admn_ros.model.allocation import Reason, Why, allocate
from admn_ros.model.checkpoint import initialize, load_model, save_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.value.allocation import allocate_by_value
from admn_ros.sample import Modality, MultimodalSample, SampleBatch
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
    engine.runtime = engine.network  # budgets in operations count the network as it is defined
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


def budget_for_one_input(engine):
    """A budget in operations that holds one layer of the cheapest input, and nothing else."""
    table = engine.costs.table("gflops")
    everywhere = dict.fromkeys(engine.config.modalities, 2)
    floors = [table.modalities[m].backbone(1, 1) for m in engine.config.modalities]
    return Budget(table.amount(table.base(everywhere) + min(floors)), "gflops")


def test_only_the_chosen_sensor_nodes_run(engine):
    inputs = sample(engine.config)
    estimate = engine.infer(inputs, budget_for_one_input(engine))
    allocation = estimate.allocation
    assert sorted(map(len, allocation.nodes.values())) == [0, 0, 0, 1]
    masked = SampleBatch.stack([inputs]).at([allocation.nodes])
    assert {m: x[0].nonzero().flatten().tolist() for m, x in masked.present.items()} == {
        m: list(nodes) for m, nodes in allocation.nodes.items()}
    with torch.inference_mode():
        alone = engine.network.estimate(masked, allocation.active)
    assert estimate.mean_m[:2].tolist() == pytest.approx(alone.mean_m[0, :2].tolist(), rel=1e-4)
    chosen = next(i for i in allocation.inputs if i.ran)
    name = engine.config.sensor_nodes[chosen.node]
    assert f"{chosen.modality} 1 at {name} (value {chosen.value:.3g})" in allocation.reason_text


def test_a_frame_is_declined_only_below_the_cheapest_input(engine):
    table = engine.costs.table("gflops")
    present = dict.fromkeys(engine.config.modalities, (1,)) | {next(iter(engine.config.modalities)): (0, 1)}
    counts = {m: len(nodes) for m, nodes in present.items()}
    least = table.base(counts) + min(c.backbone(1, 1) for c in table.modalities.values())
    assert engine.decline(0, present, Budget(table.amount(least), "gflops")) is None
    declined = engine.decline(0, present, Budget(table.amount(least - 1), "gflops"))
    assert declined.allocation.reason is Reason.BELOW_FLOOR
    assert "one layer of one input needs" in declined.allocation.reason_text
    assert [i.why for i in declined.allocation.inputs].count(Why.NO_READING) == len(present) - 1


def test_the_least_budget_is_that_of_one_input(engine):
    least = engine.costs.least
    assert least["layers"] == 1.0
    blank, cheaper = sample(engine.config), math.nextafter(least["gflops"], 0)
    assert engine.infer(blank, Budget(least["gflops"], "gflops")).allocation.layers == 1
    assert engine.infer(blank, Budget(cheaper, "gflops")).allocation.reason is Reason.BELOW_FLOOR
    by_quality = Engine.of(AdmnNetwork(models.four_modalities()))
    assert by_quality.infer(blank, Budget(by_quality.costs.least["gflops"], "gflops")).allocation.layers == 1


@pytest.mark.parametrize("reference", [False, True], ids=["prepared", "reference"])
def test_frames_together_are_the_frames_one_by_one(engine, reference):
    if reference:
        engine.runtime = engine.network
    rng = np.random.default_rng(5)
    samples, budgets = [], []
    for seed in range(12):
        whole = sample(engine.config, seed)
        kept = [m for m in engine.config.modalities if seed % 4 or m is not Modality.RGB]
        present = {m: torch.from_numpy(rng.random(2) < 0.7) for m in kept}
        samples.append(MultimodalSample({m: whole.inputs[m] for m in kept}, present, stamp_ns=seed))
        budgets.append(Budget(seed and int(rng.integers(1, 20)), "layers"))
    together = engine.infer_many(samples, budgets)
    assert {e.mean_m is None for e in together} == {True, False}
    assert len({e.allocation.layers for e in together}) > 5
    for found, inputs, budget in zip(together, samples, budgets, strict=True):
        alone = engine.infer(inputs, budget)
        assert (found.stamp_ns, found.allocation.active, found.allocation.nodes) == (
            alone.stamp_ns, alone.allocation.active, alone.allocation.nodes)
        assert found.qoi == pytest.approx(alone.qoi, rel=1e-4, nan_ok=True)
        if alone.mean_m is None:
            assert found.mean_m is None
        else:
            assert found.mean_m == pytest.approx(alone.mean_m, rel=1e-4, abs=1e-6)
            assert found.covariance_m2 == pytest.approx(alone.covariance_m2, rel=1e-4, abs=1e-8)
            assert found.scores == pytest.approx(alone.scores, rel=1e-4)


def test_as_many_budgets_as_frames(engine):
    assert engine.infer_many([], []) == []
    with pytest.raises(InputError, match="budgets: found 0; allowed: 1"):
        engine.infer_many([sample(engine.config)], [])
