# SPDX-License-Identifier: Apache-2.0
"""Calibration of covariances and class probabilities."""

from __future__ import annotations

import copy

import pytest
import torch

from admn_ros.config import CalibrationConfig, ModelConfig
from admn_ros.errors import ConfigError
from admn_ros.model.checkpoint import estimator_fingerprint, initialize, load_model, save_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.presets import preset

CALIBRATED = CalibrationConfig(hidden=8, seen_height_m=(0.6, 0.9))


@pytest.fixture(scope="module")
def plain() -> AdmnNetwork:
    """Return a small network with localization from evidence and random weights."""
    network = AdmnNetwork(preset("gdtm-room"))
    initialize(network, 3)
    return network.eval()


@pytest.fixture
def calibrated(plain: AdmnNetwork) -> AdmnNetwork:
    """Return the same network with a calibration of random weights."""
    network = copy.deepcopy(plain)
    network.calibrate(CALIBRATED)
    assert network.calibration is not None
    initialize(network.calibration, 4)
    return network


def tokens(network: AdmnNetwork, size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random tokens, and slots of which more run from sample to sample; none in the first."""
    slots = len(network.config.modalities) * network.nodes
    draws = torch.Generator().manual_seed(1)
    present = torch.arange(slots) < 2 * torch.arange(size)[:, None]
    return torch.randn(size, slots, network.config.fusion.dim, generator=draws), present


def poses(network: AdmnNetwork, height_m: float, size: int = 6) -> torch.Tensor:
    """Return the poses of the model with all sensor nodes at one height."""
    found = network.poses.expand(size, -1, -1).clone()
    found[..., 2] = height_m
    return found


@torch.no_grad()
def test_a_new_calibration_changes_nothing(plain: AdmnNetwork) -> None:
    network = copy.deepcopy(plain)
    network.calibrate(CALIBRATED)
    before, after = plain.fuse(*tokens(plain))[0], network.fuse(*tokens(network))[0]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@torch.no_grad()
def test_position_and_class_stay(plain: AdmnNetwork, calibrated: AdmnNetwork) -> None:
    before, after = plain.fuse(*tokens(plain))[0], calibrated.fuse(*tokens(plain))[0]
    assert torch.equal(before.mean_m, after.mean_m)
    assert torch.equal(before.class_logits.argmax(dim=1), after.class_logits.argmax(dim=1))
    assert not torch.allclose(before.scale_tril_m, after.scale_tril_m)
    assert not torch.allclose(before.class_logits, after.class_logits)
    assert all(x.isfinite().all() for x in after)
    # One factor for the whole covariance. The first sample has the prior, without correlation.
    ratio = (after.scale_tril_m / before.scale_tril_m)[1:, [0, 1, 1], [0, 0, 1]]
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4)


@torch.no_grad()
def test_the_covariance_keeps_its_floor(calibrated: AdmnNetwork) -> None:
    assert calibrated.calibration is not None
    calibrated.calibration.reset()
    calibrated.calibration.scale[2].bias.fill_(-100.0)   # the smallest scale there is
    floor_m = 10.0
    calibrated.calibration.std_floor_m = floor_m
    tril = calibrated.fuse(*tokens(calibrated))[0].scale_tril_m
    assert tril.diagonal(dim1=-2, dim2=-1).min() >= floor_m
    assert torch.linalg.eigvalsh(tril @ tril.mT).min() > 0


@torch.no_grad()
def test_absent_inputs_and_what_they_would_say_have_no_influence(calibrated: AdmnNetwork) -> None:
    x, present = tokens(calibrated)
    noise = torch.where(present[..., None], x, 100 * x + 7)
    for a, b in zip(calibrated.fuse(x, present)[0], calibrated.fuse(noise, present)[0], strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_it_reads_how_far_nodes_are_outside_the_training(calibrated: AdmnNetwork) -> None:
    x, present = tokens(calibrated)
    calibration = calibrated.calibration
    assert calibration is not None

    def signs(height_m: float) -> torch.Tensor:
        where = poses(calibrated, height_m)
        output, evidence = calibrated.fuse_uncalibrated(x, present, where)
        assert evidence is not None
        return calibration.signs(*output, evidence, where.repeat(1, len(calibrated.config.modalities), 1))[1:, 4:6]

    assert (signs(0.75) == 0).all() and (signs(0.6) == 0).all()
    assert torch.allclose(signs(1.2), torch.tensor([1.0, 0.0]).expand(5, -1), atol=1e-5)
    assert torch.allclose(signs(0.3), torch.tensor([0.0, 1.0]).expand(5, -1), atol=1e-5)


def test_a_model_folder_keeps_it(calibrated: AdmnNetwork, tmp_path) -> None:
    save_model(calibrated, tmp_path)
    again = load_model(tmp_path)
    assert again.config.calibration == CALIBRATED
    with torch.no_grad():
        for a, b in zip(calibrated.fuse(*tokens(again))[0], again.fuse(*tokens(again))[0], strict=True):
            assert torch.equal(a, b)
    again.calibrate(CalibrationConfig())
    save_model(again, tmp_path)
    assert load_model(tmp_path).calibration is None


@pytest.mark.parametrize(("changes", "message"), [
    ({"calibration": {"hidden": 8}}, "requires localization of kind evidence"),
    ({"calibration": {"seen_height_m": (0.9, 0.6)}}, "must ascend"),
], ids=["pooled", "descending"])
def test_a_wrong_configuration_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.model_validate(preset("gdtm").model_dump() | changes)


def test_a_pooled_network_is_refused() -> None:
    with torch.device("meta"):
        network = AdmnNetwork(preset("gdtm"))
    with pytest.raises(ConfigError, match="0 with localization of kind pooled"):
        network.calibrate(CALIBRATED)


def test_the_estimator_stays_the_same_when_it_is_calibrated_controlled_or_rounded(plain, calibrated):
    before = estimator_fingerprint(plain)
    assert estimator_fingerprint(calibrated) == before
    changed = copy.deepcopy(calibrated).requires_grad_(False)
    initialize(changed.qoi, 5)
    for weight in changed.parameters():
        weight.copy_(weight.half().float())
    assert estimator_fingerprint(changed) == before
    next(changed.fusion.parameters()).add_(0.1)
    assert estimator_fingerprint(changed) != before
