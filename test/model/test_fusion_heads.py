# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from admn_ros.config import FusionConfig, LocalizationConfig
from admn_ros.model.evidence import EvidenceHead
from admn_ros.model.fusion import Fusion
from admn_ros.model.heads import LocalizationHead
from admn_ros.model.transformer import position_code


@pytest.fixture(scope="module")
def fusion():
    torch.manual_seed(0)
    return Fusion(6, FusionConfig(dim=16, depth=2, heads=4)).eval()


@pytest.fixture
def tokens():
    return torch.randn(3, 6, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("garbage", [1.0, 1e6, math.inf, math.nan])
def test_absent_tokens_have_no_influence(fusion, tokens, garbage):
    present = torch.tensor([1, 0, 1, 1, 0, 0], dtype=torch.bool).expand(3, 6)
    changed = torch.where(present[..., None], tokens, torch.tensor(garbage))
    assert torch.equal(fusion(tokens, present), fusion(changed, present))


def test_every_present_token_has_influence(fusion, tokens):
    present = torch.ones(3, 6, dtype=torch.bool)
    full = fusion(tokens, present)
    for slot in range(6):
        changed = tokens.clone()
        changed[:, slot, 0] += 1.0
        assert not torch.allclose(full, fusion(changed, present), atol=1e-3)
        fewer = present.clone()
        fewer[:, slot] = False
        assert not torch.allclose(full, fusion(tokens, fewer), atol=1e-3)


def test_slots_are_distinguished(fusion, tokens):
    present = torch.ones(3, 6, dtype=torch.bool)
    assert not torch.allclose(fusion(tokens, present), fusion(tokens.flip(1), present), atol=1e-3)


def test_a_sample_without_tokens_gives_zeros_and_does_not_change_others(fusion, tokens):
    present = torch.tensor([[True] * 6, [False] * 6, [True] * 6])
    fused = fusion(tokens, present)
    assert torch.equal(fused[1], torch.zeros(16))
    assert torch.allclose(fused[::2], fusion(tokens[::2], present[::2]), atol=1e-6)


@pytest.mark.parametrize("kind", ["pooled", "evidence"])
def test_positions_stay_float32_under_bfloat16_autocast(kind):
    torch.manual_seed(0)
    fused = torch.randn(5, 16)
    if kind == "pooled":
        head = LocalizationHead(16, LocalizationConfig())
        inputs = (fused,)
    else:
        head = EvidenceHead(16, LocalizationConfig(kind="evidence"))
        inputs = (fused[None], torch.ones(1, 5, dtype=torch.bool), torch.randn(1, 5, 5))
    exact = head(*inputs)[:2]
    with torch.autocast("cpu", torch.bfloat16):
        found = head(inputs[0].bfloat16(), *inputs[1:])[:2]
    for a, b in zip(found, exact, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, atol=0.05, rtol=0.05)


def test_a_sample_without_tokens_has_a_finite_gradient(fusion, tokens):
    tokens.requires_grad_()
    fusion(tokens, torch.zeros(3, 6, dtype=torch.bool)).sum().backward()
    assert torch.equal(tokens.grad, torch.zeros_like(tokens))


def test_position_code():
    code = position_code(5, 7)
    assert code.shape == (5, 7)
    assert code[0].tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert code[3, 0] == pytest.approx(math.sin(3.0))
    assert code[3, 3] == pytest.approx(math.cos(3.0 * 10000 ** (-2 / 7)), abs=1e-6)


@pytest.mark.parametrize("low_high", [((-2.0, 1.0), (2.0, 1.5)), ((-2.0, 1.0, 0.0), (2.0, 1.5, 9.0))])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_localization_is_inside_the_area_with_a_positive_definite_covariance(low_high, size):
    torch.manual_seed(0)
    low, high = low_high
    axes = len(low)
    head = LocalizationHead(16, LocalizationConfig(min_m=low, max_m=high, std_floor_m=0.2))
    mean, tril = head(size * torch.randn(50, 16))
    assert mean.shape == (50, axes)
    assert tril.shape == (50, axes, axes)
    assert (mean >= torch.tensor(low)).all()
    assert (mean <= torch.tensor(high)).all()
    assert torch.equal(tril, tril.tril())
    assert (tril.diagonal(dim1=1, dim2=2) >= 0.2).all()


def test_every_output_of_the_head_is_used():
    torch.manual_seed(0)
    head = LocalizationHead(8, LocalizationConfig(min_m=(0.0,) * 3, max_m=(1.0,) * 3))
    mean, tril = head(torch.randn(20, 8))
    noise = torch.Generator().manual_seed(1)
    loss = (mean * torch.randn(mean.shape, generator=noise)).sum()
    (loss + (tril * torch.randn(tril.shape, generator=noise)).sum()).backward()
    assert (head.mean.weight.grad.abs().sum(1) > 0).all()
    assert (head.factor.weight.grad.abs().sum(1) > 0).all()
    assert head.hidden[0].weight is not head.hidden[2].weight


def test_the_covariance_is_full():
    torch.manual_seed(0)
    head = LocalizationHead(8, LocalizationConfig())
    _, tril = head(torch.randn(20, 8))
    assert (tril[:, 1, 0] != 0).all()
