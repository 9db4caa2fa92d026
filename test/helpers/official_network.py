# SPDX-License-Identifier: Apache-2.0
"""The public checkpoint formats, and the official ADMN forward stated once more and apart from the package.

Narrow widths, real names. Plain tensor arithmetic on a state dict, from the written description.
"""

import torch
import torch.nn.functional as F

DIM, DEPTH, HEADS, SIDE, PATCH = 128, 3, 2, 2, 16
PIXELS = SIDE * PATCH
STEMS = {"gdtm": ("zed_camera_left", "realsense_camera_depth"), "mmfi": ("rgb", "depth"), "ave": ("image", "audio")}


class Maker:
    """Random tensors from one seed."""

    def __init__(self, seed=0):
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape, scale=0.2):
        return torch.randn(*shape, generator=self.generator) * scale

    def linear(self, name, rows, columns, bias=True):
        s = {f"{name}.weight": self(rows, columns, scale=columns**-0.5)}
        return s | ({f"{name}.bias": self(rows)} if bias else {})

    def norm(self, name, dim):
        return {f"{name}.weight": 1 + self(dim), f"{name}.bias": self(dim)}


def vit_state(make, dim=24, depth=3, patches=4, channels=3, prefix="", extra_tokens=0, norm="norm", ratio=4):
    """A ViT under the names that MAE, DeiT and timm share."""
    s = {f"{prefix}cls_token": make(1, 1, dim), f"{prefix}pos_embed": make(1, 1 + extra_tokens + patches, dim),
         f"{prefix}patch_embed.proj.weight": make(dim, channels, PATCH, PATCH, scale=0.05),
         f"{prefix}patch_embed.proj.bias": make(dim)}
    for i in range(depth):
        b = f"{prefix}blocks.{i}"
        s |= make.norm(f"{b}.norm1", dim) | make.linear(f"{b}.attn.qkv", 3 * dim, dim)
        s |= make.linear(f"{b}.attn.proj", dim, dim) | make.norm(f"{b}.norm2", dim)
        s |= make.linear(f"{b}.mlp.fc1", ratio * dim, dim) | make.linear(f"{b}.mlp.fc2", dim, ratio * dim)
    return s | make.norm(f"{prefix}{norm}", dim)


def encoder_state(make, name, dim, depth, hidden):
    s = make.norm(f"{name}.norm", dim)
    for i in range(depth):
        a, m = f"{name}.layers.{i}.0", f"{name}.layers.{i}.1"
        s |= make.norm(f"{a}.norm", dim) | make.linear(f"{a}.to_qkv", 3 * dim, dim, bias=False)
        s |= make.linear(f"{a}.to_out.0", dim, dim) | make.norm(f"{m}.condln", dim)
        s |= make.linear(f"{m}.net.1", hidden, dim) | make.linear(f"{m}.net.4", dim, hidden)
    return s


def stem_state(make, name, channels, dim, features, normed):
    s, where = {}, (1, 4, 8, 12) if normed else (1, 3, 6, 9)
    for i, (inside, out, kernel) in zip(where, ((channels, 6, 10), (6, 6, 10), (6, 3, 5)), strict=False):
        s |= {f"{name}.{i}.weight": make(out, inside, kernel, kernel, scale=0.1), f"{name}.{i}.bias": make(out)}
        if normed:
            s |= make.norm(f"{name}.{i + 1}", out)
            s |= {f"{name}.{i + 1}.running_mean": make(out), f"{name}.{i + 1}.running_var": make(out).abs() + 0.5,
                  f"{name}.{i + 1}.num_batches_tracked": torch.tensor(3)}
    return s | make.linear(f"{name}.{where[3]}", dim, features)


def admn_state(layout, noise=2, controller=True, seed=0):
    """A narrow official Stage 2 state dict (Stage 1 without the controller)."""
    make, dim = Maker(seed), 32
    second = "audio" if layout == "ave" else "depth"
    s = vit_state(make, DIM, DEPTH, SIDE**2, prefix="vision.")
    s |= make.linear("vision.head", 10, DIM)
    audio = layout == "ave"
    s |= vit_state(make, DIM, DEPTH, 8 if audio else SIDE**2, channels=1 if audio else 3, prefix=f"{second}.")
    s |= make.linear(f"{second}.head", 10, DIM)
    one, two = ("0", "2") if layout == "mmfi" else ("fc1", "fc2")
    for m in ("vision", second):
        s |= make.linear(f"{m}_adapter.{one}", 24, DIM) | make.linear(f"{m}_adapter.{two}", dim, 24)
    s |= encoder_state(make, "encoder", dim, 2, 3 * dim)
    if layout == "gdtm":
        s |= make.linear("output_head.mlp.0", dim, dim)
        s |= {f"output_head.mlp.2.{p}": s[f"output_head.mlp.0.{p}"] for p in ("weight", "bias")}
        s |= make.linear("output_head.mean_head", 2, dim) | make.linear("output_head.cov_head", 4, dim)
    else:
        s |= make.linear("output_head", 27 if layout == "mmfi" else 28, dim)
    if layout == "mmfi":
        s["encoder_cls"] = make(1, 1, dim)
    if controller:
        s |= {"controller.cls": make(1, 16)}
        for name, channels, features in zip(STEMS[layout], (3, 1 if audio else 3), (1587, 7488 if audio else 1587),
                                            strict=True):
            s |= stem_state(make, f"controller.encoder_dict.{name}", channels, 16, features, normed=audio)
        s |= encoder_state(make, "controller.combiner_encoder", 16, 3 if layout == "mmfi" else 2, 64)
        s |= make.linear("controller.output_head.0", 20, 16, bias=False)
        s |= make.linear("controller.output_head.2", 2 * DEPTH, 20, bias=False)
        s |= make.linear("controller.noise_output.0", 18, 16) | make.linear("controller.noise_output.2", noise, 18)
    return s


# --- forward, on a state dict ------------------------------------------------------------------------


def norm(s, name, x, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt() * s[f"{name}.weight"] + s[f"{name}.bias"]


def linear(s, name, x):
    y = x @ s[f"{name}.weight"].T
    return y + s[f"{name}.bias"] if f"{name}.bias" in s else y


def attend(qkv, heads):
    out, dim = [], qkv.shape[-1] // 3
    width = dim // heads
    for h in range(heads):
        q, k, v = (qkv[..., i * dim + h * width:i * dim + (h + 1) * width] for i in range(3))
        out.append((q @ k.transpose(-1, -2) / width**0.5).softmax(-1) @ v)
    return torch.cat(out, -1)


def patches_of(s, p, x, patch=PATCH):
    """Row by row, as one matrix product."""
    b, c, h, w = x.shape
    cut = x.view(b, c, h // patch, patch, w // patch, patch).permute(0, 2, 4, 1, 3, 5).reshape(b, -1, c * patch * patch)
    return cut @ s[f"{p}patch_embed.proj.weight"].flatten(1).T + s[f"{p}patch_embed.proj.bias"]


def vit(s, p, x, layers, heads=HEADS, eps=1e-5):
    x = patches_of(s, p, x)
    x = torch.cat([s[f"{p}cls_token"].repeat(len(x), 1, 1), x], 1) + s[f"{p}pos_embed"]
    for i in layers:
        b = f"{p}blocks.{i}"
        x = x + linear(s, f"{b}.attn.proj", attend(linear(s, f"{b}.attn.qkv", norm(s, f"{b}.norm1", x, eps)), heads))
        hidden = F.gelu(linear(s, f"{b}.mlp.fc1", norm(s, f"{b}.norm2", x, eps)))
        x = x + linear(s, f"{b}.mlp.fc2", hidden)
    return norm(s, f"{p}norm", x, eps)[:, 0]


def encoder(s, p, x):
    depth = len({k.split(".")[len(p.split(".")) + 1] for k in s if k.startswith(f"{p}.layers.")})
    for i in range(depth):
        a, m = f"{p}.layers.{i}.0", f"{p}.layers.{i}.1"
        x = linear(s, f"{a}.to_out.0", attend(linear(s, f"{a}.to_qkv", norm(s, f"{a}.norm", x)), 4)) + x
        x = linear(s, f"{m}.net.4", F.gelu(linear(s, f"{m}.net.1", norm(s, f"{m}.condln", x)))) + x
    return norm(s, f"{p}.norm", x)


def with_code(x):
    _, n, d = x.shape
    code = torch.zeros(n, d)
    for position in range(n):
        for i in range(0, d, 2):
            angle = torch.tensor(position / 10000 ** (i / d))
            code[position, i], code[position, i + 1] = torch.sin(angle), torch.cos(angle)
    return x + code


def stem(s, name, x, size=(100, 100), pool=3):
    normed = f"{name}.2.running_mean" in s
    x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
    for step, i in enumerate((1, 4, 8) if normed else (1, 3, 6)):
        if step == 2:
            x = F.max_pool2d(x, pool)
        x = F.conv2d(x, s[f"{name}.{i}.weight"], s[f"{name}.{i}.bias"])
        if normed:
            j = f"{name}.{i + 1}"
            x = F.batch_norm(x, s[f"{j}.running_mean"], s[f"{j}.running_var"], s[f"{j}.weight"], s[f"{j}.bias"])
        x = x.clamp_min(0)
    return linear(s, f"{name}.{12 if normed else 9}", x.flatten(1))


def controller(s, layout, first, second):
    """Inputs (B, N, C, H, W) to layer logits (B, 2 * DEPTH) and raw corruption outputs."""
    names = STEMS[layout]
    if layout == "mmfi":
        first, second = first[:, :3], second[:, :3]
    tokens = []
    for name, x in zip(names, (first, second), strict=True):
        wide = layout == "ave" and name == "audio"
        rows = stem(s, f"controller.encoder_dict.{name}", x.flatten(0, 1), *(((128, 512), (3, 6)) if wide else ()))
        tokens.append(rows.view(len(x), x.shape[1], -1))
    tokens = torch.cat(tokens, 1)
    if layout == "mmfi":
        seen = encoder(s, "controller.combiner_encoder", with_code(tokens)).mean(1)
    else:
        start = s["controller.cls"][None].repeat(len(tokens), 1, 1)
        seen = encoder(s, "controller.combiner_encoder", with_code(torch.cat([start, tokens], 1)))[:, 0]
    logits = linear(s, "controller.output_head.2", linear(s, "controller.output_head.0", seen).relu())
    raw = linear(s, "controller.noise_output.2", linear(s, "controller.noise_output.0", seen).relu())
    return logits, raw


def fused(s, layout, first, second, layers):
    """The embedding before the head."""
    other = "audio" if layout == "ave" else "depth"
    one, two = ("0", "2") if layout == "mmfi" else ("fc1", "fc2")
    tokens = []
    for name, x, chosen in zip(("vision", other), (first, second), layers, strict=True):
        if f"{name}.cls_token" not in s:
            continue
        y = linear(s, f"{name}_adapter.{one}", vit(s, f"{name}.", x.flatten(0, 1), chosen))
        y = y.relu() if layout == "mmfi" else F.leaky_relu(y, 0.01)
        tokens.append(linear(s, f"{name}_adapter.{two}", y).view(len(x), x.shape[1], -1))
    return encoder(s, "encoder", with_code(torch.cat(tokens, 1))).mean(1)


def gaussian_cm(s, x):
    """Mean (B, 2) and covariance (B, 2, 2) over OptiTrack's x and z, cm."""
    for _ in range(2):
        x = F.gelu(linear(s, "output_head.mlp.0", x))
    both = torch.cat([linear(s, "output_head.mean_head", x), linear(s, "output_head.cov_head", x)], -1)
    mean, rest = (both[:, :2].sigmoid() - 0.5) * 2 * 200, both[:, 3:6]
    covariance = torch.zeros(len(x), 2, 2)
    for i, (a, b, c) in enumerate(rest):
        low = torch.stack([torch.stack([F.softplus(a), torch.zeros(())]), torch.stack([c, F.softplus(b)])])
        covariance[i] = low @ low.T + torch.eye(2)
    return mean, covariance


def top_layers(logits, total):
    """The official choice of one sample: layer 0 of both, then the best of the rest."""
    logits = logits.clone()
    logits[[0, DEPTH]] = -99
    chosen = [*logits.topk(total - 2).indices.tolist(), 0, DEPTH]
    return sorted(i for i in chosen if i < DEPTH), sorted(i - DEPTH for i in chosen if i >= DEPTH)
