# SPDX-License-Identifier: Apache-2.0
"""Operations of the official networks at full size, against a count on the official code."""

import pytest
import torch

from admn_ros.model.official.legacy_network import LegacyConfig, LegacyNetwork
from admn_ros.model.presets import preset
from admn_ros.sample import Modality

RGB, DEPTH, AUDIO = Modality.RGB, Modality.DEPTH, Modality.AUDIO
CORRUPTION = {"gdtm": "severity", "mmfi": "severity", "ave": "ave"}
# Billions of multiply-adds of one sample: controller alone, and the network without it at full depth.
OFFICIAL = {"gdtm": (0.261, 105.405), "mmfi": (0.267, 526.910), "ave": (0.684, 189.068)}


def costs_of(layout):
    config = preset(layout)
    qoi = {"gdtm": {}, "mmfi": {"depth": 6, "corruption_hidden": 400}, "ave": {"dim": 512}}[layout]
    config = config.model_copy(update={"qoi": config.qoi.model_copy(update=qoi)})
    with torch.device("meta"):
        network = LegacyNetwork(config, LegacyConfig(layout=layout, corruption=CORRUPTION[layout], controller=True))
    return network, network.flop_costs()


@pytest.mark.parametrize("layout", OFFICIAL)
def test_full_size_networks_have_the_official_operations(layout):
    network, costs = costs_of(layout)
    present = {m: 1 if m is AUDIO else len(network.config.sensor_nodes) for m in network.config.modalities}
    controller, rest = (2e9 * giga for giga in OFFICIAL[layout])
    # Ours has slots for sound at AVE's frames 2 to 8 too, which fusion and controller compute although they are empty.
    empty = 7 * (costs_of_token(network.qoi.encoder) + costs_of_token(network.fusion.encoder)) if layout == "ave" else 0
    # The official figures are printed to the third decimal.
    assert costs.total(present) - empty == pytest.approx(controller + rest, abs=3e6)
    looks = sum(costs.modalities[m].controller[n - 1] for m, n in present.items())
    tokens = len(network.qoi.encoder.code) - (7 if layout == "ave" else 0)
    assert looks + tokens * costs_of_token(network.qoi.encoder) == pytest.approx(controller, abs=2e6)


def costs_of_token(encoder):
    """Operations of one token in all layers, less those of attention, which are few."""
    return sum(2 * p.numel() for name, p in encoder.named_parameters() if name.endswith("weight") and p.ndim == 2)


def test_operations_of_ave_layers():
    _, costs = costs_of("ave")
    image, audio = costs.modalities[RGB].layer[-1], costs.modalities[AUDIO].layer[0]
    assert image / 2e9 == pytest.approx(11.63, abs=0.01)
    assert audio / 2e9 == pytest.approx(4.035, abs=0.001)


def test_the_mmfi_controller_reads_three_frames_at_most():
    _, costs = costs_of("mmfi")
    look = costs.modalities[DEPTH].controller
    assert look[:3] == (look[0], 2 * look[0], 3 * look[0])
    assert set(look[3:]) == {look[2]}
