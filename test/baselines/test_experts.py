# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from admn_ros.baselines.experts import DynMM, Mns, expert_config, mns_experts
from admn_ros.baselines.learned_baseline import run_whole
from admn_ros.errors import InputError
from admn_ros.model.checkpoint import initialize
from admn_ros.model.presets import preset
from admn_ros.sample import Modality, SampleBatch
from helpers import models

RGB, DEPTH, RADAR = Modality.RGB, Modality.DEPTH, Modality.RADAR
CONFIG = models.images()
EXPERTS = mns_experts(CONFIG, 4)


def make(kind, *args):
    model = kind(CONFIG, EXPERTS, *args)
    for i in range(len(EXPERTS)):
        initialize(model.expert(i), i)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in [*model.gate.parameters(), *model.encoder.parameters()]:
            p.copy_(torch.randn(p.shape, generator=generator) * 0.5)
    return model.eval()


def batch(size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return SampleBatch({m: torch.randn(size, 2, 3, 32, 32, generator=generator) * 2 for m in (RGB, DEPTH)},
                       {m: torch.ones(size, 2, dtype=torch.bool) for m in (RGB, DEPTH)})


def run_expert(model, index, inputs):
    return run_whole(model.expert(index), inputs)


def prefer(model, order):
    """Make the gate prefer the experts in this order, whatever it sees."""
    with torch.no_grad():
        model.gate[2].weight.zero_()
        model.gate[2].bias.copy_(torch.tensor([float(-order.index(i)) for i in range(len(order))]))


def test_experts_of_mns():
    assert EXPERTS == [{RGB: 4}, {DEPTH: 4}, {RGB: 2, DEPTH: 2}]
    assert mns_experts(preset("gdtm-tiny"), 6)[-1] == dict(zip(Modality, (2, 2, 1, 1), strict=True))
    assert mns_experts(preset("gdtm"), 16)[0] == {RGB: 16}
    with pytest.raises(InputError, match="layers"):
        mns_experts(CONFIG, 1)
    assert make(Mns).layers == (4, 4, 4)
    small = expert_config(CONFIG, {DEPTH: 3, RGB: 0})
    assert small.depths == {DEPTH: 3}
    for bad in ({}, {RGB: 0}, {RADAR: 1}, {RGB: -1}):
        with pytest.raises(InputError, match="expert"):
            expert_config(CONFIG, bad)


@pytest.mark.parametrize("chosen", [0, 1, 2])
@torch.inference_mode()
def test_only_the_chosen_expert_runs(chosen):
    model, ran = make(Mns), []
    for i in range(3):
        for m, backbone in model.expert(i).backbones.items():
            for block in backbone.blocks:
                block.register_forward_hook(lambda *_, i=i, m=m: ran.append((i, m)))
    prefer(model, [chosen, *(i for i in range(3) if i != chosen)])
    out = model(batch())
    expected = [(chosen, str(m)) for m, k in EXPERTS[chosen].items() for _ in range(k)]
    assert sorted(ran) == sorted(expected)
    alone = run_expert(model, chosen, batch())
    for a, b in zip(out, alone, strict=True):
        torch.testing.assert_close(a, b)


@torch.inference_mode()
def test_a_mixed_batch_gives_each_sample_its_own_expert():
    model, inputs = make(Mns), batch(24)
    inputs.present[RGB][:5] = False
    inputs.present[DEPTH][5:9] = False
    # Equal preferences on average, so that what a sample looks like decides.
    model.gate[2].bias.sub_(model.gate(model.encoder.perceive(inputs)).mean(0))
    choice = model.choose(inputs)
    assert set(choice.tolist()) == {0, 1, 2}
    out = model(inputs)
    for i in range(24):
        one = SampleBatch({m: x[i:i + 1] for m, x in inputs.inputs.items()},
                          {m: p[i:i + 1] for m, p in inputs.present.items()})
        for a, b in zip(run_expert(model, int(choice[i]), one), out, strict=True):
            torch.testing.assert_close(a[0], b[i], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_experts_without_input_or_above_the_budget_are_not_selected():
    model, inputs = make(Mns), batch(4)
    prefer(model, [0, 1, 2])
    inputs.present[RGB][:2] = False
    assert model.choose(inputs).tolist() == [1, 1, 0, 0]
    part = SampleBatch({DEPTH: inputs.inputs[DEPTH]}, {DEPTH: inputs.present[DEPTH]})
    assert model.choose(part).tolist() == [1, 1, 1, 1]
    inputs.present[DEPTH][:1] = False
    assert model.choose(inputs).tolist() == [0, 1, 0, 0]
    assert all(torch.isfinite(x).all() for x in model(inputs))
    sized = DynMM(CONFIG, [{RGB: 1}, {DEPTH: 2}, {RGB: 4, DEPTH: 4}], 0.1)
    prefer(sized, [2, 1, 0])
    whole = batch(2)
    assert [int(sized.choose(whole, limit)[0]) for limit in (None, 8, 7, 2, 1)] == [2, 2, 1, 1, 0]
    with pytest.raises(InputError, match="max_layers"):
        sized(whole, 0)


@pytest.mark.parametrize("make_model", [lambda: make(Mns), lambda: make(DynMM, 0.1)])
def test_training_weights_are_one_hot_and_carry_gradients(make_model):
    model = make_model()
    out, weights = model.forward_train(batch(), torch.Generator().manual_seed(1))
    assert set(weights.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(weights.sum(1), torch.ones(6))
    picked = weights.argmax(1)
    with torch.no_grad():
        for i, index in enumerate(picked.tolist()):
            alone = run_expert(model, index, batch())
            for a, b in zip(out, alone, strict=True):
                torch.testing.assert_close(a[i], b[i], rtol=1e-4, atol=1e-5)
    out.mean_m.square().sum().backward()
    assert model.gate[2].weight.grad.abs().sum() > 0
    assert model.encoder.stems["rgb"].layers[0].weight.grad.abs().sum() > 0
    used = {i for i in range(3) if any(p.grad is not None and p.grad.abs().sum() > 0
                                       for p in model.expert(i).parameters())}
    assert used == set(picked.tolist())


def test_mns_samples_with_gumbel_noise_and_dynmm_does_not():
    logits = torch.tensor([[1.0, 0.0, -1.0]]).expand(20000, -1)
    share = make(Mns).weights(logits, torch.Generator().manual_seed(0)).mean(0)
    torch.testing.assert_close(share, logits[0].softmax(0), rtol=0.05, atol=0.0)
    assert torch.equal(make(DynMM, 0.1).weights(logits).mean(0), torch.tensor([1.0, 0.0, 0.0]))


@pytest.mark.parametrize(("model", "tau"), [(lambda: make(Mns), 5.0), (lambda: make(DynMM, 0.1, 2.0), 2.0)])
def test_the_temperature_softens_the_gradient(model, tau):
    logits = torch.zeros(500, 2, requires_grad=True)
    weights = model().weights(logits, torch.Generator().manual_seed(0))
    weights[:, 0].sum().backward()
    slope = logits.grad[:, 0]  # p (1 - p) / tau, of which p = 1/2 gives the most
    assert 0.9 * 0.25 / tau < slope.max() <= 0.25 / tau + 1e-6


def test_the_price_of_dynmm_is_relative_to_the_first_expert():
    model = DynMM(CONFIG, [{RGB: 1}, {RGB: 4, DEPTH: 4}], price=0.5)
    cheap, dear = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert model.resource_loss(cheap).item() == pytest.approx(0.5)
    assert model.resource_loss(dear).item() == pytest.approx(0.5 * model.costs[1] / model.costs[0])
    deeper = DynMM(CONFIG, [{RGB: 4}, {RGB: 1}], price=0.5)
    tokens, dim, nodes = 5, 16, 2
    layer = nodes * (2 * tokens * 12 * dim**2 + 4 * tokens**2 * dim)
    assert deeper.costs[0] - deeper.costs[1] == pytest.approx(3 * layer / 1e9)
    both = torch.cat([cheap, dear])
    assert model.resource_loss(both).item() == pytest.approx((0.5 + 0.5 * model.costs[1] / model.costs[0]) / 2)


def test_a_high_price_selects_the_cheapest_expert():
    model = DynMM(CONFIG, [{RGB: 1, DEPTH: 1}, {RGB: 1}, {RGB: 4, DEPTH: 4}], price=1.0)
    initialize(model.expert(0), 0)
    prefer(model, [2, 0, 1])
    inputs = batch(4)
    optimizer = torch.optim.SGD(model.gate.parameters(), lr=0.5)
    assert model.choose(inputs).tolist() == [2] * 4
    for _ in range(20):
        optimizer.zero_grad()
        model.resource_loss(model.weights(model.gate_logits(inputs))).backward()
        optimizer.step()
    assert model.choose(inputs).tolist() == [1] * 4


@pytest.mark.parametrize(("price", "tau"), [(-1.0, 1.0), (float("nan"), 1.0), (0.1, 0.0)])
def test_wrong_arguments(price, tau):
    with pytest.raises(InputError):
        DynMM(CONFIG, EXPERTS, price, tau)
    with pytest.raises(InputError, match="experts"):
        Mns(CONFIG, [])
