# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest
import torch

from admn_ros.errors import InputError
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import SampleBatch
from admn_ros.training.first_layers import keep_first_layers


def test_a_shallow_network_runs_its_layers_as_the_deep_one(network: AdmnNetwork) -> None:
    network.eval()
    name, depth = next(iter(network.config.depths.items()))
    shallow = keep_first_layers(network, {name: depth - 1}, seed=1)
    assert shallow.config.depths == {**network.config.depths, name: depth - 1}
    generator, nodes = torch.Generator().manual_seed(4), network.nodes
    batch = SampleBatch({m: torch.randn(2, nodes, *c.input.shape, generator=generator)
                         for m, c in network.config.modalities.items()},
                        {m: torch.ones(2, nodes, dtype=torch.bool) for m in network.config.modalities})
    active = {m: tuple(range(d)) for m, d in shallow.config.depths.items()}
    for x, y in zip(network.estimate(batch, active), shallow.estimate(batch, active), strict=True):
        assert torch.equal(x, y)
    assert shallow.controller(batch).logits[name].shape[1] == depth - 1
    assert not shallow.config.qoi_trained


def test_the_same_depths_are_the_same_network(network: AdmnNetwork) -> None:
    assert keep_first_layers(network, {}, seed=1) is network
    assert keep_first_layers(network, dict(network.config.depths), seed=1) is network


def test_more_layers_than_there_are_is_an_error(network: AdmnNetwork) -> None:
    name, depth = next(iter(network.config.depths.items()))
    with pytest.raises(InputError, match=re.escape(f"depths.{name}: found 9; allowed: 1 to {depth}")):
        keep_first_layers(network, {name: 9}, seed=1)
