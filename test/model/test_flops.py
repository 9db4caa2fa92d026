# SPDX-License-Identifier: Apache-2.0
"""The formulas of `admn_ros.model.flops` against PyTorch's counter on the network itself."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from admn_ros.config import CalibrationConfig, ModelConfig, load_config
from admn_ros.model.costs import flop_costs
from admn_ros.model.frame_parts import FrameParts, Work, count_flops
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.official.legacy_network import LegacyConfig, LegacyNetwork
from admn_ros.model.presets import PRESETS, preset

pytestmark = pytest.mark.slow

SHIPPED = sorted(Path(__file__).parents[2].glob("models/*/config.yaml"))
CALIBRATED = preset("gdtm-room").model_copy(update={"calibration": CalibrationConfig(hidden=24)})
VALUED = preset("gdtm-tiny").model_copy(update={
    "qoi": preset("gdtm-tiny").qoi.model_copy(update={"value_hidden": 40})})
CONFIGS = {name: preset(name) for name in PRESETS} | {
    f"models/{path.parent.name}": load_config(ModelConfig, path) for path in SHIPPED} | {
    "calibrated": CALIBRATED, "valued": VALUED}


def on_meta(config: ModelConfig) -> AdmnNetwork:
    with torch.device("meta"):
        return AdmnNetwork(config)


def counted(work: Work) -> int:
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def test_there_is_a_shipped_model() -> None:
    assert SHIPPED


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_part_is_what_pytorch_counts(config: ModelConfig) -> None:
    network = on_meta(config)
    table, parts = flop_costs(config), FrameParts(network)
    assert table == count_flops(network)
    assert table.fixed == counted(parts.fixed())
    for modality, costs in table.modalities.items():
        for nodes in range(1, len(config.sensor_nodes) + 1):
            assert costs.controller[nodes - 1] == counted(parts.controller(modality, nodes))
            assert costs.embedding[nodes - 1] == counted(parts.embedding(modality, nodes))
            assert costs.layer[nodes - 1] == counted(parts.layer(modality, nodes))


def test_the_count_does_not_change_the_network() -> None:
    network = AdmnNetwork(preset("table"))
    before = copy.deepcopy(network.state_dict())
    count_flops(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("layout", ["gdtm", "mmfi", "ave"])
def test_an_official_network_is_counted_at_any_number_of_nodes(layout: str) -> None:
    with torch.device("meta"):
        network = LegacyNetwork(preset(layout), LegacyConfig(
            layout=layout, corruption="ave" if layout == "ave" else "severity", controller=True))
    parts = FrameParts(network)
    for modality, costs in network.flop_costs().modalities.items():
        for nodes in (1, 2, costs.nodes):
            assert costs.controller[nodes - 1] == counted(parts.controller(modality, nodes))
            assert costs.embedding[nodes - 1] == counted(parts.embedding(modality, nodes))
            assert costs.layer[nodes - 1] == counted(parts.layer(modality, nodes))
