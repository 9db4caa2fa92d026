# SPDX-License-Identifier: Apache-2.0
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from admn_ros.config import BackboneConfig, LocalizationConfig, ModelConfig, NodePose
from admn_ros.errors import InputError
from admn_ros.model.checkpoint import initialize, load_model, save_model
from admn_ros.model.costs import flop_costs
from admn_ros.model.evidence import EvidenceHead
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality, SampleBatch

AREA = LocalizationConfig(kind="evidence", min_m=(-1.0, -3.0), max_m=(3.0, 3.0), std_floor_m=0.02)
FULL = {Modality.DEPTH: range(4), Modality.RADAR: range(3)}


@pytest.fixture(scope="module")
def head():
    torch.manual_seed(1)
    return EvidenceHead(12, AREA)


@pytest.fixture(scope="module", params=["conv", "fine"])
def network(request, config):
    """Return the fixtures' model with all options: stems with convolutions, points, evidence."""
    modalities = dict(config.modalities)
    modalities[Modality.DEPTH] = modalities[Modality.DEPTH].model_copy(
        update={"backbone": BackboneConfig(dim=16, depth=4, heads=2, patch=(8, 8), stem=request.param, points=3,
                                           point_values=2)})
    raw = config.model_copy(update={
        "modalities": modalities, "localization": AREA,
        "node_poses": {"left": NodePose(x_m=-2, y_m=0.5), "right": NodePose(x_m=4, y_m=0, yaw_rad=3.0, tilt_rad=0.3)}})
    made = AdmnNetwork(ModelConfig.model_validate(raw))
    initialize(made, 0)
    return made.eval()


def posed(angle, slots=4):
    """Poses (1, slots, 5) on a circle."""
    turn = angle + torch.arange(slots) * 1.7
    height, tilt = torch.full((slots,), 0.8), 0.2 * turn.sin()
    return torch.stack([3 * turn.cos(), 3 * turn.sin(), height, turn + math.pi, tilt], dim=1)[None]


def test_no_evidence_gives_the_prior(head):
    mean_m, tril_m, _ = head(torch.randn(2, 4, 12), torch.zeros(2, 4, dtype=torch.bool), posed(0.3).expand(2, -1, -1))
    torch.testing.assert_close(mean_m, torch.tensor([[1.0, 0.0]] * 2))
    torch.testing.assert_close(tril_m @ tril_m.mT, torch.diag(torch.tensor([4.0, 9.0]) + 0.02**2).expand(2, 2, 2))


def test_absent_slots_have_no_influence_even_if_they_are_nan(head):
    tokens, present = torch.randn(1, 4, 12), torch.tensor([[True, False, True, False]])
    other = tokens.clone()
    other[0, 1], other[0, 3] = math.nan, 1e30
    for a, b in zip(head(tokens, present, posed(0.0))[:2], head(other, present, posed(0.0))[:2], strict=True):
        assert torch.equal(a, b)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), slots=st.integers(1, 6), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_fusion_equals_an_information_filter(head, seed, slots, scale):
    """Compare with the sum of information matrices in double precision."""
    torch.manual_seed(seed)
    tokens, poses = scale * torch.randn(1, slots, 12), posed(float(seed), slots)
    present = torch.ones(1, slots, dtype=torch.bool)
    mean_m, tril_m, alone = head(tokens, present, poses)
    prior = torch.diag(torch.tensor([1 / 4, 1 / 9], dtype=torch.float64))
    total, vector = prior.clone(), prior @ torch.tensor([1.0, 0.0], dtype=torch.float64)
    for k in range(slots):
        covariance = (alone.scale_tril_m[0, k] @ alone.scale_tril_m[0, k].T).double() - 0.02**2 * torch.eye(2)
        information = torch.linalg.inv(covariance)
        total += information - prior
        vector += information @ alone.mean_m[0, k].double() - prior @ torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert tril_m.diagonal(dim1=-2, dim2=-1).min() >= 0.02 - 1e-6
    assert bool(tril_m.isfinite().all() and mean_m.isfinite().all())
    if scale < 10:
        torch.testing.assert_close(mean_m[0].double(), torch.linalg.solve(total, vector), atol=2e-2, rtol=2e-2)


@settings(max_examples=30, deadline=None)
@given(angle=st.floats(-3, 3), seed=st.integers(0, 100))
def test_estimates_are_equivariant_to_rotation(seed, angle):
    """Rotate all poses about the centre of a square area."""
    torch.manual_seed(seed)
    head = EvidenceHead(12, LocalizationConfig(kind="evidence"))
    tokens, present, poses = torch.randn(1, 4, 12), torch.ones(1, 4, dtype=torch.bool), posed(0.5)
    cos, sin = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[cos, -sin], [sin, cos]])
    turned = poses.clone()
    turned[..., :2] = poses[..., :2] @ turn.T
    turned[..., 3] += angle
    mean_m, tril_m, _ = head(tokens, present, poses)
    other_m, other_tril_m, _ = head(tokens, present, turned)
    torch.testing.assert_close(other_m, mean_m @ turn.T, atol=1e-3, rtol=1e-3)
    expected = turn @ (tril_m @ tril_m.mT) @ turn.T
    torch.testing.assert_close(other_tril_m @ other_tril_m.mT, expected, atol=1e-3, rtol=1e-3)


def test_more_evidence_never_increases_the_covariance(head):
    tokens, poses = torch.randn(3, 4, 12), posed(0.2).expand(3, -1, -1)
    volumes = [head(tokens, torch.arange(4)[None].expand(3, -1) < k, poses)[1].diagonal(dim1=1, dim2=2).prod(1)
               for k in range(5)]
    assert all(bool((more <= less + 1e-6).all()) for less, more in pairwise(volumes))


def test_poses_of_the_batch_replace_those_of_the_model(network, batch):
    own = network.estimate(batch, FULL)
    same = SampleBatch(batch.inputs, batch.present, network.poses.expand(3, -1, -1))
    torch.testing.assert_close(network.estimate(same, FULL), own)
    moved = SampleBatch(batch.inputs, batch.present, network.poses.expand(3, -1, -1) + 0.5)
    assert not torch.allclose(network.estimate(moved, FULL).mean_m, own.mean_m)
    with pytest.raises(InputError, match="poses"):
        network.estimate(SampleBatch(batch.inputs, batch.present, torch.zeros(3, 1, 5)), FULL)


def test_explain_returns_the_evidence_of_each_slot(network, batch):
    batch.present[Modality.RADAR][1, 0] = False
    output, evidence = network.explain(batch, {Modality.DEPTH: (0, 1), Modality.RADAR: (0,)})
    torch.testing.assert_close(output, network.estimate(batch, {Modality.DEPTH: (0, 1), Modality.RADAR: (0,)}))
    assert evidence.mean_m.shape == (3, 4, 2)
    assert evidence.present.tolist() == [[True] * 4, [True, True, False, True], [True] * 4]


def test_skipped_and_masked_layers_agree_with_convolutions_and_points(network, batch):
    plan = {Modality.DEPTH: (0, 2), Modality.RADAR: (1,)}
    masks = {m: torch.zeros(3, d) for m, d in network.config.depths.items()}
    for m, layers in plan.items():
        masks[m][:, list(layers)] = 1.0
    torch.testing.assert_close(network.forward_train(batch, masks), network.estimate(batch, plan))


def test_the_flop_table_counts_stem_points_and_evidence(network, batch):
    one = SampleBatch({m: x[:1] for m, x in batch.inputs.items()}, {m: p[:1] for m, p in batch.present.items()})
    with torch.no_grad(), FlopCounterMode(display=False) as counter, \
            torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        network.controller(one)
        tril = network.estimate(one, FULL).scale_tril_m[0]
        _ = tril @ tril.T
    costs = flop_costs(network.config)
    table = costs.base({Modality.DEPTH: 2, Modality.RADAR: 2}) + sum(
        costs.modalities[m].embedding[1] + len(k) * costs.modalities[m].layer[1] for m, k in FULL.items())
    assert table == counter.get_total_flops()


def test_a_model_folder_keeps_the_evidence_head(network, batch, tmp_path):
    save_model(network, tmp_path)
    torch.testing.assert_close(load_model(tmp_path).estimate(batch, FULL), network.estimate(batch, FULL))


@pytest.mark.parametrize(("update", "expected"), [
    ({"node_poses": {}}, "localization evidence requires those of"),
    ({"localization": AREA.model_copy(update={"min_m": (0.0, 0.0, 0.0), "max_m": (1.0, 1.0, 1.0)})}, "two axes"),
])
def test_an_inconsistent_configuration_is_refused(network, update, expected):
    with pytest.raises(ValueError, match=expected):
        ModelConfig.model_validate(network.config.model_copy(update=update))


def test_a_conv_stem_requires_square_patches():
    with pytest.raises(ValueError, match="square patch of 2, 4, 8 or 16"):
        BackboneConfig(dim=16, heads=2, patch=(8, 4), stem="conv")


@pytest.mark.parametrize("fields", [{"patch": (8, 8)}, {"patch": (8, 6), "points": 2}, {"patch": (2, 8), "points": 2}])
def test_a_fine_stem_requires_points_and_patches_of_its_stride(fields):
    with pytest.raises(ValueError, match="requires points, and a patch of multiples of 4"):
        BackboneConfig(dim=16, heads=2, stem="fine", **fields)
