# SPDX-License-Identifier: Apache-2.0
"""What the controller reads: its size beside the network, frames that it leaves out, spectrograms of their own size."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from admn_ros.budget.budget import Budget
from admn_ros.config import ModelConfig, QoiConfig
from admn_ros.model.allocation import Assessment, allocate
from admn_ros.model.checkpoint import initialize
from admn_ros.model.costs import flop_costs, layer_costs
from admn_ros.model.flops import task_flops
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.presets import preset
from admn_ros.model.qoi import look_shape
from admn_ros.sample import Modality, SampleBatch
from helpers import models

RGB, DEPTH, AUDIO = Modality.RGB, Modality.DEPTH, Modality.AUDIO


@pytest.mark.parametrize(("name", "weights_percent", "operations_percent"), [("gdtm", 2.3, 1.0), ("mmfi", 3.2, 0.2)])
def test_the_controller_is_as_small_as_in_the_paper(name: str, weights_percent: float,
                                                    operations_percent: float) -> None:
    """Sections 4.2 and 5: share of the weights, and of the operations with three layers of both modalities."""
    config = preset(name)
    with torch.device("meta"):
        network = AdmnNetwork(config)
    mine, whole = (sum(p.numel() for p in part.parameters()) for part in (network.qoi, network))
    assert 100 * mine / whole == pytest.approx(weights_percent, abs=0.05)
    table = flop_costs(config)
    controller = table.fixed - task_flops(config) + sum(m.controller[-1] for m in table.modalities.values())
    everything = table.total(dict.fromkeys(config.modalities, len(config.sensor_nodes)))
    six = everything - sum((m.depth - 3) * m.layer[-1] for m in table.modalities.values())
    assert 100 * controller / six == pytest.approx(operations_percent, abs=0.05)


def clip() -> tuple[AdmnNetwork, SampleBatch]:
    network = AdmnNetwork(models.clip())
    initialize(network, 1)
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(2, 3, *c.input.shape, generator=generator) for m, c in network.config.modalities.items()}
    return network.eval(), SampleBatch(inputs, {m: torch.ones(2, 3, dtype=torch.bool) for m in inputs})


@torch.inference_mode()
def test_frames_after_the_observed_ones_change_nothing_but_the_estimate() -> None:
    network, batch = clip()
    other = SampleBatch({m: torch.cat([x[:, :2], x[:, 2:] + 1], dim=1) for m, x in batch.inputs.items()}, batch.present)
    assert torch.equal(network.controller(batch).e_corr, network.controller(other).e_corr)
    every = dict.fromkeys(batch.inputs, (0, 1, 2))
    assert not torch.allclose(network.estimate(batch, every).class_logits, network.estimate(other, every).class_logits)
    swapped = SampleBatch({m: x.flip(1) for m, x in batch.inputs.items()}, batch.present)
    assert not torch.allclose(network.controller(batch).e_corr, network.controller(swapped).e_corr)


@torch.inference_mode()
def test_frames_that_are_not_there_are_read_as_none() -> None:
    network, batch = clip()
    late = SampleBatch(batch.inputs, {m: torch.tensor([[False, False, True]] * 2) for m in batch.inputs})
    output = network.controller(late)
    assert torch.equal(output.e_corr[0], output.e_corr[1]) and bool(output.e_corr.isfinite().all())
    present = dict.fromkeys(batch.inputs, (2,))
    chosen = allocate(Assessment({m: x[0].tolist() for m, x in output.logits.items()},
                                 {m: float(q[0]) for m, q in output.qoi.items()}),
                      present, layer_costs(network.config), Budget(4, "layers"))
    assert sum(map(len, chosen.active.values())) == 4


def test_costs_count_the_frames_that_are_read() -> None:
    costs = flop_costs(models.clip()).modalities[RGB]
    assert costs.controller[1] == 2 * costs.controller[0] == costs.controller[2]
    assert costs.layer[2] == 3 * costs.layer[0]


def test_the_look_at_a_spectrogram_is_the_official_one() -> None:
    audio, rgb = (look_shape(preset("ave").qoi, m) for m in (AUDIO, RGB))
    assert (audio.size, audio.kernels, audio.pool) == ((128, 512), (10, 10, 5), (3, 6))
    assert 3 * audio.maps[-1][0] * audio.maps[-1][1] == 7488
    assert (rgb.size, 3 * rgb.maps[-1][0] * rgb.maps[-1][1]) == ((100, 100), 1587)


@pytest.mark.parametrize(("change", "words"), [
    ({"spectrogram": (16, 64)}, "sides from size 32"), ({"spectrogram": (64, 5000)}, "to 4096"),
    ({"observed": 1, "value_hidden": 8}, "observed conflicts with value_hidden"), ({"observed": 0}, "observed")])
def test_bad_looks(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        QoiConfig.model_validate({"size": 32, "dim": 16, "depth": 1, "heads": 2} | change)


def test_more_frames_than_there_are_cannot_be_read() -> None:
    raw = models.clip().model_dump()
    raw["qoi"]["observed"] = 4
    with pytest.raises(ValidationError, match=r"qoi.observed 4 must be at most the 3 sensor_nodes"):
        ModelConfig.model_validate(raw)
