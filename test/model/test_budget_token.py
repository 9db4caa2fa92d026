# SPDX-License-Identifier: Apache-2.0
"""The controller's budget token: its influence, its cost, and models without it."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from admn_ros.budget.budget import Budget
from admn_ros.config import ModelConfig
from admn_ros.inference.engine import Engine, blank_sample
from admn_ros.model.checkpoint import create_random_model, initialize
from admn_ros.model.costs import flop_costs, layer_costs
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.qoi import budget_share
from admn_ros.sample import Modality, SampleBatch
from helpers import models

RGB, DEPTH = Modality.RGB, Modality.DEPTH


def network(*, token: bool = True) -> AdmnNetwork:
    made = AdmnNetwork(models.images(budget_token=token))
    initialize(made, 0)
    return made.eval()


def batch(size: int = 3) -> SampleBatch:
    generator = torch.Generator().manual_seed(0)
    return SampleBatch({m: torch.randn(size, 2, 3, 32, 32, generator=generator) for m in (RGB, DEPTH)},
                       {m: torch.ones(size, 2, dtype=torch.bool) for m in (RGB, DEPTH)})


def test_the_budget_changes_the_output_and_defaults_to_the_full_cost() -> None:
    made, inputs = network(), batch()
    logits = {s: made.controller(inputs, torch.full((3,), s)).logits[RGB] for s in (0.25, 0.3, 1.0)}
    assert not torch.allclose(logits[0.25], logits[1.0], atol=1e-4)
    assert not torch.allclose(logits[0.25], logits[0.3], atol=1e-5)
    assert torch.equal(made.controller(inputs).logits[RGB], logits[1.0])
    mixed = made.controller(inputs, torch.tensor([0.25, 1.0, 0.3])).logits[RGB]
    torch.testing.assert_close(mixed, torch.stack([logits[0.25][0], logits[1.0][1], logits[0.3][2]]))


def test_the_gradient_reaches_the_token() -> None:
    made = network()
    made.controller(batch(), torch.tensor([0.2, 0.5, 1.0])).logits[DEPTH].square().sum().backward()
    assert made.qoi.budget is not None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.qoi.budget.parameters())


@pytest.mark.slow
def test_budgets_between_training_budgets_are_interpolated() -> None:
    """Train a score that rises with the budget at four budgets, and test it at others."""
    made, inputs = network(), batch(1)
    shares = torch.tensor([0.25, 0.5, 0.75, 1.0])
    many = inputs.part([RGB, DEPTH], torch.zeros(4, dtype=torch.int64))
    optimizer = torch.optim.Adam(made.qoi.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (made.controller(many, shares).logits[RGB][:, 1] - 4 * shares).square().mean()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = made.controller(many, torch.tensor([0.25, 0.375, 0.6, 0.9])).logits[RGB][:, 1]
    torch.testing.assert_close(found, 4 * torch.tensor([0.25, 0.375, 0.6, 0.9]), atol=0.3, rtol=0)


def test_models_without_a_token_ignore_the_budget() -> None:
    made, inputs = network(token=False), batch()
    assert not [name for name in made.state_dict() if "budget" in name]
    assert torch.equal(made.controller(inputs, torch.full((3,), 0.1)).e_corr, made.controller(inputs).e_corr)
    assert made.state_dict().keys() < network().state_dict().keys()
    plain = models.images(budget_token=False).model_dump(mode="json")
    del plain["qoi"]["budget_token"]
    assert ModelConfig.model_validate_json(json.dumps(plain)) == models.images(budget_token=False)


def test_the_operations_of_the_token_are_counted() -> None:
    made, one = network(), batch(1)
    with torch.no_grad(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        made.controller(one, torch.tensor([0.5]))
        tril = made.estimate(one, {RGB: (0,)}).scale_tril_m[0]
        _ = tril @ tril.T
    costs = flop_costs(made.config)
    rgb = costs.modalities[RGB]
    assert costs.base({RGB: 2, DEPTH: 2}) + rgb.embedding[1] + rgb.layer[1] == counter.get_total_flops()


@given(st.integers(0, 2), st.integers(0, 2), st.floats(0, 20))
def test_a_share_is_the_affordable_part_of_the_full_cost(left: int, right: int, limit: float) -> None:
    present = {RGB: left, DEPTH: right}
    layers = layer_costs(models.images(budget_token=True))
    share = budget_share(layers, Budget(limit, "layers"), present)
    held = sum(4 for n in present.values() if n)
    assert share == (min(math.floor(limit), held) / held if held else 1.0)
    flops = flop_costs(models.images(budget_token=True))
    assert budget_share(flops, Budget(math.inf, "gflops"), present) == 1.0
    full = flops.total(present) - flops.base(present)
    exactly = Budget((flops.base(present) + full // 2) / 1e9, "gflops")
    assert not full or budget_share(flops, exactly, present) == pytest.approx(0.5, abs=1e-3)
    assert budget_share(flops, Budget(0.0, "gflops"), present) == (0.0 if full else 1.0)


def test_the_engine_passes_the_budget_to_the_controller(tmp_path: pytest.TempPathFactory) -> None:
    create_random_model(models.images(budget_token=True), tmp_path / "model", 1)  # type: ignore[operator]
    engine = Engine(tmp_path / "model", "cpu")  # type: ignore[operator]
    heard: list[float] = []
    assert engine.network.qoi.budget is not None
    engine.network.qoi.budget.register_forward_pre_hook(lambda _, args: heard.append(float(args[0])))
    some, everything = Budget(2, "layers"), Budget(math.inf, "layers")
    for budget in (some, some, everything, some, Budget(math.inf, "gflops")):
        spent = engine.infer(blank_sample(engine.config), budget).allocation
        assert spent.spent <= budget.limit
    assert heard == [0.25, 1.0, 0.25, 1.0]   # the token of the frame before is kept
