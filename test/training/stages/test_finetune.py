# SPDX-License-Identifier: Apache-2.0
"""Stage 1: LayerDrop statistics, trained weights, and convergence."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path

import pytest
import torch

from admn_ros.config import ModelConfig
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.datasets.source import Spread
from admn_ros.errors import ConfigError
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.sample import Modality
from admn_ros.training.config import LossConfig, OptimizerConfig
from admn_ros.training.data import LabeledBatch, Samples
from admn_ros.training.loop import fit
from admn_ros.training.losses import gaussian_nll, task_losses
from admn_ros.training.stages.finetune import (
    Finetune,
    FinetuneConfig,
    draw_first_layers,
    draw_layers,
    layerdrop_rate,
)

DEPTHS = {Modality.RGB: 12, Modality.DEPTH: 8}
ALL = [Modality.RGB, Modality.DEPTH]
UNEVEN = {Modality.RGB: 4, Modality.DEPTH: 4, Modality.RADAR: 2, Modality.AUDIO: 1}


def share(hits: int, of: int, wanted: float) -> bool:
    """Return whether a count is within five standard deviations of a binomial."""
    return abs(hits / of - wanted) < 5 * math.sqrt(wanted * (1 - wanted) / of) + 1e-12


@pytest.mark.parametrize("keep_first", [True, False])
def test_layerdrop_statistics(keep_first: bool) -> None:
    config = FinetuneConfig(layerdrop=0.3, full_backbone_dropout=0.15, modality_dropout=0.2,
                            keep_first_layer=keep_first)
    draws, n = torch.Generator().manual_seed(0), 6000
    plans = [draw_layers(config, DEPTHS, 0, draws) for _ in range(n)]
    assert all(plans)  # never nothing at all
    absent = {m: sum(m not in p for p in plans) for m in ALL}
    # Both absent (4 %) is drawn again.
    for m in ALL:
        assert share(absent[m], n, 0.2 * 0.8 / 0.96)
        present = [p[m] for p in plans if m in p]
        alone = sum(layers == (0,) for layers in present)
        assert share(alone, len(present), 0.15 + 0.85 * 0.3 ** (DEPTHS[m] - 1))
        several = [layers for layers in present if layers != (0,)]
        for i in range(1, DEPTHS[m]):
            assert share(sum(i in layers for layers in several), len(several), 0.7 / (1 - 0.3 ** (DEPTHS[m] - 1)))
        assert share(sum(0 in layers for layers in several), len(several), 1.0 if keep_first else 0.7)
    # Layers and modalities are independent of each other.
    rgb = [p[Modality.RGB] for p in plans if len(p.get(Modality.RGB, ())) > 1]
    assert share(sum(3 in x and 7 in x for x in rgb), len(rgb), 0.49)
    both = [p for p in plans if len(p) == 2]
    single = {m: sum(p[m] == (0,) for p in both) / len(both) for m in ALL}
    assert share(sum(p[Modality.RGB] == p[Modality.DEPTH] == (0,) for p in both), len(both),
                 single[Modality.RGB] * single[Modality.DEPTH])


def test_solo_modalities() -> None:
    config = FinetuneConfig(layerdrop=0.3, modality_dropout=0.2, solo={Modality.RGB: 0.5, Modality.DEPTH: 0.2})
    draws, n = torch.Generator().manual_seed(0), 4000
    plans = [draw_layers(config, DEPTHS, 0, draws) for _ in range(n)]
    for m, solo in config.solo.items():
        # One of two absent, in the batches that show none alone; both absent (4 %) is drawn again.
        assert share(sum(list(p) == [m] for p in plans), n, solo + 0.3 * 0.16 / 0.96)
    with pytest.raises(ValueError, match=r"at most 1, not 1\.1"):
        FinetuneConfig(solo={Modality.RGB: 0.6, Modality.DEPTH: 0.5})


def test_draws_uniform_in_cost() -> None:
    """Every number of layers is as frequent, from one layer of one modality to all; always first layers."""
    draws, n = torch.Generator().manual_seed(0), 12000
    plans = [draw_first_layers({}, UNEVEN, draws) for _ in range(n)]
    assert all(layers == tuple(range(len(layers))) for p in plans for layers in p.values())
    total = Counter(sum(map(len, p.values())) for p in plans)
    assert sorted(total) == list(range(1, 12))
    assert all(share(hits, n, 1 / 11) for hits in total.values())
    # One layer is of each modality as often; two are of one modality, or of two, as often. Audio has no second one, and
    # is then never alone.
    single = Counter(next(iter(p)) for p in plans if sum(map(len, p.values())) == 1)
    assert set(single) == set(UNEVEN)
    assert all(share(hits, total[1], 1 / 4) for hits in single.values())
    two = [p for p in plans if sum(map(len, p.values())) == 2]
    assert share(sum(len(p) == 1 for p in two), len(two), 3 / 4 / 2)
    # Every allocation occurs.
    possible = set(itertools.product(*(range(d + 1) for d in UNEVEN.values()))) - {(0, 0, 0, 0)}
    assert {tuple(len(p.get(m, ())) for m in UNEVEN) for p in plans} == possible
    again = torch.Generator().manual_seed(0)
    assert [draw_first_layers({}, UNEVEN, again) for _ in range(9)] == plans[:9]


def test_solo_modalities_of_draws_in_cost_have_every_depth() -> None:
    draws, n = torch.Generator().manual_seed(0), 4000
    plans = [draw_first_layers({Modality.RGB: 1.0}, UNEVEN, draws) for _ in range(n)]
    depths = Counter(len(p[Modality.RGB]) for p in plans if list(p) == [Modality.RGB])
    assert depths.total() == n
    assert all(share(depths[k], n, 1 / 4) for k in (1, 2, 3, 4))


def test_draws_in_cost_make_the_model_nested(dataset: Path, model: ModelConfig, network: AdmnNetwork) -> None:
    samples = next(Samples(ShardDataset(dataset, "train"), model).batches(0, 3, shuffle=False)).samples
    stage = Finetune(network, FinetuneConfig(draws="cost", budgets=(5,)))
    assert network.config.nested
    assert [stage.allocations["naive_5"][m] for m in network.config.depths] == [(0, 1), (0, 1), (0,)]
    with torch.no_grad():
        logits = network.controller(samples).logits
    assert all((x[:, 1:].diff(dim=1) <= 0).all() for x in logits.values())
    Finetune(network, FinetuneConfig())
    assert not network.config.nested
    with torch.no_grad():
        plain = network.controller(samples).logits
    assert any(not torch.equal(plain[m], x) for m, x in logits.items())
    assert all(torch.equal(plain[m].sort(dim=1).values, x.sort(dim=1).values) for m, x in logits.items())


def test_layerdrop_ramp() -> None:
    config = FinetuneConfig(layerdrop=0.4, ramp_epochs=4)
    assert [layerdrop_rate(config, e) for e in range(6)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4])
    assert layerdrop_rate(FinetuneConfig(layerdrop=0.4), 0) == 0.4


def test_nll_is_that_of_the_gaussian() -> None:
    generator = torch.Generator().manual_seed(1)
    mean, target = torch.randn(5, 3, generator=generator), torch.randn(5, 3, generator=generator)
    std = torch.rand(5, 3, generator=generator) + 0.1
    tril = torch.randn(5, 3, 3, generator=generator).tril(-1) + torch.diag_embed(std)
    wanted = -torch.distributions.MultivariateNormal(mean, scale_tril=tril).log_prob(target)
    assert torch.allclose(gaussian_nll(mean, tril, target), wanted, rtol=1e-4)


def test_samples_without_a_car_count_for_the_class_only(dataset: Path, model: ModelConfig) -> None:
    batch = next(Samples(ShardDataset(dataset, "train"), model).batches(0, 3, shuffle=False))
    mean = torch.tensor([[0.5, 0.5], [0.5, 0.5], [9.0, 9.0]], requires_grad=True)
    logits = torch.zeros(3, 3, requires_grad=True)
    output = NetworkOutput(mean, torch.eye(2).expand(3, 2, 2), logits)
    losses = task_losses(output, batch, LossConfig())
    # 0.05 per centimetre of mean distance, over the two that have a car.
    far = (batch.position_m[:2, :2] - 0.5).norm(dim=1).mean()
    assert losses["distance"].item() == pytest.approx(0.05 * 100 * float(far), rel=1e-5)
    assert losses["class"].item() == pytest.approx(math.log(3))
    sum(losses.values(), torch.zeros(())).backward()
    assert mean.grad is not None and logits.grad is not None
    assert not mean.grad[2].any()
    assert mean.grad[:2].all()
    assert logits.grad[2].any()
    nowhere = LabeledBatch(batch.samples, batch.position_m, torch.zeros(3, dtype=torch.bool), batch.label,
                           batch.severity)
    assert task_losses(output, nowhere, LossConfig())["nll"].item() == 0


@pytest.mark.slow
def test_it_learns_a_tiny_set(dataset: Path, model: ModelConfig, network: AdmnNetwork, tmp_path: Path) -> None:
    config = FinetuneConfig(
        optimizer=OptimizerConfig(learning_rate=2e-3, schedule="cosine", warm_up_epochs=1, batch=4, epochs=6,
                                  clip_norm=1.0),
        layerdrop=0.1, full_backbone_dropout=0.05, modality_dropout=0.0, budgets=(3, 6))
    few = Spread(ShardDataset(dataset, "train"), 4)
    train = Samples(few, model, cache_mb=64, repeats=36)
    rows = fit(Finetune(network, config), train, Samples(few, model), config.optimizer, tmp_path)
    assert rows[-1]["val/full/error_m"] < 0.3 * rows[-1]["val/constant/error_m"] < rows[0]["val/full/error_m"]
    assert rows[-1]["val/full/nll"] < rows[0]["val/full/nll"] - 2
    assert rows[-1]["train/loss"] < 0.3 * rows[0]["train/loss"]
    # Sub-networks were trained along.
    assert rows[-1]["val/naive_6/error_m"] < 0.4 * rows[-1]["val/constant/error_m"]


def test_frozen_blocks_stay(dataset: Path, model: ModelConfig, network: AdmnNetwork, tmp_path: Path) -> None:
    config = FinetuneConfig(optimizer=OptimizerConfig(batch=4, epochs=2), layerdrop=0.0,
                            trainable_blocks={Modality.RGB: 1, Modality.DEPTH: 2, Modality.AUDIO: 0})
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fit(Finetune(network, config), Samples(ShardDataset(dataset, "train"), model), None, config.optimizer, tmp_path)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    allowed = ("backbones.rgb.blocks.2.", "backbones.depth.blocks.1.", "backbones.depth.blocks.2.", "adapters.",
               "fusion.", "localization.", "classification.")
    assert all(name.startswith(allowed) for name in changed)
    assert all(any(name.startswith(part) for name in changed) for part in allowed)


def test_configuration_that_does_not_fit_the_model(network: AdmnNetwork) -> None:
    with pytest.raises(ConfigError, match=r"trainable_blocks\.rgb"):
        Finetune(network, FinetuneConfig(trainable_blocks={Modality.RGB: 5, Modality.DEPTH: 1, Modality.AUDIO: 1}))
    with pytest.raises(ConfigError, match="trainable_blocks"):
        Finetune(network, FinetuneConfig(trainable_blocks={Modality.RGB: 1}))
    with pytest.raises(ConfigError, match="budgets"):
        Finetune(network, FinetuneConfig(budgets=(10,)))
