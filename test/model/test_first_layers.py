# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from admn_ros.errors import InputError
from admn_ros.model.first_layers import keep_first_layers
from admn_ros.sample import Modality

DEPTH, RADAR = Modality.DEPTH, Modality.RADAR


def test_a_shallow_network_runs_its_layers_as_the_deep_one(network, batch):
    shallow = keep_first_layers(network, {DEPTH: 2}, seed=1)
    assert shallow.config.depths == {**network.config.depths, DEPTH: 2}
    active = {DEPTH: (0, 1), RADAR: (0, 2)}
    for x, y in zip(network.estimate(batch, active), shallow.estimate(batch, active), strict=True):
        assert torch.equal(x, y)
    assert shallow.controller(batch).logits[DEPTH].shape[1] == 2
    assert not shallow.config.qoi_trained


def test_the_same_depths_are_the_same_network(network):
    assert keep_first_layers(network, {}, seed=1) is network
    assert keep_first_layers(network, dict(network.config.depths), seed=1) is network


def test_more_layers_than_there_are_is_an_error(network):
    with pytest.raises(InputError, match=r"depths\.depth: found 9; allowed: 1 to 4"):
        keep_first_layers(network, {DEPTH: 9}, seed=1)
