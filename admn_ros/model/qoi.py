# SPDX-License-Identifier: Apache-2.0
"""Controller: estimates the quality of information (QoI) and scores layers (paper Section 3.4.1, Figure 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import LayerCosts
from admn_ros.config import ModelConfig, QoiConfig
from admn_ros.model.present_nodes import present_rows, to_slots
from admn_ros.model.transformer import Encoder
from admn_ros.model.value.head import InputValue, ValueHead
from admn_ros.sample import Modality, SampleBatch

QOI_CHANNELS, QOI_POOL = (6, 6, 3), 3
"""Channels of the three convolutions of a `QualityNet`, and the pooling before the third."""
SPECTROGRAM_POOL = 6
"""Pooling along the time of a spectrogram that is not downsampled to a square (official code)."""
BUDGET_FEATURES = 7
"""Inputs of the budget token: the budget's share, with sine and cosine at three frequencies."""


class LookShape(NamedTuple):
    """Sizes of a `QualityNet`.

    Attributes:
        size: rows and columns of the downsampled input.
        kernels: sides of the three kernels.
        pool: rows and columns of the pooling before the third convolution.
    """

    size: tuple[int, int]
    kernels: tuple[int, int, int]
    pool: tuple[int, int] = (QOI_POOL, QOI_POOL)

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of the outputs of the convolutions."""
        first, second, third = self.kernels
        a = [side - first + 1 for side in self.size]
        b = [side - second + 1 for side in a]
        c = [side // pool - third + 1 for side, pool in zip(b, self.pool, strict=True)]
        return (a[0], a[1]), (b[0], b[1]), (c[0], c[1])


def look_shape(qoi: QoiConfig, modality: Modality) -> LookShape:
    """Return the sizes of the convolutions of a modality. Kernels of 10, 10 and 5 for the paper's 100 pixels."""
    wide, narrow = max(3, qoi.size // 10), max(3, qoi.size // 20)
    kernels = wide, wide, narrow
    if modality is Modality.AUDIO and qoi.spectrogram is not None:
        return LookShape(qoi.spectrogram, kernels, (QOI_POOL, SPECTROGRAM_POOL))
    return LookShape((qoi.size, qoi.size), kernels)


@dataclass(frozen=True)
class ControllerOutput:
    """Output of the controller for a batch.

    Attributes:
        logits: (B, depth) per modality: score of each backbone layer (pi in the paper).
        corruption: (B,) per modality, at least 0; 0 is clean (sigma in the paper).
        e_corr: (B, dim) embedding from which both are computed.
        judged: whether the controller was trained on corruption; otherwise there is no QoI.
        value: predicted value of each input; None if the model does not predict it.
    """

    logits: Mapping[Modality, Tensor]
    corruption: Mapping[Modality, Tensor]
    e_corr: Tensor
    judged: bool = True
    value: InputValue | None = None

    @property
    def qoi(self) -> dict[Modality, Tensor]:
        """Quality of information exp(-corruption) (B,) per modality in (0, 1]; 1 is clean. NaN if not judged."""
        if not self.judged:
            return {m: torch.full_like(s, torch.nan) for m, s in self.corruption.items()}
        return {m: torch.exp(-s).clamp_min(torch.finfo(s.dtype).tiny) for m, s in self.corruption.items()}


class QualityNet(nn.Module):
    """Small convolutions of one modality, shared by its sensor nodes."""

    def __init__(self, channels: int, shape: LookShape, dim: int) -> None:
        super().__init__()
        self.shape = shape
        (k1, k2, k3), (c1, c2, c3) = shape.kernels, QOI_CHANNELS
        self.layers = nn.Sequential(
            nn.Conv2d(channels, c1, k1), nn.ReLU(),
            nn.Conv2d(c1, c2, k2), nn.ReLU(),
            nn.MaxPool2d(shape.pool),
            nn.Conv2d(c2, c3, k3), nn.ReLU(),
            nn.Flatten(),
            nn.Linear(c3 * math.prod(shape.maps[-1]), dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (R, C, H, W) to (R, dim)."""
        out: Tensor = self.layers(downsampled(x, self.shape.size))
        return out


def downsampled(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Downsample inputs (R, C, H, W) to the rows and columns that the controller sees."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


def budget_share(table: LayerCosts, budget: Budget, present: Mapping[Modality, int]) -> float:
    """Return a budget as a share of the cost of all layers and embeddings of a frame, in [0, 1].

    The fixed part (controller, fusion, heads) is excluded, because the controller has no choice about it. An infinite
    budget has a share of 1. Shares in different units agree as far as the cost tables do.

    Args:
        table: costs in the budget's unit.
        budget: budget of the frame.
        present: number of present sensor nodes per modality.

    Raises:
        InputError: the units differ.
    """
    base, room = table.base(present), table.room(budget, present)
    full = table.total(present) - base
    return max(0, room - base) / full if full else 1.0


class BudgetToken(nn.Module):
    """Budget as a token of the controller.

    The paper learns one token for each of four budgets (`LearnedTokens`). Here, two layers embed the budget's share of
    the full cost (`budget_share`) with its sine and cosine at doubling frequencies, which gives a token for every
    budget. The highest frequency has half a period over the range of shares; higher ones would oscillate between the
    training budgets.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(BUDGET_FEATURES, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, share: Tensor) -> Tensor:
        """Map shares (B,) to tokens (B, 1, dim)."""
        turns = [2**k * math.pi / 4 * share for k in range((BUDGET_FEATURES - 1) // 2)]
        waves = [wave(turn) for turn in turns for wave in (torch.sin, torch.cos)]
        out: Tensor = self.layers(torch.stack([share, *waves], dim=1))
        return out[:, None]


class LearnedTokens(nn.Module):
    """A learned token for each of some budgets in layers (paper Section A.1).

    Args:
        dim: width of the tokens.
        budgets: ascending budgets.
    """

    budgets: Tensor

    def __init__(self, dim: int, budgets: Sequence[int]) -> None:
        super().__init__()
        self.tokens = nn.Embedding(len(budgets), dim)
        self.register_buffer("budgets", torch.tensor(budgets, dtype=torch.float32), persistent=False)

    def forward(self, layers: Tensor) -> Tensor:
        """Map budgets in layers (B,) to tokens (B, 1, dim): of the same budget or the next lower one, or the first."""
        # A two-hundredth of a layer for the rounding of shares.
        reached = (layers[:, None] + 0.005 >= self.budgets).sum(dim=1)
        out: Tensor = self.tokens((reached - 1).clamp_min(0))
        return out[:, None]


class QoiEncoder(nn.Module):
    """Layer scores and corruption from low-resolution inputs. `admn_ros.model.allocation` adds the Gumbel noise."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        q = config.qoi
        self.judged, self.nested = config.judges_quality, config.nested
        self.depths, self.observed, self.dim = config.depths, config.observed, q.dim
        self.stems = nn.ModuleDict({str(m): QualityNet(c.input.shape[0], look_shape(q, m), q.dim)
                                   for m, c in config.modalities.items()})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, q.dim))
        self.budget = None if not q.budget_token else BudgetToken(q.dim) if not q.token_budgets \
            else LearnedTokens(q.dim, q.token_budgets)
        slots = 1 + len(self.depths) * self.observed + q.budget_token
        self.encoder = Encoder(slots, q.dim, q.depth, q.heads, q.mlp_ratio)
        self.mlp_layers = nn.Sequential(
            nn.Linear(q.dim, q.layer_hidden), nn.ReLU(), nn.Linear(q.layer_hidden, config.layers_total))
        self.value = ValueHead(q.dim, self.depths, q.value_hidden) if config.predicts_values else None
        self.grade_as(config)

    def perceive(self, batch: SampleBatch, budget: Tensor | None = None) -> Tensor:
        """Embed the quality of all present inputs of a batch: e_corr (B, dim).

        Args:
            batch: inputs (B, N, C, H, W) per modality.
            budget: budgets (B,) as shares of the full cost, used if there is a budget token; None for the full cost.
        """
        return self._encode(*self.look(batch), budget)

    def look(self, batch: SampleBatch) -> tuple[list[Tensor], list[Tensor]]:
        """Return the tokens (B, N, dim) of each modality, and which of them are present (B, N).

        N is the number of sensor nodes that the controller reads.
        """
        batch, size = batch.first(self.observed), len(next(iter(batch.present.values())))
        tokens, present = zip(*(self._tokens(m, batch, size) for m in self.depths), strict=True)
        return list(tokens), list(present)

    def _encode(self, seen: Sequence[Tensor], present: Sequence[Tensor], budget: Tensor | None) -> Tensor:
        size = len(seen[0])
        # The class token is always present, so that attention is defined for a sample without inputs.
        tokens = [self.cls_token.expand(size, -1, -1), *seen]
        keep = [torch.ones(size, 1, dtype=torch.bool, device=self.cls_token.device), *present]
        if self.budget is not None:
            share = self.cls_token.new_ones(size) if budget is None else budget.to(self.cls_token)
            tokens.append(self.budget(self.token_input(share, present)))
            keep.append(keep[0])
        encoded: Tensor = self.encoder(torch.cat(tokens, dim=1), torch.cat(keep, dim=1))
        return encoded[:, 0]

    def token_input(self, share: Tensor, present: Sequence[Tensor]) -> Tensor:
        """Return what the budget token is made of (B,): shares, or layers for learned tokens.

        Args:
            share: budgets as shares of the full cost of the present inputs.
            present: which inputs (B, N) of each modality are present.
        """
        if not isinstance(self.budget, LearnedTokens):
            return share
        held = [depth * here.any(dim=1).to(share.dtype)
                for depth, here in zip(self.depths.values(), present, strict=True)]
        return share * torch.stack(held).sum(dim=0)

    def forward(self, batch: SampleBatch, budget: Tensor | None = None) -> ControllerOutput:
        """Score the layers of every modality and estimate its corruption. Arguments as `perceive`."""
        return self.score(*self.look(batch), budget)

    def score(self, tokens: Sequence[Tensor], present: Sequence[Tensor], budget: Tensor | None) -> ControllerOutput:
        """Score and judge as `forward`, from what `look` returns."""
        e_corr = self._encode(tokens, present, budget)
        logits = self.mlp_layers(e_corr).split(list(self.depths.values()), dim=1)
        if self.nested:  # of which the first layers run: the k highest scores are then those of layers 0 to k - 1
            logits = [torch.cat([x[:, :1], x[:, 1:].sort(dim=1, descending=True).values], dim=1) for x in logits]
        value = None if self.value is None else self.value(tokens, present)
        return ControllerOutput(dict(zip(self.depths, logits, strict=True)), self.judge(e_corr), e_corr, self.judged,
                                value)

    def grade_as(self, config: ModelConfig) -> None:
        """Replace the corruption head by a new one, with the categories of a configuration if it has any."""
        q, self.levels, self.grades = config.qoi, config.qoi.levels, config.grades
        for m, levels in self.levels.items():
            self.register_buffer(f"levels_{m}", torch.tensor(levels), persistent=False)
        self.mlp_corruption = nn.Sequential(
            nn.Linear(q.dim, q.corruption_hidden), nn.ReLU(), nn.Linear(q.corruption_hidden, sum(self.grades.values())))

    def grade(self, e_corr: Tensor) -> dict[Modality, Tensor]:
        """Return the raw corruption outputs (B, K) per modality of an embedding (B, dim); K is 1 without categories."""
        outputs = torch.split(self.mlp_corruption(e_corr), list(self.grades.values()), dim=1)
        return dict(zip(self.grades, outputs, strict=True))

    def judge(self, e_corr: Tensor) -> dict[Modality, Tensor]:
        """Return the corruption (B,) per modality: the output itself, or the expected severity of its categories."""
        return {m: x.float().softmax(dim=1) @ self.get_buffer(f"levels_{m}") if m in self.levels
                else F.softplus(x[:, 0]) for m, x in self.grade(e_corr).items()}

    def _tokens(self, modality: Modality, batch: SampleBatch, size: int) -> tuple[Tensor, Tensor]:
        """Return the tokens (B, N, dim) of a modality, and which of them are present (B, N)."""
        token = self.cls_token
        if modality in batch.inputs:
            present = batch.present[modality]
            rows, index = present_rows(batch.inputs[modality], present)
            if len(index):
                return to_slots(self.stems[str(modality)](rows), index, size, self.observed), present
        absent = torch.zeros(size, self.observed, dtype=torch.bool, device=token.device)
        return torch.zeros(size, self.observed, self.dim, dtype=token.dtype, device=token.device), absent
