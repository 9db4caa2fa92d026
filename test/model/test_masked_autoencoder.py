# SPDX-License-Identifier: Apache-2.0
"""Masked autoencoding: number of hidden patches, and independence of their pixels."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.config import BackboneConfig
from admn_ros.errors import ConfigError, InputError
from admn_ros.model.masked_autoencoder import (
    Mask,
    MaskedDecoder,
    draw_mask,
    encode_visible,
    grid_code,
    hidden_error,
    hide_pixels,
    normalize_patches,
    patchify,
)
from admn_ros.model.vit import AdaptiveViT

SHAPE, PATCH = (2, 16, 24), (4, 8)  # 4 x 3 patches


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def backbone(stem: str = "patch") -> AdaptiveViT:
    patch = PATCH if stem == "patch" else (8, 8)
    torch.manual_seed(1)
    vit = AdaptiveViT(SHAPE, BackboneConfig(dim=16, depth=3, heads=2, patch=patch, stem=stem,
                                            points=2 if stem == "fine" else 0))
    for p in vit.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return vit.eval()


@settings(deadline=None)
@given(inputs=st.integers(1, 5), patches=st.integers(2, 300), share=st.floats(0.001, 0.999))
def test_the_number_of_hidden_patches_is_exact(inputs: int, patches: int, share: float) -> None:
    mask = draw_mask(inputs, patches, share, draws())
    hidden = mask.hidden.sum(dim=1)
    assert (hidden == min(max(round(share * patches), 1), patches - 1)).all()
    assert mask.visible.shape == (inputs, patches - int(hidden[0]))
    assert (mask.visible.diff(dim=1) > 0).all()
    assert not mask.hidden.gather(1, mask.visible).any()


def test_the_usual_shares_are_exact() -> None:
    assert draw_mask(1, 196, 0.75, draws()).visible.shape == (1, 49)
    assert draw_mask(1, 512, 0.8, draws()).visible.shape == (1, 102)  # 409.6 are hidden, that is 410
    assert draw_mask(1, 100, 0.8, draws()).visible.shape == (1, 20)


def test_masks_are_uniform_and_independent() -> None:
    hidden = draw_mask(4000, 16, 0.75, draws()).hidden
    often = hidden.float().mean(dim=0)
    assert (often - 0.75).abs().max() < 4.5 * math.sqrt(0.75 * 0.25 / 4000)
    assert len({tuple(row) for row in hidden[:50].tolist()}) > 40
    assert torch.equal(hidden, draw_mask(4000, 16, 0.75, draws()).hidden)
    # Two patches are hidden together as often as in a draw without replacement.
    together = (hidden[:, 3] & hidden[:, 11]).float().mean()
    assert abs(together - 12 * 11 / (16 * 15)) < 4.5 * math.sqrt(0.25 / 4000)


@pytest.mark.parametrize(("patches", "share"), [(1, 0.5), (16, 0.0), (16, 1.0)])
def test_masks_of_no_or_all_patches_are_refused(patches: int, share: float) -> None:
    with pytest.raises(InputError, match="mask"):
        draw_mask(2, patches, share, draws())


def test_patches_are_rectangles_row_by_row() -> None:
    x = torch.randn(2, *SHAPE)
    patches = patchify(x, PATCH)
    assert patches.shape == (2, 12, 4 * 8 * 2)
    assert torch.equal(patches[1, 5].view(4, 8, 2), x[1, :, 4:8, 16:24].permute(1, 2, 0))  # second row, third column


def test_normalized_patches() -> None:
    patches = torch.randn(3, 5, 64) * 7 + 3
    patches[0, 0] = 2.5
    normal = normalize_patches(patches)
    assert torch.equal(normal[0, 0], torch.zeros(64))
    torch.testing.assert_close(normal.mean(dim=-1), torch.zeros(3, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal[1:].square().mean(dim=-1), torch.ones(2, 5))
    faint = normalize_patches(torch.randn(1000, 64) * 0.01, variance_floor=1e-2)
    assert faint.square().mean() < 0.011


@pytest.mark.parametrize("stem", ["patch", "conv", "fine"])
def test_hidden_pixels_have_no_influence(stem: str) -> None:
    vit = backbone(stem)
    patch = PATCH if stem == "patch" else (8, 8)
    count = SHAPE[1] * SHAPE[2] // math.prod(patch)
    x, other = torch.randn(2, 3, *SHAPE, generator=draws()).unbind()
    mask = draw_mask(3, count, 0.5, draws())
    kept = hide_pixels(torch.ones_like(x), mask.hidden, patch).bool()
    assert int(kept.sum()) == mask.visible.numel() * math.prod(patch) * SHAPE[0]
    changed = torch.where(kept, x, other)  # another picture where it is hidden
    assert not torch.equal(changed, x)
    before, after = (encode_visible(vit, y, mask, (0, 2), patch) for y in (x, changed))
    assert torch.equal(before, after)
    seen = torch.where(kept, other, x)
    assert not torch.allclose(encode_visible(vit, seen, mask, (0, 2), patch), before)


def test_all_patches_visible_equals_the_backbone() -> None:
    vit, x = backbone(), torch.randn(2, *SHAPE)
    everything = Mask(torch.arange(12).expand(2, -1), torch.zeros(2, 12, dtype=torch.bool))
    for layers in ((0, 1, 2), (1,)):
        torch.testing.assert_close(encode_visible(vit, x, everything, layers, PATCH)[:, 0], vit(x, layers))


def test_the_decoder_restores_the_order_of_tokens() -> None:
    decoder = MaskedDecoder((4, 3), 16, 10, dim=8, depth=0, heads=2)
    mask = draw_mask(1, 12, 0.75, draws())
    encoded = torch.randn(1, 4, 16)
    guess = decoder(encoded, mask)
    changed = encoded.clone()
    changed[0, 2] += 1  # the second patch that is seen
    moved = (decoder(changed, mask) - guess).abs().sum(dim=-1)[0] > 1e-6
    assert moved.nonzero().flatten().tolist() == [int(mask.visible[0, 1])]
    # What is hidden differs by its place alone.
    assert len({tuple(row) for row in guess[0][mask.hidden[0]].tolist()}) == 9


def test_only_hidden_patches_count() -> None:
    target = torch.randn(2, 12, 10)
    mask = draw_mask(2, 12, 0.5, draws())
    guess = target + torch.where(mask.hidden, 0.0, 100.0)[:, :, None]
    assert hidden_error(guess, target, mask) == 0
    guess = (target + torch.where(mask.hidden, 2.0, 100.0)[:, :, None]).requires_grad_()
    error = hidden_error(guess, target, mask)
    assert error.item() == pytest.approx(4, rel=1e-5)
    error.backward()
    assert torch.equal(guess.grad.abs().sum(dim=-1) > 0, mask.hidden)


def test_positions_are_those_of_public_files() -> None:
    code = grid_code((2, 3), 8)
    assert code.shape == (1, 7, 8)
    assert torch.equal(code[0, 0], torch.zeros(8))
    row, column = 1, 2
    wanted = [f(p * w) for p in (column, row) for f in (math.sin, math.cos) for w in (1.0, 0.01)]
    torch.testing.assert_close(code[0, 1 + row * 3 + column], torch.tensor(wanted))
    with pytest.raises(ConfigError, match="multiple of 4"):
        grid_code((2, 3), 6)
