# SPDX-License-Identifier: Apache-2.0
"""The prepared network against the network that it was made of."""

import random
from pathlib import Path

import pytest
import torch

from admn_ros.errors import InputError
from admn_ros.model.checkpoint import load_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.prepared.network import PreparedNetwork, prepare
from admn_ros.sample import Modality
from helpers import models
from helpers.random_frames import CONFIGS, assert_close, compare_controllers, draw, random_network

SHIPPED = Path(__file__).parents[3] / "models" / "gdtm"


@pytest.fixture(params=CONFIGS)
def network(request: pytest.FixtureRequest) -> AdmnNetwork:
    return random_network(CONFIGS[request.param]())


def compare(network: AdmnNetwork, prepared: PreparedNetwork, rng: random.Random, size: int) -> None:
    """Compare both halves of a frame on one draw."""
    batch, active = draw(network.config, rng, size)
    compare_controllers(network, prepared, batch, torch.tensor([rng.random() for _ in range(size)]))
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
@pytest.mark.parametrize(("name", "of_last"), [("like-shipped", 1), ("points", 5)])
def test_the_last_layer_computes_what_the_readout_reads(name, of_last):
    network = AdmnNetwork(CONFIGS[name]())
    prepared, tokens = PreparedNetwork(network), []
    for block in prepared.backbone(Modality.RGB).blocks:
        block.register_forward_hook(lambda *call: tokens.append(call[-1].shape[1]))
    batch, _ = draw(network.config, random.Random(2), 1)
    batch.present[Modality.RGB][:] = True
    prepared.estimate(batch, {Modality.RGB: [0, 1]})
    assert tokens == [5, of_last]


@torch.inference_mode()
def test_a_layer_that_does_not_exist_and_nothing_to_run_are_refused():
    network = AdmnNetwork(models.images())
    prepared = PreparedNetwork(network)
    batch, _ = draw(network.config, random.Random(1), 1)
    with pytest.raises(InputError, match=r"active layers: found \[4\]; allowed: \[0, 4\)"):
        prepared.estimate(batch, {Modality.RGB: [4]})
    with pytest.raises(InputError, match="at least one layer"):
        prepared.estimate(batch, {})


@torch.inference_mode()
@pytest.mark.parametrize("name", ["like-shipped", "points"])
def test_layers_in_bfloat16_are_close_and_the_controller_is_the_same(name):
    network = AdmnNetwork(CONFIGS[name]())
    whole, half = PreparedNetwork(network), PreparedNetwork(network, torch.bfloat16)
    batch, _ = draw(network.config, random.Random(4), 2)
    for present in batch.present.values():
        present[:] = True
    layers = {m: range(depth) for m, depth in network.config.depths.items()}
    for x, y in zip(half.estimate(batch, layers), whole.estimate(batch, layers), strict=True):
        assert x.dtype == torch.float32 and not torch.equal(x, y)
        torch.testing.assert_close(x, y, rtol=0.02, atol=0.02 * float(y.abs().max()))
    for m, scores in whole.controller(batch).logits.items():
        assert torch.equal(half.controller(batch).logits[m], scores)


def test_networks_of_other_types_run_as_they_are():
    class Other(AdmnNetwork):
        pass

    network = Other(models.images())
    assert prepare(network) is network
    assert isinstance(prepare(AdmnNetwork(models.images())), PreparedNetwork)
