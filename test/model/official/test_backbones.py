# SPDX-License-Identifier: Apache-2.0
"""Import of MAE, DeiT, timm and AudioMAE backbones."""


import pytest
import torch
import torch.nn.functional as F

from admn_ros.config import BackboneConfig
from admn_ros.errors import InputError, ModelError
from admn_ros.model.official.backbones import load_backbone
from admn_ros.model.vit import AdaptiveViT
from helpers import official_network as official

Maker, vit_state = official.Maker, official.vit_state


def ours(channels=3, rows=2, columns=2, dim=24, depth=3, heads=3, patch=(16, 16)):
    torch.manual_seed(1)
    vit = AdaptiveViT((channels, rows * patch[0], columns * patch[1]),
                      BackboneConfig(dim=dim, depth=depth, heads=heads, patch=patch))
    for p in vit.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return vit.eval()


def random_input(vit, rows=2, seed=2):
    return torch.randn(rows, *vit.shape, generator=torch.Generator().manual_seed(seed))


def mae(make, dim=24):
    """A pretraining checkpoint of MAE."""
    s = vit_state(make, dim) | {"mask_token": make(1, 1, 16), "decoder_pos_embed": make(1, 5, 16)}
    s |= make.linear("decoder_embed", 16, dim) | make.linear("decoder_pred", 768, 16) | make.norm("decoder_norm", 16)
    return s | make.norm("decoder_blocks.0.norm1", 16)


def test_an_mae_backbone_gives_the_original_output():
    state, vit = mae(Maker()), ours()
    report = load_backbone(vit, state)
    assert (report.interpolated, report.missing) == ((), ())
    assert set(report.loaded) == set(vit.state_dict())
    assert all("decoder" in n or n == "mask_token" for n in report.ignored)
    assert len(report.ignored) == 10
    assert "mae" in report.notes[0]
    x = random_input(vit)
    for layers in ((0, 1, 2), (1,), ()):
        torch.testing.assert_close(vit(x, layers), official.vit(state, "", x, layers, heads=3, eps=1e-6))


def test_a_timm_vit_with_its_classifier_in_half_precision():
    make = Maker(3)
    state = vit_state(make) | make.linear("head", 7, 24)
    vit = ours()
    report = load_backbone(vit, {k: v.half() for k, v in state.items()}, "timm")
    assert report.ignored == ("head.weight", "head.bias")
    assert vit.norm.weight.dtype == torch.float32
    x = random_input(vit)
    torch.testing.assert_close(vit(x, range(3)), official.vit(state, "", x, range(3), heads=3, eps=1e-6),
                               rtol=0.02, atol=0.02)


def test_distilled_deit_at_its_own_size():
    make = Maker(4)
    state = vit_state(make, 192, 2, 196, extra_tokens=1) | {"dist_token": make(1, 1, 192)}
    state |= make.linear("head", 1000, 192) | make.linear("head_dist", 1000, 192)
    vit = ours(rows=14, columns=14, dim=192, depth=2)
    report = load_backbone(vit, state)
    assert report.missing == report.interpolated == ()
    assert set(report.ignored) == {"dist_token", "head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}
    assert "deit" in str(report)
    kept = torch.cat([state["pos_embed"][:, :1], state["pos_embed"][:, 2:]], 1)
    assert torch.equal(vit.pos_embed, kept)


def test_a_global_pool_norm_is_not_loaded():
    vit = ours()
    before = vit.norm.weight.clone()
    report = load_backbone(vit, vit_state(Maker(), norm="fc_norm"))
    assert set(report.missing) == {"norm.weight", "norm.bias"}
    assert set(report.ignored) == {"fc_norm.weight", "fc_norm.bias"}
    assert torch.equal(vit.norm.weight, before)
    assert any("must be trained" in note for note in report.notes)


@pytest.mark.parametrize(("theirs", "mine"), [(3, 1), (1, 3), (3, 4)])
def test_equal_channels_get_the_same_response(theirs, mine):
    state, vit = vit_state(Maker(5), channels=theirs), ours(channels=mine)
    report = load_backbone(vit, state, "timm")
    gray = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(vit(gray.expand(-1, mine, -1, -1), (0, 1)),
                               official.vit(state, "", gray.expand(-1, theirs, -1, -1), (0, 1), heads=3, eps=1e-6))
    assert f"from {theirs} channels to {mine}" in str(report)


def test_positions_are_interpolated_over_a_rectangle():
    state, vit = vit_state(Maker(6), patches=16), ours(rows=3, columns=6)
    rows = torch.arange(4.0)[:, None].expand(4, 4)
    state["pos_embed"][0, 1:, 0] = rows.flatten()
    state["pos_embed"][0, 1:, 1] = rows.T.flatten()
    state["pos_embed"][0, 1:, 2] = 5.0
    report = load_backbone(vit, state)
    assert report.interpolated == ("pos_embed",)
    assert "4 x 4 patches to 3 x 6" in str(report)
    assert torch.equal(vit.pos_embed[0, 0], state["pos_embed"][0, 0])
    down, across, flat = vit.pos_embed[0, 1:, :3].T.reshape(3, 3, 6)
    torch.testing.assert_close(flat, torch.full((3, 6), 5.0))
    assert (down.diff(dim=0) > 0.8).all()
    assert (across.diff(dim=1) > 0.3).all()
    torch.testing.assert_close(down, down[:, :1].expand(3, 6))
    torch.testing.assert_close(across, across[:1].expand(3, 6))
    upsampled = ours(rows=8, columns=8)
    load_backbone(upsampled, state)
    grid = state["pos_embed"][0, 1:].T.reshape(1, 24, 4, 4)
    expected = F.interpolate(grid, (8, 8), mode="bicubic", align_corners=False, antialias=True)  # as timm does
    torch.testing.assert_close(upsampled.pos_embed[0, 1:].T.reshape(1, 24, 8, 8), expected)


@pytest.mark.parametrize(("kind", "patches", "grid", "channels"), [
    ("timm", 4, (2, 2), 3), ("audiomae", 32, (2, 16), 1)])
def test_positions_without_one_for_the_class_token(kind, patches, grid, channels):
    make = Maker(9)
    state = vit_state(make, patches=patches, channels=channels)
    short = state | {"pos_embed": state["pos_embed"][:, 1:]}
    whole = state | {"pos_embed": state["pos_embed"].clone()}
    whole["pos_embed"][:, 0] = 0
    a, b = (ours(channels=channels, rows=grid[0], columns=grid[1]) for _ in range(2))
    assert "; none for the class token" in load_backbone(a, short).notes[1]
    notes = load_backbone(b, whole).notes
    assert f"read as {kind}" in notes[0] and "none for" not in notes[1]
    assert torch.equal(a.pos_embed, b.pos_embed)


def test_smaller_patches_have_the_same_response_to_a_coarser_image():
    state, vit = vit_state(Maker(7)), ours(rows=2, columns=2, patch=(16, 4))
    report = load_backbone(vit, state)
    assert "patch_embed.proj.weight" in report.interpolated
    x = random_input(vit)
    fine = x.repeat_interleave(4, dim=3)
    torch.testing.assert_close(vit(x, (0, 1)), official.vit(state, "", fine, (0, 1), heads=3, eps=1e-6))


def test_audiomae_is_transposed_to_mels_by_time():
    make = Maker(8)
    state = vit_state(make, patches=32, channels=1) | make.linear("decoder_embed", 16, 24)
    vit = ours(channels=1, rows=2, columns=16)
    report = load_backbone(vit, state)
    assert "audiomae" in str(report)
    assert "16 x 2 patches to 2 x 16, transposed" in str(report)
    x = random_input(vit)
    theirs = official.vit(state, "", x.transpose(2, 3), range(3), heads=3, eps=1e-6)
    torch.testing.assert_close(vit(x, range(3)), theirs)
    asked = ours(channels=1, rows=2, columns=16)
    load_backbone(asked, state, "timm", source_grid=(16, 2))
    assert not torch.equal(asked.pos_embed, vit.pos_embed)


def test_depths_may_differ():
    vit = ours(depth=2)
    report = load_backbone(vit, vit_state(Maker(), depth=3))
    assert {n.split(".")[1] for n in report.ignored} == {"2"}
    assert "last layers that are not used: 1" in str(report)
    report = load_backbone(ours(depth=4), vit_state(Maker(), depth=3))
    assert len(report.missing) == 12
    assert all(n.startswith("blocks.3.") for n in report.missing)
    assert "missing: 12 (blocks x12)" in str(report)


def _changed(**changes):
    return {k: v for k, v in (vit_state(Maker()) | changes).items() if v is not None}


@pytest.mark.parametrize(("state", "what"), [
    ({}, "none"),
    ({"vit.embeddings.cls_token": torch.zeros(1)}, "vit.embeddings"),
    (_changed(**{"blocks.1.ls1.gamma": torch.ones(24)}), "ls1"),
    (_changed(reg_token=torch.ones(1, 4, 24)), "reg_token"),
    (_changed(**{"norm_pre.weight": torch.ones(24)}), "norm_pre"),
    (vit_state(Maker(), dim=32), "24"),
    (vit_state(Maker(), ratio=3), "fc1"),
    (vit_state(Maker(), patches=5), "5 patches"),
    (_changed(cls_token=torch.full((1, 1, 24), float("nan"))), "NaN"),
    ({k: v.to(torch.int8) for k, v in vit_state(Maker()).items()}, "int8 values without a scale"),
    (_changed(**{"norm.weight": torch.ones(24).to(torch.float8_e4m3fn)}), "norm.weight: found float8_e4m3fn values"),
    (_changed(pos_embed=torch.zeros(1, 1, 24)), "pos_embed"),
    (_changed(pos_embed=torch.zeros(2, 5, 24)), "pos_embed"),
    (_changed(pos_embed=torch.zeros(0)), "pos_embed"),
    (_changed(**{"patch_embed.proj.weight": torch.zeros(())}), "patch_embed"),
    (_changed(**{"blocks.2.norm1.bias": torch.zeros(25)}), "norm1.bias"),
])
def test_errors_name_the_tensor_and_change_nothing(state, what):
    vit = ours()
    before = {k: v.clone() for k, v in vit.state_dict().items()}
    with pytest.raises(ModelError, match=what) as info:
        load_backbone(vit, state)
    assert "\n" not in str(info.value)
    assert all(torch.equal(v, before[k]) for k, v in vit.state_dict().items())


def test_wrong_arguments():
    with pytest.raises(InputError, match="kind"):
        load_backbone(ours(), vit_state(Maker()), "dino")
    with pytest.raises(InputError, match="source_grid"):
        load_backbone(ours(), vit_state(Maker()), source_grid=(3, 1))
