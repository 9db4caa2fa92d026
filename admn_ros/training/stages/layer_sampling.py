# SPDX-License-Identifier: Apache-2.0
"""Differentiable selection of layers by the controller's scores (Sections 3.4.3 and A.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from admn_ros.errors import InputError
from admn_ros.model.allocation import gumbel_top_l
from admn_ros.model.qoi import ControllerOutput
from admn_ros.sample import Modality

Masks = dict[Modality, Tensor]
"""(B, depth) per modality."""
Selection = Literal["gumbel", "straight_through", "progressive", "neuralsort"]
SCORE_BOUND = 3.0
"""Bound of NeuralSort's scores, so that the noise always has an effect."""


def select(kind: Selection, logits: Mapping[Modality, Tensor], available: Mapping[Modality, Tensor], layers: int,
           tau: float = 1.0, noise: torch.Generator | None = None,
           prices: Mapping[Modality, int] | None = None, scale: float = 1.0) -> Masks:
    """Select `layers` layers for each sample of a batch, differentiable in the scores.

    gumbel: the paper's method; top L of a Gumbel-softmax with a straight-through gradient. Masks are 0 or 1.
    straight_through: top L of the scores, with the mask's gradient copied to the scores; no noise, no softmax.
    progressive: Xie and Ermon 2019; L successive softmaxes, each with less of the layers chosen before. The frozen
        network gets the soft masks; single values can exceed 1. A small `tau` makes them nearly hard.
    neuralsort: NeuralSort (Grover et al. 2019) on scores bounded to (-3, 3) with Gumbel noise, as in the budget-token
        controllers that followed ADMN; the mask is the top L, its gradient that of the relaxed sort's first rows.

    In all of them the first layer of an available modality is on, and each sample's mask sums to `layers`, or to all
    its layers if these are fewer.

    Args:
        kind: method.
        logits: scores (B, depth) per modality.
        available: (B,) bool per modality; False excludes the modality.
        layers: number of layers, first layers included.
        tau: temperature above 0; unused by straight_through.
        noise: generator on the device of the logits.
        prices: cost of a layer of each modality, in the unit of `layers`, with gumbel only; None counts each as 1.
        scale: scale of the noise of gumbel; the others have standard noise.

    Raises:
        InputError: tau is not above 0, the layers do not hold the first layers, or prices with another kind.
    """
    if kind == "gumbel":
        return gumbel_top_l(logits, available, layers, tau, noise, prices, scale)
    if prices is not None:
        raise InputError("kind", kind, "gumbel, for layers of unequal costs")
    if not tau > 0:
        raise InputError("tau", tau, "a number above 0")
    flat, always, free, spare = _flatten(logits, available, layers)
    if kind == "straight_through":
        pass_on = torch.where(free, flat, 0.0)
        masks = _best(flat, always, free, spare) + (pass_on - pass_on.detach())
    elif kind == "neuralsort":
        noisy = _gumbel(SCORE_BOUND * flat.tanh(), noise)
        soft = relaxed_top(noisy, free, spare, tau)
        masks = _best(noisy, always, free, spare) + (soft - soft.detach())
    else:
        masks = always.to(flat.dtype) + _progressive(flat, free, spare, tau, noise)
    return dict(zip(logits, torch.split(masks, [x.shape[1] for x in logits.values()], dim=1), strict=True))


def relaxed_top(scores: Tensor, free: Tensor, count: Tensor, tau: float) -> Tensor:
    """Return the sum of the first rows of NeuralSort's relaxed permutation (Grover et al. 2019, Equation 5).

    Row i of a sample with n free scores s is the softmax over j of ((n + 1 - 2i) s_j - sum_k |s_j - s_k|) / tau; for
    small tau it approaches the one-hot position of the i-th largest.

    Args:
        scores: scores (B, C).
        free: (B, C) bool, scores to sort; the others get 0.
        count: number of rows (B,), at most the free scores of the sample.
        tau: temperature above 0.

    Returns:
        (B, C), each row with sum `count`; single values can exceed 1.
    """
    pairs = free[:, :, None] & free[:, None, :]
    spread = torch.where(pairs, (scores[:, :, None] - scores[:, None, :]).abs(), 0.0).sum(dim=2)
    row = torch.arange(1, scores.shape[1] + 1, device=scores.device)
    slope = free.sum(dim=1)[:, None] + 1 - 2 * row[None]
    lowest = torch.finfo(scores.dtype).min / 2  # not -inf: a sample without free scores would be NaN
    logits = (slope[:, :, None] * scores[:, None, :] - spread[:, None, :]) / tau
    rows = logits.masked_fill(~free[:, None, :], lowest).softmax(dim=2)
    wanted = (row[None] <= count[:, None])[:, :, None] & free[:, None, :]
    return torch.where(wanted, rows, 0.0).sum(dim=1)


def affordable(output: ControllerOutput, available: Mapping[Modality, Tensor], layers: int) -> dict[Modality, Tensor]:
    """Return the modalities that fit a budget of layers. As in `allocate`, those with the lowest QoI are dropped.

    Without QoI the last ones in the model's order are dropped.

    Args:
        output: output of the controller, for its QoI.
        available: (B,) bool per modality of the model.
        layers: budget of all modalities together, at least 1.

    Returns:
        (B,) bool per modality of the model, at most `layers` of them true in each sample.
    """
    if layers >= len(available):
        return dict(available)
    names = list(output.logits)
    there = torch.stack([available[m] for m in names], dim=1)
    quality = torch.stack([output.qoi[m].detach().float() for m in names], dim=1).nan_to_num(0.0)
    quality = quality.masked_fill(~there, -1.0)
    rank = quality.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return dict(zip(names, (there & (rank < layers)).unbind(dim=1), strict=True))


def _flatten(logits: Mapping[Modality, Tensor], available: Mapping[Modality, Tensor],
             layers: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return scores (B, C), layers that are always on and layers to choose from (B, C), and how many to choose (B,)."""
    flat = torch.cat(list(logits.values()), dim=1)
    usable = torch.cat([available[m][:, None].expand_as(x) for m, x in logits.items()], dim=1)
    first = torch.cat([torch.arange(x.shape[1], device=x.device) == 0 for x in logits.values()])
    always, free = usable & first, usable & ~first
    spare = layers - always.sum(dim=1)
    if bool((spare < 0).any()):
        raise InputError("layers", layers, "at least one for each available modality of every sample")
    return flat, always, free, torch.minimum(spare, free.sum(dim=1))


def _best(scores: Tensor, always: Tensor, free: Tensor, spare: Tensor) -> Tensor:
    """Return masks (B, C) of 0 and 1: layers that are always on, and the `spare` (B,) best of the free ones."""
    rank = scores.detach().masked_fill(~free, -torch.inf).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (always | (free & (rank < spare[:, None]))).to(scores.dtype)


def _gumbel(scores: Tensor, noise: torch.Generator | None) -> Tensor:
    """Add standard Gumbel noise to scores."""
    # Minus the log of an exponential variable; the clamp guards log(0).
    exponential = torch.empty_like(scores).exponential_(generator=noise)
    return scores - exponential.clamp_min(torch.finfo(scores.dtype).tiny).log()


def _progressive(flat: Tensor, free: Tensor, spare: Tensor, tau: float, noise: torch.Generator | None) -> Tensor:
    """Return a relaxed choice of `spare` (B,) of the free layers: (B, C), each row with sum `spare`."""
    lowest = torch.finfo(flat.dtype).min / 2  # not -inf: rows without free layers would be NaN
    scores = _gumbel(flat, noise).masked_fill(~free, lowest)
    taken, last = torch.zeros_like(flat), torch.zeros_like(flat)
    for turn in range(int(spare.max()) if len(spare) else 0):
        # The logarithm of the remainder excludes what the previous turn chose.
        scores = scores + (1 - last).clamp_min(torch.finfo(flat.dtype).eps).log()
        last = torch.where(free, (scores / tau).softmax(dim=1), 0.0)
        taken = taken + torch.where((turn < spare)[:, None], last, 0.0)
    # If all layers fit there is nothing to choose, and the softmaxes would weight them unevenly.
    return torch.where((spare == free.sum(dim=1))[:, None], free.to(flat.dtype), taken)
