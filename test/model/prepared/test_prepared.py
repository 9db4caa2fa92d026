# SPDX-License-Identifier: Apache-2.0
"""The prepared network against the network that it was made of."""

import random
from pathlib import Path

import pytest
import torch

from admn_ros.config import CalibrationConfig, ModelConfig
from admn_ros.errors import InputError
from admn_ros.model.checkpoint import initialize, load_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.prepared.network import PreparedNetwork, prepare
from admn_ros.sample import Modality, SampleBatch
from helpers import models
from helpers.evidence import described

SHIPPED = Path(__file__).parents[3] / "models" / "gdtm"
TOLERANCE = 1e-4
"""Largest difference, relative to the largest number of an output."""


def changed(config: ModelConfig, **backbone: object) -> ModelConfig:
    """Return a model with other fields of all its backbones."""
    parts = {m: c.model_copy(update={"backbone": c.backbone.model_copy(update=backbone)})
             for m, c in config.modalities.items()}
    return config.model_copy(update={"modalities": parts})


def everything() -> ModelConfig:
    """A model like the shipped one: fine stems, evidence, calibration, predicted values, categories of corruption."""
    config = described(changed(models.four_modalities(), stem="fine", points=3, point_values=2))
    qoi = config.qoi.model_copy(update={"value_hidden": 8, "budget_token": True,
                                        "levels": {Modality.RGB: (0.0, 0.5, 1.0)}})
    return config.model_copy(update={"qoi": qoi,
                                     "calibration": CalibrationConfig(hidden=4, seen_height_m=(0.6, 0.9))})


CONFIGS = {
    "like-shipped": everything,
    "nested": lambda: models.unequal_depths().model_copy(update={"nested": True}),
    "space": models.rectangular,
    "conv-stem": lambda: changed(models.images(), stem="conv", patch=(16, 16)),
    "points": lambda: described(changed(models.images(budget_token=True), points=3, point_values=2)),
    "wide-look": lambda: (config := models.images()).model_copy(
        update={"qoi": config.qoi.model_copy(update={"size": 64})}),
}


@pytest.fixture(params=CONFIGS)
def network(request: pytest.FixtureRequest) -> AdmnNetwork:
    """Return a network whose every weight matters."""
    made = AdmnNetwork(CONFIGS[request.param]())
    initialize(made, 2)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return made.eval()


def draw(config: ModelConfig, rng: random.Random, size: int) -> tuple[SampleBatch, list[dict[Modality, list[int]]]]:
    """Return noise of which about a third is absent, and layers of each sample; at least one of them runs."""
    generator, nodes = torch.Generator().manual_seed(rng.getrandbits(32)), len(config.sensor_nodes)
    present = {m: torch.rand(size, nodes, generator=generator) > rng.choice((0.0, 0.35)) for m in config.modalities}
    certain = rng.choice(list(config.modalities))
    present[certain][:, rng.randrange(nodes)] = True
    inputs = {m: torch.randn(size, nodes, *c.input.shape, generator=generator) * present[m][:, :, None, None, None]
              for m, c in config.modalities.items()}
    poses = None
    if config.node_poses and rng.random() < 0.5:
        poses = torch.randn(size, nodes, 5, generator=generator)
    active = [{m: sorted(rng.sample(range(depth), rng.randint(m is certain, depth)))
               for m, depth in config.depths.items()} for _ in range(size)]
    return SampleBatch(inputs, present, poses), active


def assert_close(found: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    assert found.shape == expected.shape, what
    difference = (found - expected).abs().max() / expected.abs().max().clamp_min(1e-6)
    assert difference <= TOLERANCE, what


def compare(network: AdmnNetwork, prepared: PreparedNetwork, rng: random.Random, size: int) -> None:
    """Compare both halves of a frame on one draw."""
    batch, active = draw(network.config, rng, size)
    share = torch.tensor([rng.random() for _ in range(size)])
    expected, found = network.controller(batch, share), prepared.controller(batch, share)
    assert_close(found.e_corr, expected.e_corr, "e_corr")
    for m in network.config.modalities:
        assert_close(found.logits[m], expected.logits[m], f"scores of {m}")
        assert_close(found.corruption[m], expected.corruption[m], f"corruption of {m}")
        if expected.value is not None:
            assert_close(found.value.share[m], expected.value.share[m], f"share of {m}")
    if expected.value is not None:
        assert_close(found.value.position, expected.value.position, "information")
        assert_close(found.value.classes, expected.value.classes, "information about the class")
    same = prepared.estimate(batch, active[0])
    each = prepared.estimate_each(batch, active)
    reference = network.estimate(batch, active[0])
    alone = [network.estimate(batch.part(list(batch.inputs), torch.tensor([i])), layers)
             for i, layers in enumerate(active)]
    for k, name in enumerate(reference._fields):
        assert_close(same[k], reference[k], name)
        assert_close(each[k], torch.cat([one[k] for one in alone]), f"{name} of each")


@torch.inference_mode()
def test_estimates_are_those_of_the_network(network):
    prepared, rng = PreparedNetwork(network), random.Random(5)
    for size in (1, 1, 1, 1, 1, 3):
        compare(network, prepared, rng, size)


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("allocations", [40, pytest.param(500, marks=pytest.mark.nightly)])
def test_random_allocations(network, allocations):
    prepared, rng = PreparedNetwork(network), random.Random(6)
    for _ in range(allocations):
        compare(network, prepared, rng, rng.choice((1, 1, 1, 4)))


@pytest.mark.slow
@torch.inference_mode()
def test_random_allocations_of_the_shipped_model():
    network = load_model(SHIPPED)
    prepared, rng = PreparedNetwork(network), random.Random(7)
    for _ in range(20):
        compare(network, prepared, rng, rng.choice((1, 1, 2)))


@torch.inference_mode()
def test_a_layer_that_does_not_exist_and_nothing_to_run_are_refused():
    network = AdmnNetwork(models.images())
    prepared = PreparedNetwork(network)
    batch, _ = draw(network.config, random.Random(1), 1)
    with pytest.raises(InputError, match=r"active layers: found \[4\]; allowed: \[0, 4\)"):
        prepared.estimate(batch, {Modality.RGB: [4]})
    with pytest.raises(InputError, match="at least one layer"):
        prepared.estimate(batch, {})


def test_networks_of_other_types_run_as_they_are():
    class Other(AdmnNetwork):
        pass

    network = Other(models.images())
    assert prepare(network) is network
    assert isinstance(prepare(AdmnNetwork(models.images())), PreparedNetwork)
