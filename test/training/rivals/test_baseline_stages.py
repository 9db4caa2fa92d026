# SPDX-License-Identifier: Apache-2.0
"""Training of the baselines: each overfits a tiny set, frozen is frozen, and a higher price is not a higher cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from admn_ros.baselines.adamml import AdaMML
from admn_ros.baselines.experts import DynMM, Mns, expert_config, scratch_config
from admn_ros.baselines.fusion_dynmm import FusionDynMM
from admn_ros.baselines.learned_baseline import LearnedBaseline, WholeNetwork, without_controller
from admn_ros.budget.costs import Counts
from admn_ros.config import LocalizationConfig, ModelConfig
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.datasets.source import Spread
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.presets import ROOM_POSES
from admn_ros.sample import Modality
from admn_ros.training.config import LossConfig, OptimizerConfig
from admn_ros.training.data import LabeledBatch, Samples
from admn_ros.training.loop import fit
from admn_ros.training.losses import constant_error_m
from admn_ros.training.rivals.adamml_stage import AdaMMLConfig, AdaMMLStage
from admn_ros.training.rivals.experts import Expert, ExpertConfig
from admn_ros.training.rivals.fusion_gate import FusionGate, FusionGateConfig
from admn_ros.training.rivals.mns_gate import Gate, GateConfig
from admn_ros.training.scores import baseline_scores
from admn_ros.training.seeding import generator
from admn_ros.training.stage import Stage, Step

RGB, DEPTH, AUDIO = Modality.RGB, Modality.DEPTH, Modality.AUDIO
FAST = OptimizerConfig(learning_rate=1e-3, schedule="cosine", warm_up_epochs=1, batch=4, epochs=6, clip_norm=1.0,
                       seed=3)
EXPERTS: list[Counts] = [{RGB: 1}, {RGB: 2, DEPTH: 2}]


def optimizer(epochs: int, **other: Any) -> OptimizerConfig:
    return FAST.model_copy(update={"epochs": epochs, **other})


@pytest.fixture(scope="module")
def small(model: ModelConfig) -> ModelConfig:
    """One sensor node with RGB and depth, two layers each."""
    return expert_config(model.model_copy(update={"sensor_nodes": ("node1",)}), {RGB: 2, DEPTH: 2})


@pytest.fixture(scope="module")
def few(dataset: Path, small: ModelConfig) -> Samples:
    return Samples(Spread(ShardDataset(dataset, "train"), 4), small, cache_mb=64, repeats=36)


@pytest.fixture(scope="module")
def experts(small: ModelConfig, few: Samples, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Weights of the experts, each trained alone from scratch."""
    baseline = Mns(small, EXPERTS)
    fresh(baseline)
    for i in range(2):
        rows = fit(Expert(baseline.expert(i), ExpertConfig(optimizer=FAST)), few, few, FAST,
                   tmp_path_factory.mktemp(f"expert{i}"))
        assert rows[-1]["val/error_m"] < 0.3 * constant(few)
    return dict(baseline.state_dict())


@pytest.fixture
def batch(dataset: Path, model: ModelConfig) -> LabeledBatch:
    return next(Samples(ShardDataset(dataset, "train"), model).batches(0, 12, shuffle=False))


def fresh(baseline: LearnedBaseline, seed: int = 0) -> LearnedBaseline:
    initialize(baseline, seed)
    return baseline


def descend(stage: Stage, batch: LabeledBatch, epochs: list[int], total: int, rate: float) -> None:
    """One step for each listed epoch, of `total`."""
    adam = torch.optim.Adam(stage.trainable().values(), lr=rate)
    for number, epoch in enumerate(epochs):
        losses = stage.losses(batch, Step(epoch, total, generator(0, 1, number), generator(0, 2, number)))
        adam.zero_grad()
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        adam.step()


def constant(few: Samples) -> float:
    """Error of the mean position, which a baseline that learned nothing has."""
    batches = few.batches(0, 96, shuffle=False)
    found = constant_error_m((b.position_m[:, :2], b.located) for b in batches)
    assert found is not None
    return found


def test_a_network_from_scratch_is_evaluated_as_it_was_trained(small: ModelConfig, few: Samples,
                                                               tmp_path: Path) -> None:
    baseline = WholeNetwork(scratch_config(small, 3))
    fresh(baseline, 1)
    once = optimizer(1, warm_up_epochs=0)
    rows = fit(Expert(baseline.network, ExpertConfig(optimizer=once, modality_dropout=0.3)), few, few, once, tmp_path)
    figures = baseline_scores(baseline, few.batches(0, 8, shuffle=False))
    assert figures["error_m"] == pytest.approx(rows[-1]["val/error_m"], rel=1e-4)
    assert figures["layers_mean"] == figures["layers_max"] == 3
    assert figures["gflops_mean"] == pytest.approx(figures["gflops_max"], rel=1e-12)
    assert figures["gflops_max"] > 0


def test_an_expert_learns_from_each_input_and_from_each_modality_alone(model: ModelConfig, batch: LabeledBatch) -> None:
    placed = model.model_copy(update={
        "node_poses": {node: ROOM_POSES[node] for node in model.sensor_nodes},
        "localization": LocalizationConfig(kind="evidence", min_m=(-2.0, -2.0), max_m=(2.0, 2.0))})
    network = without_controller(AdmnNetwork(expert_config(placed, {RGB: 2, DEPTH: 2})))
    initialize(network, 0)
    config = ExpertConfig(loss=LossConfig(evidence=2.0), solo={RGB: 0.5, AUDIO: 0.5})
    stage, used = Expert(network, config), dict.fromkeys((RGB, DEPTH), 0)
    for number in range(24):
        losses = stage.losses(batch, Step(0, 1, generator(0, 1, number), generator(0, 2, number)))
        assert "evidence" in losses
        network.zero_grad()
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        for modality in used:
            used[modality] += any(p.grad is not None for p in network.backbone(modality).parameters())
    # Audio, which it does not have, leaves its half of the batches to both.
    assert used[RGB] == 24
    assert 5 <= used[DEPTH] <= 19


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Mns, DynMM])
def test_a_gate_over_trained_experts_learns_a_tiny_set(kind: type[Mns | DynMM], small: ModelConfig, few: Samples,
                                                       experts: dict[str, torch.Tensor], tmp_path: Path) -> None:
    baseline = Mns(small, EXPERTS) if kind is Mns else DynMM(small, EXPERTS, 0.01)
    baseline.load_state_dict(experts)
    before = {name: value.clone() for name, value in baseline.state_dict().items()}
    once = optimizer(1, warm_up_epochs=0)
    rows = fit(Gate(baseline, GateConfig(optimizer=once)), few, few, once, tmp_path)
    after = baseline.state_dict()
    changed = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == ({"gate", "encoder"} if kind is Mns else {"gate", "encoder", "experts"})
    assert rows[-1]["val/error_m"] < 0.3 * constant(few)
    assert 1 <= rows[-1]["val/layers_mean"] <= rows[-1]["val/layers_max"] <= 4
    assert ("train/resource" in rows[-1]) == (kind is DynMM)


def whole(experts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of the expert that has everything."""
    return {name.removeprefix("experts.1."): w for name, w in experts.items() if name.startswith("experts.1.")}


@pytest.mark.slow
def test_fusion_dynmm_learns_a_tiny_set(small: ModelConfig, few: Samples, experts: dict[str, torch.Tensor],
                                        tmp_path: Path) -> None:
    baseline = FusionDynMM(small, RGB)
    fresh(baseline, 1)
    baseline.network.load_state_dict(whole(experts))
    later = optimizer(4, warm_up_epochs=0)
    config = FusionGateConfig(optimizer=later, price=0.02, budget=2.0, random_epochs=1, hard_epochs=1)
    rows = fit(FusionGate(baseline, config), few, few, later, tmp_path)
    assert ["train/resource" in row for row in rows] == [False, True, True, False]
    assert rows[-1]["val/error_m"] < 0.3 * constant(few)
    assert 2 <= rows[-1]["val/layers_mean"] <= rows[-1]["val/layers_max"] <= 4


@pytest.mark.slow
def test_adamml_learns_a_tiny_set(small: ModelConfig, few: Samples, experts: dict[str, torch.Tensor],
                                           tmp_path: Path) -> None:
    baseline = AdaMML(small)
    fresh(baseline, 1)
    baseline.network.load_state_dict(whole(experts))
    later = optimizer(4, warm_up_epochs=0)
    config = AdaMMLConfig(optimizer=later, price=0.1, warm_up_epochs=1, finetune_epochs=1)
    rows = fit(AdaMMLStage(baseline, config), few, few, later, tmp_path)
    assert ["train/resource" in row for row in rows] == [False, True, True, False]
    assert rows[-1]["val/error_m"] < 0.3 * constant(few)
    assert 2 <= rows[-1]["val/layers_mean"] <= rows[-1]["val/layers_max"] <= 4


def gates(baseline: LearnedBaseline) -> set[str]:
    return {name for name, p in baseline.named_parameters()
            if name.split(".")[0] in ("gate", "encoder", "policy") and p.grad is not None and p.grad.abs().sum() > 0}


@pytest.mark.parametrize("kind", ["mns", "dynmm", "fusion", "switch"])
def test_the_task_gradient_reaches_the_gate_and_its_encoder(kind: str, model: ModelConfig, batch: LabeledBatch) -> None:
    free = {"price": 0.0, "optimizer": optimizer(9)}
    stage: Stage = {
        "mns": lambda: Gate(Mns(model, EXPERTS), GateConfig()),
        "dynmm": lambda: Gate(DynMM(model, EXPERTS, 0.0), GateConfig()),
        "fusion": lambda: FusionGate(FusionDynMM(model), FusionGateConfig.model_validate(free)),
        "switch": lambda: AdaMMLStage(AdaMML(model), AdaMMLConfig.model_validate(
            {**free, "warm_up_epochs": 2, "finetune_epochs": 2})),
    }[kind]()
    assert isinstance(stage.module, LearnedBaseline)
    fresh(stage.module)
    losses = stage.losses(batch, Step(3, 9, generator(0, 1), generator(0, 2)))
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    reached = gates(stage.module)
    assert "encoder.stems.rgb.layers.0.weight" in reached
    assert {"gate.2.weight", "policy.2.weight"} & reached
    assert "encoder.cls_token" in reached


def test_the_experts_of_dynmm_can_be_frozen(model: ModelConfig) -> None:
    def trained(joint: bool) -> set[str]:
        stage = Gate(DynMM(model, EXPERTS, 0.1), GateConfig(joint=joint))
        return {name.split(".")[0] for name in stage.trainable()}

    assert trained(True) == {"encoder", "gate", "experts"}
    assert trained(False) == {"encoder", "gate"}


@pytest.mark.slow
def test_the_experts_of_dynmm_have_a_learning_rate_of_their_own(small: ModelConfig, few: Samples,
                                                                tmp_path: Path) -> None:
    once = optimizer(1, warm_up_epochs=0, weight_decay=0.01)
    for folder, share in (("slow", 1e-9), ("same", 1.0)):
        baseline = DynMM(small, EXPERTS, 0.1)
        before = {name: value.clone() for name, value in fresh(baseline).state_dict().items()}
        fit(Gate(baseline, GateConfig(optimizer=once, expert_rate=share)), few, few, once, tmp_path / folder)
        moved = {name.split(".")[0] for name, value in baseline.state_dict().items()
                 if not torch.allclose(value, before[name], rtol=0, atol=1e-6)}
        assert moved == {"encoder", "gate"} | ({"experts"} if share == 1 else set())


def test_the_gate_is_fixed_while_only_the_network_is_trained(model: ModelConfig, batch: LabeledBatch) -> None:
    stages: list[Stage] = [
        FusionGate(FusionDynMM(model), FusionGateConfig(price=1.0, random_epochs=2, hard_epochs=2,
                                                        optimizer=optimizer(6))),
        AdaMMLStage(AdaMML(model), AdaMMLConfig(price=1.0, warm_up_epochs=2, finetune_epochs=2,
                                                 optimizer=optimizer(6)))]
    for stage in stages:
        assert isinstance(stage.module, LearnedBaseline)
        fresh(stage.module)
        for epoch in (0, 1, 4, 5):
            stage.module.zero_grad()
            losses = stage.losses(batch, Step(epoch, 6, generator(0, 1), generator(0, 2)))
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
            assert not gates(stage.module)
            assert "resource" not in losses


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dynmm", "fusion", "switch"])
def test_a_higher_price_is_not_a_higher_cost(kind: str, small: ModelConfig, few: Samples) -> None:
    batch = next(few.batches(0, 4, shuffle=False))
    costs = []
    for price in (0.0, 0.3, 30.0):
        gated: dict[str, Any] = {"price": price, "optimizer": optimizer(3)}
        stage: Stage = {
            "dynmm": lambda p=price: Gate(DynMM(small, EXPERTS, p), GateConfig()),
            "fusion": lambda g=gated: FusionGate(FusionDynMM(small), FusionGateConfig.model_validate(
                {**g, "random_epochs": 0, "hard_epochs": 0, "tau_final": 1.0})),
            "switch": lambda g=gated: AdaMMLStage(AdaMML(small), AdaMMLConfig.model_validate(
                {**g, "warm_up_epochs": 0, "finetune_epochs": 0, "tau": 1.0})),
        }[kind]()
        assert isinstance(stage.module, LearnedBaseline)
        fresh(stage.module)
        descend(stage, batch, [1] * 20, 3, 5e-3)
        costs.append(baseline_scores(stage.module, [batch])["gflops_mean"])
    assert costs[0] >= costs[1] >= costs[2]
    least = {"dynmm": 1, "fusion": 2, "switch": 2}[kind]
    assert baseline_scores(stage.module, [batch])["layers_max"] == least


def test_the_gate_of_fusion_dynmm_becomes_hard(small: ModelConfig, few: Samples) -> None:
    """The temperature falls from tau to tau_final over the epochs of the gate, here 2 to 5 of 8."""
    baseline = FusionDynMM(small)
    fresh(baseline)
    batch = next(few.batches(0, 4, shuffle=False))
    stage = FusionGate(baseline, FusionGateConfig(price=1.0, random_epochs=2, hard_epochs=2, optimizer=optimizer(8),
                                               tau=2.0, tau_final=0.002))
    heard: list[float] = []
    soft_weights = baseline.soft_weights
    baseline.soft_weights = lambda inputs, tau: (heard.append(tau), soft_weights(inputs, tau))[1]  # type: ignore
    for epoch in range(8):
        stage.losses(batch, Step(epoch, 8, generator(0, 1), generator(0, 2)))
    assert heard == pytest.approx([2.0, 0.2, 0.02, 0.002])


def test_phases_must_leave_epochs_for_the_gate() -> None:
    with pytest.raises(ValueError, match="hard_epochs"):
        FusionGateConfig(price=1.0, random_epochs=3, hard_epochs=3, optimizer=optimizer(6))
    with pytest.raises(ValueError, match="finetune_epochs"):
        AdaMMLConfig(price=1.0, warm_up_epochs=5, finetune_epochs=10, optimizer=optimizer(15))
