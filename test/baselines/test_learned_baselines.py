# SPDX-License-Identifier: Apache-2.0
"""Baselines with networks of their own: what runs, what it costs, and that hard and soft agree."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from admn_ros.baselines.adamml import AdaMML
from admn_ros.baselines.experts import DynMM, Mns, mns_experts, scratch_config
from admn_ros.baselines.fusion_dynmm import FusionDynMM, exits, main_exits
from admn_ros.baselines.gates import DepthChoice
from admn_ros.baselines.learned_baseline import LearnedBaseline, WholeNetwork
from admn_ros.errors import InputError
from admn_ros.model.checkpoint import initialize
from admn_ros.model.costs import layer_costs
from admn_ros.sample import Modality, SampleBatch
from helpers import models

RGB, DEPTH, AUDIO = Modality.RGB, Modality.DEPTH, Modality.AUDIO
SHAPES = {RGB: (3, 32, 32), DEPTH: (3, 32, 32), AUDIO: (1, 16, 16)}
CONFIG = models.unequal_depths()
KINDS = {
    "whole": lambda: WholeNetwork(scratch_config(CONFIG, 5)),
    "mns": lambda: Mns(CONFIG, mns_experts(CONFIG, 4)),
    "dynmm": lambda: DynMM(CONFIG, [{AUDIO: 1}, {RGB: 2, DEPTH: 3}], 0.1, 2.0),
    "fusion_dynmm": lambda: FusionDynMM(CONFIG, RGB),
    "fusion_parts": lambda: FusionDynMM(CONFIG, RGB, whole=False),
    "adamml": lambda: AdaMML(CONFIG),
}


def make(kind: str, seed: int = 0) -> LearnedBaseline:
    baseline = KINDS[kind]()
    initialize(baseline, seed)
    # Wide preferences that differ from sample to sample.
    for name in ("gate", "policy"):
        head = getattr(baseline, name, None)
        if head is not None:
            with torch.no_grad():
                head[2].weight.mul_(40)
    return baseline.eval()


def batch(size: int = 12, seed: int = 0, *, holes: bool = True) -> SampleBatch:
    generator = torch.Generator().manual_seed(seed)
    present = {m: torch.ones(size, 2, dtype=torch.bool) for m in SHAPES}
    if holes:
        present = {m: torch.rand(size, 2, generator=generator) < 0.6 for m in SHAPES}
        present[RGB][0] = present[DEPTH][0] = False
        present[AUDIO][0] = True
        for m in SHAPES:
            present[m][1] = False
    inputs = {m: torch.randn(size, 2, *s, generator=generator) * 2 for m, s in SHAPES.items()}
    return SampleBatch(inputs, present)


def one(inputs: SampleBatch, i: int) -> SampleBatch:
    return inputs.part(list(inputs.inputs), torch.tensor([i]))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_mixed_batch_equals_single_samples(kind: str) -> None:
    baseline, inputs = make(kind), batch(16)
    together = baseline.routed(inputs)
    for i in range(16):
        alone = baseline.routed(one(inputs, i))
        for a, b in zip(together.estimate, alone.estimate, strict=True):
            torch.testing.assert_close(a[i], b[0], rtol=1e-4, atol=1e-5)
        assert together.layers[i] == alone.layers[0]
        assert together.gflops[i] == alone.gflops[0]
    if kind != "whole":
        assert len(set(together.gflops.tolist())) > 3


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_costs_of_a_sample_are_those_of_the_layers_that_run(kind: str) -> None:
    """Operations are counted while they happen; layers by hooks."""
    baseline, inputs = make(kind), batch()
    ran: list[str] = []
    for name, part in baseline.named_modules():
        if ".blocks." in name and "backbones" in name and name.rsplit(".", 1)[1].isdigit():
            part.register_forward_hook(lambda *_, name=name: ran.append(name))
    for i in range(12):
        ran.clear()
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            routed = baseline.routed(one(inputs, i))
            tril = routed.estimate.scale_tril_m[0]
            _ = tril @ tril.T  # the covariance, which every user of an estimate computes
        assert routed.gflops.item() == pytest.approx(counter.get_total_flops() / 1e9, rel=1e-12)
        assert routed.layers.item() == len(ran)


@pytest.mark.parametrize(("kind", "least", "limits"), [("dynmm", 1, (1, 4, 5)), ("fusion_dynmm", 4, (4, 6, 9, 11)),
                                                       ("fusion_parts", 1, (1, 2, 3, 7, 11)),
                                                       ("adamml", 2, (2, 4, 5, 6, 11)), ("whole", 5, (5,))])
@torch.no_grad()
def test_the_strict_variant_keeps_every_sample_within_the_limit(kind: str, least: int, limits: tuple[int, ...]) -> None:
    baseline, inputs = make(kind), batch(24)
    for limit in limits:
        assert int(baseline.routed(inputs, limit).layers.max()) <= limit
    free, wide = baseline.routed(inputs), baseline.routed(inputs, 99)
    assert torch.equal(free.layers, wide.layers)
    with pytest.raises(InputError, match="max_layers"):
        baseline.routed(inputs, least - 1)


@torch.no_grad()
def test_something_runs_wherever_there_is_an_input() -> None:
    inputs = batch(24)
    some = torch.stack([p.any(dim=1) for p in inputs.present.values()]).any(dim=0)
    for kind in ("fusion_dynmm", "adamml"):
        baseline = make(kind)
        with torch.no_grad():
            head = baseline.gate if isinstance(baseline, FusionDynMM) else baseline.policy
            head[2].weight.zero_()
            head[2].bias.fill_(-9.0)
            if isinstance(baseline, FusionDynMM):
                head[2].bias[[0, 5]] = 9.0  # exit 0 of each auxiliary
        layers = baseline.routed(inputs).layers
        assert torch.equal(layers > 0, some)
        assert not layers[1]


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3, unique=True), min_size=1, max_size=3),
       st.data())
@settings(max_examples=60, deadline=None)
def test_the_best_feasible_depths_are_chosen(depths: list[list[int]], data: st.DataObject) -> None:
    numbers = st.floats(-9, 9, width=32)
    scores = [[0.0, *data.draw(st.lists(numbers, min_size=len(d), max_size=len(d)))] for d in depths]
    here = [data.draw(st.booleans()) for _ in depths]
    limit = data.draw(st.one_of(st.none(), st.integers(0, 12)))
    listed = [[0, *d] for d in depths]
    found = DepthChoice(listed).best([torch.tensor([s]) for s in scores], torch.tensor([here]), limit)[0].tolist()
    assert all(not k or h for k, h in zip(found, here, strict=True))

    def worth(counts: list[int]) -> float:
        return sum(s[d.index(k)] for k, d, s, h in zip(counts, listed, scores, here, strict=True) if h)

    possible = [worth(list(counts)) for counts in itertools.product(
        *(d if h else [0] for d, h in zip(listed, here, strict=True)))
        if sum(counts) and (limit is None or sum(counts) <= limit)]
    assert (sum(found) > 0) == bool(possible)
    if possible:
        assert limit is None or sum(found) <= limit
        assert worth(found) == pytest.approx(max(possible), abs=1e-4)


def test_exits_are_quarters_of_the_depth() -> None:
    assert exits(12) == (0, 3, 6, 9, 12)
    assert exits(24) == (0, 6, 12, 18, 24)
    assert exits(3) == (0, 1, 2, 3)
    assert exits(1) == (0, 1)
    for depth in range(1, 30):
        assert exits(depth)[0] == 0 and exits(depth)[-1] == depth
    for main in (Modality.RADAR,):
        with pytest.raises(InputError, match="main"):
            FusionDynMM(CONFIG, main)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "parts"])
def test_one_hot_exits_in_training_are_the_network_that_runs(whole: bool) -> None:
    baseline, inputs = FusionDynMM(CONFIG, RGB, whole=whole), batch(16)
    initialize(baseline, 0)
    weights = baseline.random_weights(inputs, torch.Generator().manual_seed(1))
    with torch.no_grad():
        trained = baseline.forward_train(inputs, weights)
        for i in range(16):
            active = {m: range(baseline.exits[m][int(w[i].argmax())]) for m, w in weights.items()}
            alone = baseline.network.estimate(one(inputs, i), {RGB: range(4), **active})
            for a, b in zip(trained, alone, strict=True):
                torch.testing.assert_close(a[i], b[0], rtol=1e-4, atol=1e-5)
        chosen, routed = baseline.run_chosen(inputs), baseline.routed(inputs).estimate
        for a, b in zip(chosen, routed, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    for modality, w in weights.items():
        missing = ~inputs.present[modality].any(dim=1)
        assert (w[missing].argmax(dim=1) == 0).all()
    layers = baseline.expected_cost(inputs, weights, layer_costs(CONFIG))
    ran = [torch.tensor(baseline.exits[m])[w.argmax(dim=1)] * inputs.present[m].any(dim=1) for m, w in weights.items()]
    main = 4.0 * inputs.present[RGB].any(dim=1) if whole else 0.0
    torch.testing.assert_close(layers, main + sum(ran))


def test_a_main_modality_in_parts_always_runs_some_of_them() -> None:
    baseline = make("fusion_parts")
    assert isinstance(baseline, FusionDynMM) and baseline.exits[RGB] == main_exits(4) == (1, 2, 3, 4)
    inputs = batch(24, holes=False)
    with torch.no_grad():
        for exit_, layers in enumerate(main_exits(4)):
            baseline.gate[2].weight.zero_()
            baseline.gate[2].bias.copy_(9.0 * torch.eye(baseline.outputs)[exit_])
            assert {counts[0] for counts in baseline.choose(inputs).tolist()} == {layers}
        assert {tuple(c) for c in baseline.choose(inputs, 1).tolist()} == {(1, 0, 0)}


def test_soft_exits_give_the_gate_a_gradient_and_become_hard() -> None:
    baseline = make("fusion_dynmm")
    assert isinstance(baseline, FusionDynMM)
    inputs = batch(8, holes=False)
    weights = baseline.soft_weights(inputs, 1.0)
    for w in weights.values():
        torch.testing.assert_close(w.sum(dim=1), torch.ones(8))
    baseline.forward_train(inputs, weights).mean_m.square().sum().backward()
    assert baseline.encoder.stems["rgb"].layers[0].weight.grad.abs().sum() > 0
    assert baseline.gate[2].weight.grad.abs().sum() > 0
    with torch.no_grad():
        soft = baseline.forward_train(inputs, baseline.soft_weights(inputs, 1e-4))
        for a, b in zip(soft, baseline.routed(inputs).estimate, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_learned_switches_change_no_value_and_have_a_gradient() -> None:
    baseline = make("adamml")
    assert isinstance(baseline, AdaMML)
    inputs = batch(16)
    switches = baseline.draw(inputs, 1.0, torch.Generator().manual_seed(0))
    here = torch.stack([inputs.present[m].any(dim=1) for m in CONFIG.modalities], dim=1)
    assert set(switches.flatten().tolist()) == {0.0, 1.0}
    assert not (switches.detach().bool() & ~here).any()
    assert torch.equal(switches.detach().any(dim=1), here.any(dim=1))
    plain = baseline.forward_train(inputs, switches)
    for learned in range(3):
        output = baseline.forward_train(inputs, switches, learned)
        for a, b in zip(output, plain, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    baseline.zero_grad()
    output.mean_m.square().sum().backward()
    assert baseline.policy[2].weight.grad[2].abs().sum() > 0
    assert not baseline.policy[2].weight.grad[:2].any()
    assert baseline.encoder.stems["rgb"].layers[0].weight.grad.abs().sum() > 0
    assert sum(baseline.shares) == pytest.approx(1.0)
    assert baseline.price(torch.ones(4, 3)).item() == pytest.approx(1.0)
    for a, b in zip(baseline.run_chosen(inputs), baseline.routed(inputs).estimate, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
