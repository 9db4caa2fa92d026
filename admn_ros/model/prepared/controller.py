# SPDX-License-Identifier: Apache-2.0
"""Controller for inference."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.model.prepared.looks import LARGEST_KERNEL, PreparedLook, looks_square
from admn_ros.model.prepared.rows import Bools, rows_of
from admn_ros.model.prepared.transformer import Affine, PreparedEncoder, gelu
from admn_ros.model.prepared.workspace import Workspace
from admn_ros.model.qoi import ControllerOutput, QoiEncoder, QualityNet
from admn_ros.model.value.head import InputValue, ValueHead, bounded_value
from admn_ros.sample import Modality, SampleBatch


class PreparedController(nn.Module):
    """`QoiEncoder` with prepared convolutions; attention runs over the present inputs only where it can.

    It is a module for the sake of forward hooks.

    Args:
        encoder: the controller.
        shapes: (C, H, W) of the input of each modality.

    Attributes:
        looks: convolutions of each modality, (R, C, H, W) to (R, dim).
    """

    def __init__(self, encoder: QoiEncoder, shapes: Mapping[Modality, tuple[int, int, int]]) -> None:
        super().__init__()
        self._plain = (encoder,)  # in a tuple: its modules are no parts of this one
        workspace = Workspace()
        self.looks = {m: _look(encoder.stems[str(m)], shape, workspace) for m, shape in shapes.items()}
        self._encoder = PreparedEncoder(encoder.encoder)
        self._class = encoder.cls_token.detach() + self._encoder.code[:1]
        self._inputs = slice(1, 1 + len(shapes) * encoder.observed)
        self._value = None if encoder.value is None else PreparedValue(encoder.value, encoder.observed)
        self._judge = PreparedJudge(encoder)
        self._last_budget: tuple[list[float], Tensor] | None = None
        self._scores = Affine(encoder.mlp_layers[0]), Affine(encoder.mlp_layers[2])

    def forward(self, batch: SampleBatch, budget: Tensor | None = None) -> ControllerOutput:
        """Score the layers of every modality and estimate its corruption. Arguments as `QoiEncoder.perceive`."""
        size, nodes = len(next(iter(batch.present.values()))), self._plain[0].observed
        batch = batch.first(nodes)
        seen = torch.zeros(len(self.looks), size * nodes, self._plain[0].dim)
        here = np.zeros((size, len(self.looks), nodes), np.bool_)
        for place, (m, look) in enumerate(self.looks.items()):
            rows = rows_of(batch, m)
            if rows.index:
                rows.put(seen[place], look(rows.x))
                here[:, place] = rows.mask(size, nodes)
        return self.assess(seen.view(len(self.looks), size, nodes, -1), here, budget)

    def assess(self, seen: Tensor, here: Bools, budget: Tensor | None = None) -> ControllerOutput:
        """Do everything behind the convolutions.

        Args:
            seen: tokens (M, B, N, dim) of the observed sensor nodes, zero where absent.
            here: (B, M, N), which inputs are present.
            budget: as `QoiEncoder.perceive`.
        """
        plain = self._plain[0]
        e_corr = self._encode(seen, here, budget)
        logits = torch.split(self._scores[1](self._scores[0](e_corr).relu_()), list(plain.depths.values()), dim=1)
        if plain.nested:
            logits = tuple(torch.cat([x[:, :1], x[:, 1:].sort(dim=1, descending=True).values], dim=1) for x in logits)
        value = None if self._value is None else self._value(seen.transpose(0, 1), here)
        return ControllerOutput(dict(zip(plain.depths, logits, strict=True)), self._judge(e_corr), e_corr,
                                plain.judged, value)

    def _encode(self, seen: Tensor, here: Bools, budget: Tensor | None) -> Tensor:
        """Return e_corr (B, dim)."""
        modalities, size, nodes, dim = seen.shape
        plain, present = self._plain[0], here.reshape(size, -1)
        inputs = seen.transpose(0, 1).reshape(size, modalities * nodes, dim) + self._encoder.code[self._inputs]
        keep: Tensor | None = None
        if not present.all() and size == 1:  # attention over the present inputs
            inputs = inputs[:, torch.from_numpy(present[0])]
        elif not present.all():
            keep = torch.ones(size, len(self._encoder.code), dtype=torch.bool)
            keep[:, self._inputs] = torch.from_numpy(present)
        tokens = [self._class.expand(size, -1, -1), inputs]
        if plain.budget is not None:
            share = torch.ones(size) if budget is None else budget.to(seen)
            tokens.append(self._budget_token(plain.token_input(share, torch.from_numpy(here).unbind(1))))
        return self._encoder(torch.cat(tokens, dim=1), keep, first=True)[:, 0]

    def _budget_token(self, budget: Tensor) -> Tensor:
        """Return the tokens (B, 1, dim) of budgets (B,), which seldom change from frame to frame."""
        key = budget.tolist()
        if self._last_budget is None or self._last_budget[0] != key:
            self._last_budget = key, cast(nn.Module, self._plain[0].budget)(budget) + self._encoder.code[-1:]
        return self._last_budget[1]


class PreparedJudge:
    """`QoiEncoder.judge`."""

    def __init__(self, encoder: QoiEncoder) -> None:
        self._hidden, self._grades = Affine(encoder.mlp_corruption[0]), Affine(encoder.mlp_corruption[2])
        self._counts = encoder.grades
        self._levels = {m: torch.tensor(levels) for m, levels in encoder.levels.items()}

    def __call__(self, e_corr: Tensor) -> dict[Modality, Tensor]:
        """Return the corruption (B,) per modality of an embedding (B, dim)."""
        found = self._grades(self._hidden(e_corr).relu_())
        if not self._levels:
            return dict(zip(self._counts, F.softplus(found).unbind(1), strict=True))
        parts = zip(self._counts, torch.split(found, list(self._counts.values()), dim=1), strict=True)
        return {m: x.softmax(dim=1) @ self._levels[m] if m in self._levels else F.softplus(x[:, 0]) for m, x in parts}


class PreparedValue:
    """`ValueHead` with all inputs in one matrix."""

    def __init__(self, head: ValueHead, nodes: int) -> None:
        first = cast(nn.Linear, head.layers[0])
        features = head.modality.detach()
        weight = first.weight.detach().t()
        self._first = weight[:-features.shape[1]].contiguous()
        self._constant = (features @ weight[-features.shape[1]:] + first.bias.detach()).repeat_interleave(nodes, dim=0)
        self._second, self._last = Affine(head.layers[2]), Affine(head.layers[4])
        self._share = {m: x.detach() for m, x in head.shares().items()}

    def __call__(self, slots: Tensor, present: Bools) -> InputValue:
        """Predict the value of every input from its token; (B, M, N, dim), zero where not `present` (B, M, N)."""
        size, modalities, nodes, _ = slots.shape
        inputs = slots.reshape(size, modalities * nodes, -1)
        # The mean of the present inputs of each modality, and of all, beside each input.
        means = _averages(present.tobytes(), present.shape)
        beside = (means @ inputs).view(size, 2, modalities * nodes, -1)
        features = torch.cat([inputs, beside[:, 0], beside[:, 1]], dim=2).view(size * modalities * nodes, -1)
        hidden = gelu(torch.addmm(self._constant.repeat(size, 1), features, self._first))
        found = self._last(gelu(self._second(hidden)))
        return bounded_value(found.view(size, modalities, nodes, 2), torch.from_numpy(present), self._share)


@lru_cache(maxsize=64)
def _averages(present: bytes, shape: tuple[int, int, int]) -> Tensor:
    """Return matrices (B, 2 * M * N, M * N) from inputs to the means of their modality, and of all inputs."""
    here = np.frombuffer(present, np.bool_).reshape(shape)
    size, modalities, nodes = shape
    each = here / np.maximum(here.sum(axis=2, keepdims=True), 1)
    of_modality = np.zeros((size, modalities, nodes, modalities, nodes), np.float32)
    for m in range(modalities):
        of_modality[:, m, :, m] = each[:, m, None]
    flat = here.reshape(size, 1, -1)
    of_frame = (flat / np.maximum(flat.sum(axis=2, keepdims=True), 1)).repeat(modalities * nodes, axis=1)
    whole = np.concatenate([of_modality.reshape(of_frame.shape), of_frame], axis=1)
    return torch.from_numpy(whole.astype(np.float32))


def _look(stem: nn.Module, shape: tuple[int, int, int], workspace: Workspace) -> PreparedLook | nn.Module:
    if isinstance(stem, QualityNet) and looks_square(stem) and stem.shape.kernels[0] <= LARGEST_KERNEL:
        return PreparedLook(stem, shape, workspace)
    return stem
