# SPDX-License-Identifier: Apache-2.0
"""Stage 2 and the autoencoder: trained and frozen weights, budgets."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from admn_ros.budget.budget import Budget
from admn_ros.config import ModelConfig, parse_config
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.errors import ConfigError
from admn_ros.inference.engine import Engine
from admn_ros.model.checkpoint import initialize, load_model, save_model
from admn_ros.model.costs import layer_costs
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality
from admn_ros.sensing.corruption.presets import corruption_preset
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import LabeledBatch, Samples
from admn_ros.training.loop import fit
from admn_ros.training.seeding import generator
from admn_ros.training.stage import Stage, Step
from admn_ros.training.stages.autoencoder import Autoencoder, AutoencoderConfig
from admn_ros.training.stages.categories import categories
from admn_ros.training.stages.controller import Controller, ControllerConfig, allocated, shares
from admn_ros.training.stages.finetune import Finetune, FinetuneConfig
from admn_ros.training.stages.layer_sampling import affordable

FAST = OptimizerConfig(learning_rate=3e-3, schedule="cosine", batch=6, epochs=3, seed=5)
MODES = {"supervised": "qoi.", "universal": "qoi.", "task": "qoi.", "autoencoder": "qoi.mlp_layers."}


def step(epoch: int = 3, number: int = 0) -> Step:
    return Step(epoch, 10, generator(0, 1, number), generator(0, 2, number))


def descend(stage: Controller, optimizer: torch.optim.Optimizer, batch: LabeledBatch, steps: int,
            epoch: int) -> list[float]:
    """Return the losses of training steps on one batch."""
    losses = []
    for number in range(steps):
        loss = torch.stack(list(stage.losses(batch, step(epoch, number)).values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture
def train(dataset: Path, model: ModelConfig) -> Samples:
    preset = corruption_preset("room-all", modalities=tuple(model.modalities))
    return Samples(ShardDataset(dataset, "train"), model, preset, seed=2, draws=1, cache_mb=64)


@pytest.fixture
def batch(train: Samples) -> LabeledBatch:
    return next(train.batches(0, 12, shuffle=False))


@pytest.mark.parametrize("mode", MODES)
def test_frozen_weights_do_not_change(mode: str, network: AdmnNetwork, train: Samples, tmp_path: Path) -> None:
    budgets = (4, 6) if mode == "universal" else (5,)
    config = ControllerConfig.model_validate({"mode": mode, "budgets": budgets, "optimizer": FAST})
    stage = Controller(network, config)
    before = {name: value.clone() for name, value in [*network.state_dict().items(), *network.named_buffers()]}
    rows = fit(stage, train, train, FAST, tmp_path)
    after = dict([*network.state_dict().items(), *network.named_buffers()])
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith(MODES[mode]) for name in changed)
    assert any(name.startswith("qoi.mlp_layers.") for name in changed)
    # The corruption head learns from labels alone, and the eyes unless they are the autoencoder's.
    assert any(name.startswith("qoi.mlp_corruption.") for name in changed) == (mode in ("supervised", "universal"))
    assert any(name.startswith("qoi.stems.rgb.layers.0") for name in changed) == (mode != "autoencoder")
    assert all(f"val/budget_{b}/error_m" in rows[-1] for b in budgets)
    if mode in ("supervised", "universal"):
        assert "train/nll" not in rows[0]  # corruption alone in the first epoch
    assert "train/nll" in rows[1]


def test_task_gradient_reaches_the_convolutions(network: AdmnNetwork, batch: LabeledBatch) -> None:
    stage = Controller(network, ControllerConfig(mode="task", budgets=(5,)))
    losses = stage.losses(batch, step())
    assert set(losses) == {"nll", "distance", "class"}
    torch.stack(list(losses.values())).sum().backward()
    for modality in network.config.modalities:
        first = network.qoi.stems[str(modality)].layers[0].weight
        assert first.grad is not None
        assert first.grad.abs().sum() > 0
    assert network.qoi.cls_token.grad is not None
    assert all(p.grad is None for name, p in network.named_parameters() if not name.startswith("qoi."))


@pytest.mark.parametrize("budget", [1, 2, 3, 5, 9])
def test_budgets_are_kept_in_training_and_validation(network: AdmnNetwork, batch: LabeledBatch, budget: int) -> None:
    stage = Controller(network, ControllerConfig(budgets=(budget,)))
    output = network.controller(batch.samples)
    held = sum(3 * available for available in batch.available().values())
    wanted = torch.as_tensor(held).clamp(max=budget)
    for number in range(10):
        masks = stage.select_layers(output, batch, budget, step(number=number))
        assert torch.equal(torch.cat(list(masks.values()), dim=1).sum(dim=1), wanted.float())
    masks = allocated(output, batch, layer_costs(network.config), budget)
    assert torch.equal(torch.cat(list(masks.values()), dim=1).sum(dim=1), wanted.float())


def test_validation_allocates_like_the_engine(network: AdmnNetwork, train: Samples, tmp_path: Path) -> None:
    save_model(network, tmp_path)
    engine = Engine(tmp_path, "cpu")
    samples = [train.sample(0, i) for i in range(12)]
    batch = LabeledBatch.stack(samples)
    masks = allocated(network.controller(batch.samples), batch, layer_costs(network.config), 5)
    for i, sample in enumerate(samples):
        active = engine.infer(sample, Budget(5, "layers")).allocation.active
        assert {m: tuple(mask[i].nonzero().flatten().tolist()) for m, mask in masks.items()} == dict(active)


@pytest.mark.slow
def test_it_learns_the_corruption(network: AdmnNetwork, batch: LabeledBatch) -> None:
    stage = Controller(network, ControllerConfig(budgets=(5,), corruption_epochs=1))
    optimizer = torch.optim.Adam(stage.trainable().values(), lr=4e-3)
    wrong = descend(stage, optimizer, batch, 80, epoch=0)
    assert sum(wrong[-5:]) < 0.35 * sum(wrong[:5])


@pytest.mark.slow
def test_it_learns_which_modality_is_useful(dataset: Path, model: ModelConfig, network: AdmnNetwork) -> None:
    """Layers of depth above the first are made harmful; the controller learns to avoid them."""
    batch = next(Samples(ShardDataset(dataset, "train"), model).batches(0, 12, shuffle=False))
    with torch.no_grad():
        network.localization.mean.weight.mul_(3)
        least = {m: (0,) if m is Modality.DEPTH else (0, 1, 2) for m in network.config.modalities}
        truth = network.estimate(batch.samples, least)
        for block in list(network.backbone(Modality.DEPTH).blocks)[1:]:
            block.mlp.fc2.bias.add_(3 * torch.randn(32, generator=torch.Generator().manual_seed(0)))
    position = torch.cat([truth.mean_m, torch.zeros(12, 1)], dim=1)
    taught = LabeledBatch(batch.samples, position, torch.ones(12, dtype=torch.bool), batch.label, batch.severity)
    stage = Controller(network, ControllerConfig.model_validate({
        "mode": "task", "budgets": (7,), "loss": {"nll": 0, "distance_per_cm": 0.1, "classification": 0}}))

    def depth_layers() -> float:
        masks = allocated(network.controller(taught.samples), taught, stage.costs, 7)
        return float(masks[Modality.DEPTH].sum(dim=1).mean())

    before = depth_layers()
    losses = descend(stage, torch.optim.Adam(stage.trainable().values(), lr=1e-2), taught, 60, epoch=3)
    assert before > 1.5
    assert depth_layers() == 1
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_corruption_loss_requires_labels(dataset: Path, model: ModelConfig, network: AdmnNetwork) -> None:
    clean = next(Samples(ShardDataset(dataset, "train"), model).batches(0, 4, shuffle=False))
    with pytest.raises(ConfigError, match="corruption labels"):
        Controller(network, ControllerConfig(budgets=(5,))).losses(clean, step())
    Controller(network, ControllerConfig(mode="task", budgets=(5,))).losses(clean, step())
    with pytest.raises(ConfigError, match="budgets"):
        Controller(network, ControllerConfig(budgets=(10,)))


def test_a_dry_run_has_every_part_of_the_loss(network: AdmnNetwork, train: Samples, tmp_path: Path) -> None:
    stage = Controller(network, ControllerConfig(budgets=(5,), corruption_epochs=2))
    row = fit(stage, train, train, FAST, tmp_path, dry_run=True)[0]
    assert {"train/nll", "train/distance", "train/class", "train/corruption_rgb", "val/budget_5/error_m"} <= set(row)


def test_fresh_weights_depend_on_the_seed_and_are_the_controllers_only(network: AdmnNetwork) -> None:
    before = {name: x.clone() for name, x in network.state_dict().items()}

    def fresh(seed: int) -> dict[str, torch.Tensor]:
        Controller(network, ControllerConfig(budgets=(4,), fresh=True, optimizer=OptimizerConfig(seed=seed)))
        return {name: x.clone() for name, x in network.state_dict().items()}

    first, other, again = fresh(1), fresh(2), fresh(1)
    assert all(torch.equal(x, again[name]) for name, x in first.items())
    changed = {name.split(".")[0] for name, x in first.items() if not torch.equal(x, before[name])}
    assert changed == {"qoi"} == {name.split(".")[0] for name, x in first.items() if not torch.equal(x, other[name])}
    with pytest.raises(ValueError, match="fresh conflicts with mode autoencoder"):
        ControllerConfig(budgets=(4,), mode="autoencoder", fresh=True)


def test_layers_of_unequal_costs_are_trained_within_the_budget(model: ModelConfig, batch: LabeledBatch) -> None:
    first = next(iter(model.modalities))
    network = AdmnNetwork(model.model_copy(update={"layer_costs": {first: 3}}))
    initialize(network, 1)
    least = 3 + len(model.modalities) - 1
    stage = ControllerConfig(optimizer=FAST, budgets=(least + 2,)).make(network)
    masks = stage.select_layers(stage.run_controller(batch, least + 2), batch, least + 2, step())
    spent = sum((3 if m is first else 1) * mask.sum(dim=1) for m, mask in masks.items())
    assert spent.max() <= least + 2 and masks[first].sum(dim=1).max() == 1
    with pytest.raises(ConfigError, match="budgets"):
        ControllerConfig(optimizer=FAST, budgets=(least - 1,)).make(network)
    with pytest.raises(ConfigError, match="selection"):
        ControllerConfig(optimizer=FAST, budgets=(least,), selection="progressive").make(network)


def test_universal_trains_with_every_budget(network: AdmnNetwork, batch: LabeledBatch) -> None:
    """With equal noise and other draws of the budget, there are as many losses as budgets."""
    stage = Controller(network, ControllerConfig(mode="universal", budgets=(3, 5, 8)))
    losses = {stage.losses(batch, Step(3, 10, generator(0, 1, number), generator(0, 2)))["nll"].item()
              for number in range(20)}
    assert len(losses) == 3


def test_budget_token_gets_the_budget_of_each_batch(model: ModelConfig, batch: LabeledBatch) -> None:
    network = AdmnNetwork(model.model_copy(update={"qoi": model.qoi.model_copy(update={"budget_token": True})}))
    initialize(network, 0)
    shares_seen: list[torch.Tensor] = []
    assert network.qoi.budget is not None
    network.qoi.budget.register_forward_pre_hook(lambda _, args: shares_seen.append(args[0]))
    config = ControllerConfig(mode="universal", budgets=(3, 5, 8), selection="neuralsort")
    stage = Controller(network, config)
    losses = [stage.losses(batch, Step(3, 10, generator(0, 1, number), generator(0, 2))) for number in range(20)]
    wanted = {budget: shares(batch, model, budget) for budget in (3, 5, 8)}
    held = sum(3 * available for available in batch.available().values())
    assert torch.equal(wanted[5], (5 / torch.as_tensor(held)).clamp(max=1))
    assert {b for share in shares_seen for b, value in wanted.items() if torch.equal(share, value)} == {3, 5, 8}
    losses[0]["nll"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.qoi.budget.parameters())
    with torch.no_grad():
        assert "budget_3/error_m" in stage.validate([batch])


def test_autoencoder_trains_the_perceptual_part_only(network: AdmnNetwork, train: Samples, tmp_path: Path) -> None:
    optimizer = OptimizerConfig(learning_rate=5e-3, schedule="cosine", batch=12, epochs=25, clip_norm=1.0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rows = fit(Autoencoder(network, AutoencoderConfig(optimizer=optimizer, channels=16)), train, train, optimizer,
               tmp_path)
    first, last = ({k: v for k, v in row.items() if k.startswith("val/picture_")} for row in (rows[0], rows[-1]))
    assert set(last) == {f"val/picture_{m}" for m in network.config.modalities}
    assert sum(last.values()) < 0.5 * sum(first.values())
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert all(name.startswith(("qoi.stems.", "qoi.encoder.", "qoi.cls_token")) for name in changed)
    assert {f"qoi.stems.{m}.layers.0.weight" for m in network.config.modalities} <= changed


def test_autoencoder_restores_its_decoders(network: AdmnNetwork, train: Samples, tmp_path: Path) -> None:
    """Decoders depend on the seed, and are part of the checkpoint."""
    torch.manual_seed(1)
    first = Autoencoder(network, AutoencoderConfig(optimizer=FAST))
    torch.manual_seed(2)
    second = Autoencoder(network, AutoencoderConfig(optimizer=FAST))
    pairs = zip(first.decoders.state_dict().values(), second.decoders.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    fit(first, train, None, FAST, tmp_path)
    fit(second, train, None, FAST, tmp_path, resume=True)
    pairs = zip(first.module.state_dict().values(), second.module.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("make", [
    lambda n, o: Finetune(n, FinetuneConfig(optimizer=o, budgets=(4,))),
    lambda n, o: Autoencoder(n, AutoencoderConfig(optimizer=o, channels=8)),
    lambda n, o: Controller(n, ControllerConfig(optimizer=o, budgets=(5,), corruption_epochs=0)),
    lambda n, o: Controller(n, ControllerConfig(optimizer=o, mode="universal", budgets=(2, 6), corruption_epochs=0,
                                                selection="progressive", tau=2.0)),
], ids=["finetune", "autoencoder", "controller", "progressive"])
def test_bfloat16_is_close(make: Callable[[AdmnNetwork, OptimizerConfig], Stage], model: ModelConfig, train: Samples,
                           tmp_path: Path) -> None:
    rows = []
    for precision in ("float32", "bfloat16"):
        network = AdmnNetwork(model)
        initialize(network, 0)
        optimizer = OptimizerConfig(learning_rate=1e-4, batch=6, epochs=1, precision=precision)  # type: ignore[arg-type]
        rows += fit(make(network, optimizer), train, train, optimizer, tmp_path / precision)
        assert all(p.dtype == torch.float32 for p in network.parameters())
    assert rows[0]["train/loss"] != rows[1]["train/loss"]
    # Rounded scores may choose other layers, so the losses are near each other and no more.
    assert rows[1]["train/loss"] == pytest.approx(rows[0]["train/loss"], rel=0.1)


LEVELS = {Modality.RGB: (0.0, 0.5, 1.0), Modality.DEPTH: (0.0, 0.5, 1.0), Modality.AUDIO: (0.0, 1.0)}


@pytest.mark.slow
def test_it_learns_categories_and_qoi_follows_them(network: AdmnNetwork, batch: LabeledBatch, tmp_path: Path) -> None:
    stage = Controller(network, ControllerConfig(budgets=(5,), corruption="categories", corruption_levels=LEVELS))
    truth = categories(LEVELS, batch.severity)
    assert truth[Modality.RGB].tolist() == [0 if s < 0.25 else 1 if s < 0.75 else 2
                                            for s in batch.severity[Modality.RGB].tolist()]
    losses = descend(stage, torch.optim.Adam(stage.trainable().values(), lr=4e-3), batch, 80, epoch=0)
    assert losses[-1] < 0.35 * losses[0]
    with torch.no_grad():
        figures = stage.validate([batch])
    assert all(figures[f"category_{m}/accuracy"] > 0.7 for m in LEVELS)
    assert all(figures[f"corruption_{m}"] < 0.25 for m in LEVELS)
    save_model(network, tmp_path)
    with torch.no_grad():
        output, again = network.controller(batch.samples), load_model(tmp_path).controller(batch.samples)
        chances = {m: x.softmax(dim=1) for m, x in network.qoi.grade(output.e_corr).items()}
    for m, levels in LEVELS.items():
        # QoI is that of the expected severity of the category, also of the model that was saved.
        expected = sum(chances[m][:, k] * level for k, level in enumerate(levels))
        assert torch.allclose(output.qoi[m], torch.exp(-torch.as_tensor(expected)))
        assert torch.equal(output.qoi[m], again.qoi[m])


def test_categories_can_be_replaced_by_regression(network: AdmnNetwork, batch: LabeledBatch) -> None:
    Controller(network, ControllerConfig(budgets=(5,), corruption="categories", corruption_levels=LEVELS))
    head = network.qoi.mlp_corruption
    Controller(network, ControllerConfig(budgets=(5,), corruption="categories", corruption_levels=LEVELS))
    assert network.qoi.mlp_corruption is head
    Controller(network, ControllerConfig(mode="task", budgets=(5,)))
    assert network.qoi.mlp_corruption is head
    stage = Controller(network, ControllerConfig(budgets=(5,)))
    assert network.config.qoi.levels == {}
    assert {"corruption_rgb"} <= set(stage.losses(batch, step()))


@pytest.mark.parametrize(("change", "named"), [
    ({"corruption": "categories"}, "corruption_levels"),
    ({"corruption_levels": {"rgb": [0, 1]}}, "corruption_levels"),
    ({"corruption": "categories", "corruption_levels": {"rgb": [1, 0]}}, "ascend"),
    ({"corruption": "categories", "corruption_levels": {"rgb": [0]}}, "rgb"),
    ({"corruption": "categories", "corruption_levels": {"rgb": [0, 1]}, "mode": "task"}, "no corruption loss"),
])
def test_invalid_categories(change: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse_config(ControllerConfig, {"budgets": [5], **change}, "t.yaml")


def test_every_modality_needs_levels(network: AdmnNetwork) -> None:
    with pytest.raises(ConfigError, match="all of rgb, depth, audio"):
        Controller(network, ControllerConfig(budgets=(5,), corruption="categories",
                                             corruption_levels={Modality.RGB: (0.0, 1.0)}))


@pytest.mark.parametrize(("trained", "qoi_trained"), [(True, False), (True, True), (False, False)])
def test_qoi_is_used_only_where_it_was_trained(model: ModelConfig, train: Samples, tmp_path: Path, trained: bool,
                                                    qoi_trained: bool) -> None:
    network = AdmnNetwork(model.model_copy(update={"trained": trained, "qoi_trained": qoi_trained}))
    initialize(network, 0)
    with torch.no_grad():
        network.qoi.mlp_corruption[2].bias.copy_(torch.tensor([3.0, 0.0, -3.0]))  # rgb is worst, audio best
    save_model(network, tmp_path)
    engine, sample = Engine(tmp_path, "cpu"), train.sample(0, 3)
    estimate = engine.infer(sample, Budget(1, "layers"))
    present = [m for m in model.modalities if sample.present[m].any()]
    judged = qoi_trained or not trained
    assert [math.isfinite(estimate.qoi[m]) for m in present] == [judged] * len(present)
    # Without QoI the first modality of the model stays, with it the best.
    assert [m for m, layers in estimate.allocation.active.items() if layers] == [present[-1 if judged else 0]]
    batch = LabeledBatch.stack([sample])
    stays = affordable(network.controller(batch.samples), batch.available(), 1)
    assert [m for m, yes in stays.items() if yes] == [present[-1 if judged else 0]]


@pytest.mark.parametrize(("mode", "before", "judges"), [
    ("supervised", False, True), ("universal", False, True), ("task", True, False), ("autoencoder", True, True),
    ("autoencoder", False, False)])
def test_modalities_are_ranked_by_trained_qoi(mode: str, before: bool, judges: bool, model: ModelConfig) -> None:
    network = AdmnNetwork(model.model_copy(update={"trained": True, "qoi_trained": before}))
    Controller(network, ControllerConfig.model_validate({"mode": mode, "budgets": (2,)}))
    assert network.qoi.judged is judges
