# SPDX-License-Identifier: Apache-2.0
"""Pretrained ViT backbones of MAE, AudioMAE, DeiT and timm, whose weight names this package uses."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from admn_ros.errors import InputError, ModelError
from admn_ros.model.official.safe_unpickle import ImportReport
from admn_ros.model.official.state_dict import as_floats, some_of
from admn_ros.model.vit import AdaptiveViT, PatchEmbed

Kind = Literal["auto", "mae", "timm", "deit", "audiomae"]

AUDIOMAE_ROWS = 8
"""Ratio of time frames to mel bands in AudioMAE's spectrograms (1024 x 128)."""

# Decoders, heads and tokens that a class-token backbone does not use.
SPARE = re.compile(r"(decoder_\w+|mask_token|head|head_dist|fc_norm|dist_token|pre_logits)(\.|$)")
BLOCK = re.compile(r"blocks\.(\d+)\.")
POSITION, PATCH = "pos_embed", "patch_embed.proj.weight"


def load_backbone(vit: AdaptiveViT, state: Mapping[str, Tensor], kind: Kind = "auto", *,
                  source_grid: tuple[int, int] | None = None) -> ImportReport:
    """Load a pretrained backbone into a backbone of this package, in place (paper Section 3.2 starts from MAE).

    Patch embedding: the response to equal channels is kept, so that 3 channels are summed into 1, and 1 becomes 3 of
    one third each. Kernels of another size are pooled, so that a coarser image has the same response. Position
    embeddings are interpolated bicubically over the grid of patches; that of the class token is kept, that of a
    distillation token is dropped. AudioMAE's spectrograms have time along the rows, those of this package along the
    columns, so that its kernels and grid are transposed. The epsilon of the layer norms, which no file contains, is
    1e-6, as in MAE, AudioMAE, DeiT and timm.

    Args:
        vit: backbone; changed only if everything fits.
        state: weights from `read_foreign`; of a deeper backbone, the last layers are not used.
        kind: origin of the weights; "auto" detects it from names and shapes.
        source_grid: rows and columns of the patches if they are not square (8 to 1 for AudioMAE).

    Raises:
        InputError: the kind does not exist.
        ModelError: the weights are not those of a ViT with these names, have another width, are not finite, or have
            parts that this package lacks and that change the output.
    """
    if PATCH not in state:
        raise ModelError("checkpoint", f"names such as {some_of(list(state), 3) or 'none'}",
                         f"the names of timm's ViT, with {PATCH}")
    if kind not in get_args(Kind):
        raise InputError("kind", kind, ", ".join(get_args(Kind)))
    source = _Source(state, guess_kind(state) if kind == "auto" else kind, source_grid)
    own = vit.state_dict()
    ignored = _spare(state, own, vit.depth)
    values: dict[str, Tensor] = {}
    interpolated = []
    for name, target in own.items():
        if name not in state:
            continue
        value, resampled = source.adapt(name, vit)
        if value.shape != target.shape:
            raise ModelError(name, tuple(state[name].shape), f"a shape that converts to {tuple(target.shape)}")
        values[name] = value
        if resampled:
            interpolated.append(name)
    vit.load_state_dict(values, strict=False)
    missing = tuple(name for name in own if name not in values)
    return ImportReport(tuple(n for n in values if n not in interpolated), tuple(interpolated), ignored, missing,
                        tuple(source.notes(vit, ignored, missing)))


def guess_kind(state: Mapping[str, Tensor]) -> Kind:
    """Return the origin of weights with `PATCH`. AudioMAE is the only kind that is treated differently."""
    position = state.get(POSITION)
    tokens = position.shape[1] if position is not None and position.ndim == 3 else 0
    if state[PATCH].shape[1:2] == (1,) and any(_columns(n, AUDIOMAE_ROWS) for n in (tokens, tokens - 1)):
        return "audiomae"
    if "dist_token" in state:
        return "deit"
    return "mae" if any(name.startswith("decoder_") for name in state) else "timm"


@dataclass(frozen=True)
class _Source:
    """Foreign backbone: its weights, their origin, and the grid if it was given."""

    state: Mapping[str, Tensor]
    kind: str
    given_grid: tuple[int, int] | None

    @property
    def prefix(self) -> int:
        """Number of positions before those of the patches; 0 where class tokens have none (timm: no_embed_class)."""
        tokens = 2 if "dist_token" in self.state else 1
        count = self.state[POSITION].shape[1]
        return 0 if self.given_grid is None and _columns(count, self.tall) and not _columns(
            count - tokens, self.tall) else tokens

    @property
    def tall(self) -> int:
        """Ratio of rows to columns of a grid that was not given."""
        return AUDIOMAE_ROWS if self.kind == "audiomae" else 1

    def adapt(self, name: str, vit: AdaptiveViT) -> tuple[Tensor, bool]:
        """Convert a foreign tensor to the shape of the backbone; return it, and whether it was resampled."""
        value = as_floats(name, self.state[name])
        if name == POSITION:
            return self._positions(value, vit)
        return self._kernel(value, vit) if name == PATCH else (value, False)

    def _kernel(self, value: Tensor, vit: AdaptiveViT) -> tuple[Tensor, bool]:
        if value.ndim != 4:
            raise ModelError(PATCH, tuple(value.shape), "(width, channels, rows, columns)")
        if self.kind == "audiomae":
            value = value.transpose(2, 3)
        channels, patch = vit.shape[0], _patch(vit)
        if value.shape[1] != channels:
            value = value.sum(dim=1, keepdim=True).expand(-1, channels, -1, -1) / channels
        size = (value.shape[2], value.shape[3])
        if size == patch:
            return value, False
        # Pixels that a larger kernel would see repeated are summed: the smaller kernel has the same response.
        return F.interpolate(value, patch, mode="area") * (math.prod(size) / math.prod(patch)), True

    def _positions(self, value: Tensor, vit: AdaptiveViT) -> tuple[Tensor, bool]:
        if value.ndim != 3 or len(value) != 1 or value.shape[1] <= self.prefix or value.shape[1] == 1:
            raise ModelError(POSITION, tuple(value.shape), "(1, class token + patches, width)")
        target, grid = target_grid(vit), self.grid(value.shape[1] - self.prefix)
        patches = value[:, self.prefix:].reshape(1, *grid, -1).permute(0, 3, 1, 2)
        if self.kind == "audiomae":
            patches = patches.transpose(2, 3)
        resampled = tuple(patches.shape[2:]) != target
        if resampled:
            patches = F.interpolate(patches, target, mode="bicubic", align_corners=False, antialias=True)
        # A class token without a position of its own has the position 0.
        first = value[:, :1] if self.prefix else torch.zeros_like(value[:, :1])
        return torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1), resampled

    def grid(self, patches: int) -> tuple[int, int]:
        """Return rows and columns of the foreign grid."""
        if self.given_grid is not None:
            if math.prod(self.given_grid) != patches:
                raise InputError("source_grid", self.given_grid, f"rows and columns of {patches} patches")
            return self.given_grid
        columns = _columns(patches, self.tall)
        if not columns:
            raise ModelError(POSITION, f"{patches} patches", f"a grid of {self.tall} to 1, or source_grid")
        return self.tall * columns, columns

    def notes(self, vit: AdaptiveViT, ignored: tuple[str, ...], missing: tuple[str, ...]) -> list[str]:
        """Return notes for the user of this import."""
        notes = [f"read as {self.kind}; LayerNorm epsilon 1e-6"]
        if POSITION in self.state:
            grid = self.grid(self.state[POSITION].shape[1] - self.prefix)
            notes.append(f"positions of {grid[0]} x {grid[1]} patches to {target_grid(vit)[0]} x {target_grid(vit)[1]}"
                         + (", transposed" if self.kind == "audiomae" else "")
                         + ("" if self.prefix else "; none for the class token"))
        if self.state[PATCH].shape[1] != vit.shape[0]:
            notes.append(f"patch embedding from {self.state[PATCH].shape[1]} channels to {vit.shape[0]}")
        if any(n.startswith("fc_norm.") for n in ignored) and "norm.weight" in missing:
            notes.append("the last norm was trained on the mean of the patches, not on the class token; it is "
                         "not loaded and must be trained")
        unused = {n.split(".")[1] for n in ignored if n.startswith("blocks.")}
        if unused:
            notes.append(f"last layers that are not used: {len(unused)}")
        return notes


def _columns(patches: int, tall: int) -> int:
    """Return the columns of a grid of `tall` times as many rows; 0 if the patches fill no such grid."""
    columns = math.isqrt(max(patches, 0) // tall)
    return columns if tall * columns * columns == patches else 0


def target_grid(vit: AdaptiveViT) -> tuple[int, int]:
    """Return rows and columns of the backbone's patches."""
    rows, columns = _patch(vit)
    return vit.shape[1] // rows, vit.shape[2] // columns


def _patch(vit: AdaptiveViT) -> tuple[int, int]:
    if not isinstance(vit.patch_embed, PatchEmbed):
        raise ModelError("backbone.stem", "convolutions",
                         "patch; a pretrained ViT has no convolutions before its layers")
    rows, columns = vit.patch_embed.proj.kernel_size
    return rows, columns


def _spare(state: Mapping[str, Tensor], own: Mapping[str, Tensor], depth: int) -> tuple[str, ...]:
    """Return the foreign tensors without a counterpart.

    Raises:
        ModelError: one of them changes the output of the backbone (layer scale, register tokens, ...).
    """
    spare = []
    for name in state:
        if name in own:
            continue
        block = BLOCK.match(name)
        if not SPARE.match(name) and not (block and int(block[1]) >= depth):
            raise ModelError(name, "a part that the backbone does not have", "the plain ViT of MAE, DeiT and timm")
        spare.append(name)
    return tuple(spare)
