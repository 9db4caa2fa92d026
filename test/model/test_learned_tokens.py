# SPDX-License-Identifier: Apache-2.0
"""Universal controller with a learned token for each of some budgets (Section A.1)."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from admn_ros.config import ModelConfig, QoiConfig
from admn_ros.errors import ConfigError
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.presets import preset
from admn_ros.model.qoi import LearnedTokens
from admn_ros.sample import Modality, SampleBatch
from admn_ros.training.stages.controller import ControllerConfig
from helpers import models

RGB, DEPTH = Modality.RGB, Modality.DEPTH


def learned(*budgets: int) -> ModelConfig:
    """RGB and depth with four layers each, and tokens of these budgets."""
    raw = models.images(budget_token=True).model_dump()
    raw["qoi"] |= {"budget_encoding": "tokens", "token_budgets": budgets}
    return ModelConfig.model_validate(raw)


@pytest.fixture
def network() -> AdmnNetwork:
    made = AdmnNetwork(learned(2, 4, 6))
    initialize(made, 0)
    return made.eval()


def batch(depth_present: bool = True) -> SampleBatch:
    generator = torch.Generator().manual_seed(0)
    return SampleBatch({m: torch.randn(1, 2, 3, 32, 32, generator=generator) for m in (RGB, DEPTH)},
                       {RGB: torch.ones(1, 2, dtype=torch.bool), DEPTH: torch.full((1, 2), depth_present)})


@pytest.mark.parametrize(("layers", "token"), [(0.0, 0), (1.0, 0), (2.0, 0), (3.0, 0), (3.99, 0), (4.0, 1), (5.0, 1),
                                               (6.0, 2), (8.0, 2)])
def test_a_budget_without_a_token_takes_the_next_lower_one(network: AdmnNetwork, layers: float, token: int) -> None:
    assert isinstance(network.qoi.budget, LearnedTokens)
    with torch.no_grad():
        found = network.qoi.budget(network.qoi.token_input(torch.tensor([layers / 8]), list(batch().present.values())))
    assert torch.equal(found[0, 0], network.qoi.budget.tokens.weight[token])


@torch.inference_mode()
def test_the_budget_is_that_in_layers_if_a_modality_is_missing(network: AdmnNetwork) -> None:
    """4 of 8 layers have the same token as 4 of the 4 layers that are left."""
    present = list(batch(depth_present=False).present.values())
    assert network.qoi.token_input(torch.tensor([1.0]), present).tolist() == [4.0]
    assert network.qoi.token_input(torch.tensor([0.5]), list(batch().present.values())).tolist() == [4.0]


@torch.inference_mode()
def test_scores_depend_on_the_token_only(network: AdmnNetwork) -> None:
    scores = {layers: network.controller(batch(), torch.tensor([layers / 8])).logits[RGB] for layers in (4, 5, 6, 8)}
    assert torch.equal(scores[4], scores[5]) and torch.equal(scores[6], scores[8])
    assert not torch.allclose(scores[4], scores[6], atol=1e-4)
    assert torch.equal(network.controller(batch()).logits[RGB], scores[8])


def test_every_token_is_trained() -> None:
    network = AdmnNetwork(learned(2, 4, 6))
    with pytest.raises(ConfigError, match=r"controller\.budgets.*2, 4, 6, the budgets with a learned token"):
        ControllerConfig(mode="universal", budgets=(2, 4)).make(network)
    trained = ControllerConfig(mode="universal", budgets=(2, 4, 6)).make(network).trainable()
    assert "qoi.budget.tokens.weight" in trained


@pytest.mark.parametrize(("change", "words"), [
    ({"budget_encoding": "tokens", "budget_token": True}, "token_budgets are required"),
    ({"token_budgets": (2,), "budget_token": True}, "not allowed for continuous"),
    ({"budget_encoding": "tokens", "token_budgets": (2,)}, "requires budget_token"),
    ({"budget_encoding": "tokens", "token_budgets": (4, 2), "budget_token": True}, "must ascend")])
def test_bad_tokens(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        QoiConfig.model_validate(change)


def test_a_token_of_more_layers_than_there_are() -> None:
    with pytest.raises(ValidationError, match=r"token_budgets has 9, the model has 8 layers"):
        learned(4, 9)


def test_presets_of_the_paper() -> None:
    assert preset("gdtm-universal").qoi.token_budgets == (6, 8, 12, 16)
    three = preset("gdtm-3")
    assert list(three.modalities) == [RGB, DEPTH, Modality.RADAR]
    assert three.modalities[Modality.RADAR].input.shape == (3, 256, 16) and three.layers_total == 36
