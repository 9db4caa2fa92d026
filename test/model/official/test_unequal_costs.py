# SPDX-License-Identifier: Apache-2.0
"""AVE networks of unequal costs: an image layer costs three audio layers, in budgets and in the allocator."""

import pytest
import torch

from admn_ros.budget.budget import Budget
from admn_ros.errors import InputError
from admn_ros.model.allocation import Assessment, allocate
from admn_ros.model.checkpoint import load_model
from admn_ros.model.costs import layer_costs
from admn_ros.model.official.admn_checkpoint import import_admn
from admn_ros.model.official.import_checkpoint import import_checkpoint
from admn_ros.model.presets import preset
from admn_ros.sample import Modality
from helpers import official_network as official

RGB, AUDIO = Modality.RGB, Modality.AUDIO
DEPTH, EVERY = 12, {RGB: 8, AUDIO: 1}


def official_choice(scores, total):
    """The choice of the release for scores (24,), image first: layers of both modalities, and what they cost.

    It looks at as many of the best layers as there are units left, and takes what fits.
    """
    scores = scores.clone()
    scores[[0, DEPTH]] = -99
    free, spent, chosen = total - 4, 0, {0, DEPTH}
    for i in scores.topk(min(free, 2 * DEPTH)).indices.tolist():
        if spent <= free - 3 or (spent < free and i >= DEPTH):
            spent += 3 if i < DEPTH else 1
            chosen.add(i)
    layers = {RGB: {i for i in chosen if i < DEPTH}, AUDIO: {i - DEPTH for i in chosen if i >= DEPTH}}
    return layers, 3 * len(layers[RGB]) + len(layers[AUDIO])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("ave") / "last.pt"
    torch.save(official.admn_state("ave", noise=4), path)
    return path


def test_the_costs_are_imported_with_the_model(file, tmp_path):
    [report] = import_checkpoint(file, tmp_path / "model", "admn-ave-unequal").values()
    config = load_model(tmp_path / "model").config
    assert config.layer_costs == {RGB: 3, AUDIO: 1}
    assert config.name == "admn-ave-unequal"
    table = layer_costs(config)
    assert table.total(EVERY) == 4 * official.DEPTH
    assert table.least({RGB: 8}) == 3
    assert "an image layer costs 3" in str(report)
    assert "an image layer costs 3" in (tmp_path / "model" / "README.md").read_text()


def test_an_import_with_equal_costs_names_the_other_kind(file, tmp_path):
    [report] = import_checkpoint(file, tmp_path / "model").values()
    assert load_model(tmp_path / "model").config.layer_costs == {}
    assert "--kind admn-ave-unequal" in str(report)


def test_only_ave_has_unequal_costs(file, tmp_path):
    with pytest.raises(InputError, match="only AVE"):
        import_admn(file, "gdtm", tmp_path / "model", unequal=True)


@pytest.mark.parametrize("total", [4, 5, 6, 8, 12, 16, 24, 32, 47, 48])
def test_the_allocator_takes_what_the_release_takes(total):
    """And spends what the release leaves over when it has looked at its best layers."""
    table = layer_costs(preset("ave").model_copy(update={"layer_costs": {RGB: 3, AUDIO: 1}}))
    complete = 0
    for seed in range(50):
        scores = torch.randn(2 * DEPTH, generator=torch.Generator().manual_seed(seed))
        theirs, spent = official_choice(scores, total)
        assert spent <= total
        assessment = Assessment({RGB: scores[:DEPTH].tolist(), AUDIO: scores[DEPTH:].tolist()}, {RGB: 1.0, AUDIO: 1.0})
        ours = allocate(assessment, EVERY, table, Budget(total, "layers"))
        assert spent <= ours.spent <= total
        assert all(theirs[m] <= set(ours.active[m]) for m in theirs)
        if spent == total:
            complete += 1
            assert {m: set(x) for m, x in ours.active.items()} == theirs
    assert complete > 10
