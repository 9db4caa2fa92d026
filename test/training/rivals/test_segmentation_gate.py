# SPDX-License-Identifier: Apache-2.0
"""Training of the segmentation network: phases, price, frozen network, and a tiny set that the common loop learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from admn_ros.baselines.segmentation.config import SegmentationConfig
from admn_ros.baselines.segmentation.network import BLOCKS, RgbdSegmentation
from admn_ros.config import DepthInput, RgbInput
from admn_ros.datasets.source import LabeledReadings
from admn_ros.errors import InputError
from admn_ros.model.checkpoint import initialize
from admn_ros.sample import Modality, SensorKey, Target
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import LabeledBatch, Samples
from admn_ros.training.loop import fit
from admn_ros.training.rivals.segmentation_gate import SegmentationGate, SegmentationGateConfig, pixels_of
from admn_ros.training.seeding import generator
from admn_ros.training.stage import Step
from helpers import models

RGB, DEPTH = SensorKey("camera", Modality.RGB), SensorKey("camera", Modality.DEPTH)
MODEL = models.inputs_only(("camera",), {Modality.RGB: RgbInput(height=32, width=32),
                                         Modality.DEPTH: DepthInput(height=32, width=32, channels=1)})
NETWORK = SegmentationConfig(classes=("floor", "box"), depth_channels=1, height=32, width=32, stem=4,
                             widths=(8, 8, 8, 8), decoder=8, gate=2)


class Boxes(list[LabeledReadings]):
    """Images of a box that only depth shows."""

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(5)
        super().__init__()
        for _ in range(count):
            left, top = rng.integers(0, 16, 2)
            mask = np.zeros((32, 32), np.int16)
            mask[top:top + 14, left:left + 14] = 1
            depth = np.where(mask == 1, 1.0, 5.0).astype(np.float32)
            rgb = rng.integers(80, 120, (32, 32, 3), dtype=np.uint8)
            self.append(LabeledReadings({RGB: rgb, DEPTH: depth}, Target((np.nan,) * 3, mask=mask)))


def stage(**settings: Any) -> SegmentationGate:
    network = RgbdSegmentation(NETWORK)
    initialize(network, 3)
    return SegmentationGate(network, SegmentationGateConfig.model_validate(
        {"optimizer": optimizer(6), "price": 0.0, "tau_final": 0.5, **settings}))


def optimizer(epochs: int) -> OptimizerConfig:
    return OptimizerConfig(learning_rate=1e-2, epochs=epochs, batch=8)


def reached(work: SegmentationGate, batch: LabeledBatch, epoch: int) -> tuple[set[str], set[str]]:
    """Return the losses of an epoch, and the parts of the network that got a gradient."""
    work.module.zero_grad()
    losses = work.losses(batch, Step(epoch, 6, generator(0, 1), generator(0, 2)))
    sum(losses.values()).backward()
    return set(losses), {name.split(".")[0] for name, p in work.module.named_parameters()
                         if p.grad is not None and p.grad.abs().sum() > 0}


@pytest.fixture
def batch() -> LabeledBatch:
    return next(Samples(Boxes(8), MODEL).batches(0, 8, shuffle=False))


def test_the_gate_is_trained_between_random_and_hard_choices(batch: LabeledBatch):
    work = stage(random_epochs=2, hard_epochs=2)
    for epoch, gated in ((0, False), (2, True), (3, True), (5, False)):
        losses, parts = reached(work, batch, epoch)
        assert ("resource" in losses) is ("gate" in parts) is gated
        assert "rgb_stem" in parts


def test_the_gate_can_be_trained_alone(batch: LabeledBatch):
    work = stage(random_epochs=0, hard_epochs=0, joint=False)
    assert {name.split(".")[0] for name in work.trainable()} == {"gate"}
    assert reached(work, batch, 2)[1] == {"gate"}
    with pytest.raises(ValidationError, match="joint"):
        stage(random_epochs=1, hard_epochs=0, joint=False)
    with pytest.raises(ValidationError, match="exceed"):
        stage(random_epochs=4, hard_epochs=3)


@pytest.mark.parametrize("blocks", [0, BLOCKS])
def test_a_static_network_always_runs_the_same_blocks(batch: LabeledBatch, blocks: int):
    work = stage(blocks=blocks, random_epochs=0, hard_epochs=0)
    losses, parts = reached(work, batch, 2)
    assert losses == {"pixels"} and "gate" not in parts
    assert ("depth_blocks" in parts) is (blocks > 0)
    assert work.validate([batch])["mmacs"] == pytest.approx(float(work.macs[blocks]) / 1e6)


def test_the_price_is_that_of_the_expected_cost(batch: LabeledBatch):
    work = stage(price=2.0, random_epochs=0, hard_epochs=0)
    with torch.no_grad():
        work.network.gate[-1].weight.zero_()
        work.network.gate[-1].bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, 50.0]))
    losses = work.losses(batch, Step(0, 6, generator(0, 1), generator(0, 2)))
    assert losses["resource"].item() == pytest.approx(2 * float(work.macs[4] / work.macs[0]), rel=1e-5)


@pytest.mark.nightly
def test_boxes_that_only_depth_shows_are_learned_by_the_common_loop(tmp_path: Path):
    work = stage(optimizer=optimizer(16), price=0.01, random_epochs=8, hard_epochs=2, class_weights=(1.0, 2.0))
    samples = Samples(Boxes(24), MODEL, cache_mb=64, draws=1)
    rows = fit(work, samples, samples, optimizer(16), tmp_path / "run")
    assert rows[-1]["val/whole/miou"] > 0.75
    assert rows[-1]["val/miou"] > 0.75, "the gate pays for depth where RGB shows nothing"
    assert rows[-1]["val/mmacs"] > float(work.macs[0]) / 1e6


def test_samples_without_masks_are_refused(batch: LabeledBatch):
    with pytest.raises(InputError, match="masks: found none"):
        pixels_of(LabeledBatch(batch.samples, batch.position_m, batch.located, batch.label, batch.severity))
    with pytest.raises(InputError, match="class_weights: found 1; allowed: 2"):
        stage(class_weights=(1.0,))
