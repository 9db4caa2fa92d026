# SPDX-License-Identifier: Apache-2.0
"""Every weight of the official networks at full size is imported or reported."""

import re
from pathlib import Path

import pytest
import torch

from admn_ros.model.official.admn_checkpoint import missing_weights, read_admn
from admn_ros.model.official.layouts import guess_layout
from admn_ros.model.official.legacy_network import LegacyNetwork
from admn_ros.sample import Modality

KEYS = Path(__file__).with_name("official_keys.txt").read_text(encoding="utf-8")
LAYERS = {"gdtm": {"controller.combiner_encoder": 4, "encoder": 6}, "mmfi": {"controller.combiner_encoder": 6,
                                                                             "encoder": 6}}
TENSORS = {"gdtm": 457, "mmfi": 473}
PARAMETERS = {"gdtm": 182_301_528, "mmfi": 179_772_047}


def full_size(layout):
    """The official Stage 2 state dict: each tensor is one number, seen in the official shape."""
    section = re.search(rf"^## {layout}:.*?\n(.*?)(?=^##|\Z)", KEYS, flags=re.M | re.S)[1]
    state = {}
    for line in filter(None, section.splitlines()):
        name, _, shape = line.partition("  ")
        value = torch.full((), 0.01).expand(tuple(int(n) for n in re.findall(r"\d+", shape)))
        if "{0..11}" in name:
            state |= {name.replace("{0..11}", str(i)): value for i in range(12)}
        elif "{0..}" in name:
            count = LAYERS[layout][name.split(".layers")[0]]
            state |= {name.replace("{0..}", str(i)): value for i in range(count)}
        else:
            state[name] = value
    return state


@pytest.fixture(scope="module", params=TENSORS)
def case(request):
    state = full_size(request.param)
    assert len(state) == TENSORS[request.param]
    return request.param, state


def test_no_weight_is_unused_or_missing(case):
    layout, state = case
    assert guess_layout(state) == layout
    read = read_admn(state, "last.pt", layout)
    with torch.device("meta"):
        network = LegacyNetwork(read.config, read.legacy)
    assert missing_weights(network, read, "last.pt") == ()
    assert set(read.weights) == set(network.state_dict())
    assert set(read.unused) == {f"{b}.head.{p}" for b in ("vision", "depth") for p in ("weight", "bias")}
    # Not counted twice or lost: all numbers of the release, without the two unused heads, one listing of the layer that
    # is applied twice, and with the biases that are zero in ours.
    numbers = sum(v.numel() for v in state.values())
    zero_biases = sum(v.numel() for n, v in read.weights.items() if n.startswith(("qoi.encoder", "fusion"))
                      and n.endswith("qkv.bias")) + sum(v.numel() for n, v in read.weights.items()
                                                        if re.match(r"qoi\.mlp_layers\.\d\.bias", n))
    twice = sum(v.numel() for n, v in state.items() if n.startswith("output_head.mlp.2."))
    unused = sum(state[n].numel() for n in read.unused)
    assert sum(v.numel() for v in read.weights.values()) == numbers - twice - unused + zero_biases
    assert abs(numbers - twice - PARAMETERS[layout]) <= 67_334


def test_the_configuration_is_that_of_the_paper(case):
    layout, state = case
    config = read_admn(state, "last.pt", layout).config
    for modality in (Modality.RGB, Modality.DEPTH):
        backbone = config.modalities[modality].backbone
        assert (backbone.dim, backbone.depth, backbone.heads, backbone.mlp_ratio) == (768, 12, 12, 4.0)
        assert config.modalities[modality].input.shape == (3, 224, 224)
    assert (config.fusion.dim, config.fusion.depth) == ((256, 6) if layout == "gdtm" else (64, 6))
    assert (config.qoi.dim, config.qoi.depth, config.qoi.layer_hidden) == (256, 4 if layout == "gdtm" else 6, 200)
    assert len(config.sensor_nodes) == (3 if layout == "gdtm" else 15)
