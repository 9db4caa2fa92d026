# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from admn_ros.config import BackboneConfig
from admn_ros.errors import InputError
from admn_ros.model.vit import AdaptiveViT

SHAPE = (2, 32, 48)


def vit(**changes):
    torch.manual_seed(0)
    model = AdaptiveViT(SHAPE, BackboneConfig(**{"dim": 24, "depth": 5, "heads": 3, "patch": (16, 8), **changes}))
    torch.nn.init.normal_(model.pos_embed)
    torch.nn.init.normal_(model.cls_token)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return vit()


@pytest.fixture(scope="module")
def x():
    return torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))


def calls(model, run):
    """Indices of the blocks that `run` executes, in order."""
    executed = []
    hooks = [b.register_forward_hook(lambda *_, i=i: executed.append(i)) for i, b in enumerate(model.blocks)]
    run()
    for hook in hooks:
        hook.remove()
    return executed


def test_weight_names_are_those_of_timm(model):
    names = {n for n in model.state_dict() if ".blocks." not in f".{n}" or ".0." in n}
    block = {f"blocks.0.{part}.{kind}" for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
             for kind in ("weight", "bias")}
    assert names == block | {"cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias",
                             "norm.weight", "norm.bias"}
    assert model.pos_embed.shape == (1, 1 + 2 * 6, 24)
    assert model.blocks[0].attn.qkv.weight.shape == (72, 24)
    assert model.blocks[0].norm1.eps == model.norm.eps == 1e-6


def test_the_block_is_that_of_a_pre_norm_encoder_layer(model, x):
    """PyTorch's own encoder layer with the same weights gives the same."""
    block = model.blocks[0]
    reference = torch.nn.TransformerEncoderLayer(24, 3, 96, dropout=0.0, activation="gelu", layer_norm_eps=1e-6,
                                                 batch_first=True, norm_first=True).eval()
    pairs = {"self_attn.in_proj_": "attn.qkv.", "self_attn.out_proj.": "attn.proj.", "linear1.": "mlp.fc1.",
             "linear2.": "mlp.fc2.", "norm1.": "norm1.", "norm2.": "norm2."}
    weights = block.state_dict()
    reference.load_state_dict({a + kind: weights[b + kind] for a, b in pairs.items() for kind in ("weight", "bias")})
    tokens, _ = model.embed(x)
    assert torch.allclose(block(tokens), reference(tokens), atol=1e-5)


@pytest.mark.parametrize("active", [(), (0,), (0, 3), (4, 1, 0), tuple(range(5))])
def test_only_the_listed_layers_are_executed(model, x, active):
    assert calls(model, lambda: model(x, active)) == sorted(active)


def test_every_layer_matters(model, x):
    full = model(x, range(5))
    for dropped in range(5):
        assert not torch.allclose(full, model(x, [i for i in range(5) if i != dropped]), atol=1e-4)


@pytest.mark.parametrize("active", [(), (0, 3), tuple(range(5))])
def test_masked_equals_skipped(model, x, active):
    mask = torch.zeros(4, 5)
    mask[:, list(active)] = 1
    assert torch.allclose(model(x, active), model.forward_masked(x, mask), atol=1e-5)
    assert torch.allclose(model(x, active), model.forward_masked(x, mask.requires_grad_()), atol=1e-5)


def test_mixed_allocations_equal_single_ones(model, x):
    plans = [(0,), (0, 1, 4), (), (2, 3)]
    mask = torch.zeros(4, 5)
    for row, plan in enumerate(plans):
        mask[row, list(plan)] = 1
    alone = torch.cat([model(x[i:i + 1], plan) for i, plan in enumerate(plans)])
    assert torch.allclose(alone, model.forward_masked(x, mask), atol=1e-5)


def test_a_layer_that_no_row_uses_is_not_executed_unless_it_needs_a_gradient(model, x):
    mask = torch.zeros(4, 5)
    mask[0, 1] = mask[2, 3] = 1
    assert calls(model, lambda: model.forward_masked(x, mask)) == [1, 3]
    assert calls(model, lambda: model.forward_masked(x, mask.requires_grad_())) == [0, 1, 2, 3, 4]


def test_the_gradient_of_the_mask_is_the_residual_of_the_layer(model, x):
    mask = torch.tensor([[1.0, 0, 1, 0, 0]]).requires_grad_()
    model.forward_masked(x[:1], mask)[0, 0].backward()
    before = model.blocks[2](model.blocks[0](model.embed(x[:1])[0])).detach().requires_grad_()
    model.readout(before, None)[0, 0].backward()
    added = (before.grad * (model.blocks[4](before) - before)).sum()
    assert mask.grad[0, 4] == pytest.approx(added.item(), rel=1e-3)
    assert (mask.grad != 0).all()


@pytest.mark.parametrize("active", [(5,), (-1, 0), (0, 12)])
def test_a_layer_that_does_not_exist_is_refused(model, x, active):
    with pytest.raises(InputError, match="active layers"):
        model(x, active)


def test_a_wrong_shape_is_refused(model, x):
    with pytest.raises(InputError, match=r"found \(2, 48, 32\); allowed: \(2, 32, 48\)"):
        model(x.transpose(2, 3), (0,))
    with pytest.raises(InputError, match="mask"):
        model.forward_masked(x, torch.ones(3, 5))


def test_dtype_follows_the_weights(x):
    assert vit().double()(x.double(), (0, 1)).dtype == torch.float64


@pytest.mark.slow
def test_a_fine_stem_locates_targets_smaller_than_a_patch():
    draws = torch.Generator().manual_seed(3)

    def dots(count):
        """Pictures with a dot of 4 x 4 pixels, and its corner in [-1, 1]."""
        corner = torch.stack([torch.randint(0, n - 3, (count,), generator=draws) for n in SHAPE[1:]], dim=1)
        pictures = torch.randn(count, *SHAPE, generator=draws) * 0.1
        for picture, (row, column) in zip(pictures, corner.tolist(), strict=True):
            picture[1, row:row + 4, column:column + 4] += 1.0
        return pictures, corner / (torch.tensor(SHAPE[1:]) / 2) - 1

    model = vit(patch=(16, 16), stem="fine", points=4).train()
    head = torch.nn.Linear(24, 2)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(200):
        pictures, corner = dots(32)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(head(model(pictures, [0])), corner).backward()
        optimizer.step()
    pictures, corner = dots(64)
    with torch.no_grad():
        off = (head(model.eval()(pictures, [0])) - corner).abs() * torch.tensor(SHAPE[1:]) / 2
    assert off.mean() < 1.5  # pixels; a patch has 16, and the middle is 9 away on average
