# SPDX-License-Identifier: Apache-2.0
"""Only a corruption head that was trained gives QoI."""

import math

import pytest
import torch
from torch import nn

from admn_ros.errors import InputError
from admn_ros.model.checkpoint import load_model
from admn_ros.model.official.admn_checkpoint import import_admn
from admn_ros.model.official.import_checkpoint import import_checkpoint
from helpers import official_network as official


def checkpoint(layout, kind):
    """Official state dict with a corruption head that is trained, initial, or initial and stored with 16 bits."""
    state = official.admn_state(layout, noise=4 if layout == "ave" else 2)
    if kind == "trained":
        return state
    torch.manual_seed(1)
    for layer, inputs, outputs in ((0, 16, 18), (2, 18, 4 if layout == "ave" else 2)):
        fresh = nn.Linear(inputs, outputs)
        for part, value in fresh.state_dict().items():
            name = f"controller.noise_output.{layer}.{part}"
            assert state[name].shape == value.shape
            state[name] = value.half() if kind == "initial, 16 bits" else value
    return state


def imported(tmp_path, state, layout, **options):
    torch.save(state, tmp_path / "last.pt")
    report = import_admn(tmp_path / "last.pt", layout, tmp_path / "model", **options)
    return load_model(tmp_path / "model"), report


@pytest.mark.parametrize("layout", ["gdtm", "mmfi", "ave"])
@pytest.mark.parametrize("kind", ["trained", "initial", "initial, 16 bits"])
def test_the_weights_tell_whether_the_head_was_trained(tmp_path, layout, kind):
    network, report = imported(tmp_path, checkpoint(layout, kind), layout)
    assert network.config.qoi_trained == (kind == "trained")
    assert ("corruption head trained" in str(report)) == (kind == "trained")
    assert ("corruption head not trained" in str(report)) == (kind != "trained")
    assert report.missing == ()


def test_a_head_near_its_initialization_counts_as_not_trained(tmp_path):
    state = checkpoint("gdtm", "initial")
    bound = 1 / math.sqrt(16)
    state["controller.noise_output.0.weight"][0, 0] = bound
    assert not imported(tmp_path, state, "gdtm")[0].config.qoi_trained
    state["controller.noise_output.0.weight"][0, 0] = 1.01 * bound
    assert imported(tmp_path, state, "gdtm", force=True)[0].config.qoi_trained


@pytest.mark.parametrize(("kind", "qoi", "expected"), [("trained", "untrained", False), ("initial", "trained", True)])
def test_the_user_overrides_the_weights(tmp_path, kind, qoi, expected):
    torch.save(checkpoint("gdtm", kind), tmp_path / "last.pt")
    import_checkpoint(tmp_path / "last.pt", tmp_path / "model", qoi=qoi)
    assert load_model(tmp_path / "model").config.qoi_trained == expected


def test_without_training_there_is_no_qoi(tmp_path):
    network, _ = imported(tmp_path, checkpoint("gdtm", "initial"), "gdtm")
    assert not network.qoi.judged
    network, _ = imported(tmp_path, checkpoint("gdtm", "trained"), "gdtm", force=True)
    assert network.qoi.judged


def test_stage_1_has_no_qoi(tmp_path):
    state = official.admn_state("gdtm", controller=False)
    assert not imported(tmp_path, state, "gdtm")[0].config.qoi_trained
    with pytest.raises(InputError, match="without controller"):
        imported(tmp_path, state, "gdtm", qoi="trained", force=True)
    with pytest.raises(InputError, match="auto, trained, untrained"):
        imported(tmp_path, state, "gdtm", qoi="maybe", force=True)
