# SPDX-License-Identifier: Apache-2.0
"""Networks with every part that one can have, random frames of them, and the comparison of two runtimes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch

from admn_ros.config import CalibrationConfig, ModelConfig
from admn_ros.inference.runtime import Runtime
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.official.legacy_head import CorruptionHead
from admn_ros.model.official.legacy_network import Layout, LegacyConfig, LegacyNetwork
from admn_ros.sample import Modality, SampleBatch
from helpers import models
from helpers.evidence import described

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


CONFIGS: dict[str, Callable[[], ModelConfig]] = {
    "like-shipped": everything,
    "nested": lambda: models.unequal_depths().model_copy(update={"nested": True}),
    "space": models.rectangular,
    "conv-stem": lambda: changed(models.images(), stem="conv", patch=(16, 16)),
    "points": lambda: described(changed(models.images(budget_token=True), points=3, point_values=2)),
    "clip": models.clip,
    "learned-tokens": lambda: (config := models.images(budget_token=True)).model_copy(update={
        "qoi": config.qoi.model_copy(update={"budget_encoding": "tokens", "token_budgets": (2, 5)})}),
    "wide-look": lambda: (config := models.images()).model_copy(
        update={"qoi": config.qoi.model_copy(update={"size": 64})}),
}


def random_network(config: ModelConfig) -> AdmnNetwork:
    """Return a network whose every weight matters."""
    return _drawn(AdmnNetwork(config))


def random_official_network(config: ModelConfig, layout: Layout, corruption: CorruptionHead) -> LegacyNetwork:
    """Return a network of the official release whose every weight matters."""
    made = _drawn(LegacyNetwork(config, LegacyConfig(layout=layout, corruption=corruption, controller=True)))
    made.store_constants()
    return made


def _drawn(network: Any) -> Any:
    initialize(network, 2)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return network.eval()


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


def compare_controllers(reference: Runtime, other: Runtime, batch: SampleBatch, share: torch.Tensor) -> None:
    """Compare everything that the controller returns."""
    expected, found = reference.controller(batch, share), other.controller(batch, share)
    assert_close(found.e_corr, expected.e_corr, "e_corr")
    for m, scores in expected.logits.items():
        assert_close(found.logits[m], scores, f"scores of {m}")
        assert_close(found.corruption[m], expected.corruption[m], f"corruption of {m}")
    if expected.value is not None:
        assert found.value is not None
        for m, share_of in expected.value.share.items():
            assert_close(found.value.share[m], share_of, f"share of {m}")
        assert_close(found.value.position, expected.value.position, "information")
        assert_close(found.value.classes, expected.value.classes, "information about the class")
