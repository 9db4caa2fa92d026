# SPDX-License-Identifier: Apache-2.0
"""How the controller's scores become layers while it is trained (Sections 3.4.3 and A.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from admn_ros.errors import InputError
from admn_ros.model.allocation import gumbel_top_l
from admn_ros.model.qoi import ControllerOutput
from admn_ros.sample import Modality
from admn_ros.training.config import Selection

Masks = dict[Modality, Tensor]
SCORE_BOUND = 3.0
"""NeuralSort's scores stay within it, so that the noise always matters."""


def select(kind: Selection, logits: Mapping[Modality, Tensor], available: Mapping[Modality, Tensor], layers: int,
           tau: float = 1.0, noise: torch.Generator | None = None) -> Masks:
    """Choose `layers` layers for each sample of a batch, with gradients to the scores.

    gumbel: the paper's; top L of a Gumbel-softmax, its gradient straight through. Masks are exactly 0 or 1.
    straight_through: top L of the scores themselves, the mask's gradient copied to them; no noise, no softmax.
    progressive: Xie and Ermon 2019; L softmaxes in turn, each with less of what the one before took. Soft masks
        that the frozen network sees as they are; single values can exceed 1. Small `tau` makes them nearly hard.
    neuralsort: NeuralSort (Grover et al. 2019) on scores bounded to (-3, 3) with Gumbel noise, as in the budget-token
        controllers that followed ADMN; the mask is the top L and its gradient that of the relaxed sort's first rows.

    In all of them the first layer of an available modality is on, and each sample's mask sums to the smaller of
    `layers` and the layers it has.

    Args:
        kind: which.
        logits: (B, depth) per modality.
        available: (B,) bool per modality; what is to be left out is not available.
        layers: first layers included.
        tau: temperature above 0; straight_through has none.
        noise: on the device of the logits.

    Raises:
        InputError: tau is not above 0, or the layers do not hold the first layers.
    """
    if kind == "gumbel":
        return gumbel_top_l(logits, available, layers, tau, noise)
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
    """Sum of the first rows of NeuralSort's relaxed permutation (Grover et al. 2019, Equation 5).

    Row i of a sample with n free scores s is the softmax over j of ((n + 1 - 2i) s_j - sum_k |s_j - s_k|) / tau; as
    tau falls it becomes the one-hot place of the i-th largest.

    Args:
        scores: (B, C).
        free: (B, C) bool, which of them are sorted; the others get 0.
        count: (B,), how many rows, at most the free scores of the sample.
        tau: temperature above 0.

    Returns:
        (B, C), rows that sum to `count`; single values can exceed 1.
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
    """What stays available within a budget of layers: as in `allocate`, whole modalities go, worst QoI first.

    Without QoI the later ones in the model's order go.

    Args:
        output: of the controller, for its QoI.
        available: (B,) bool per modality of the model.
        layers: of all modalities together, at least 1.

    Returns:
        (B,) bool per modality of the model, of which at most `layers` are true in each sample.
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
    """Scores (B, C), layers always on and free to choose (B, C), and how many of the free ones fit (B,)."""
    flat = torch.cat(list(logits.values()), dim=1)
    usable = torch.cat([available[m][:, None].expand_as(x) for m, x in logits.items()], dim=1)
    first = torch.cat([torch.arange(x.shape[1], device=x.device) == 0 for x in logits.values()])
    always, free = usable & first, usable & ~first
    spare = layers - always.sum(dim=1)
    if bool((spare < 0).any()):
        raise InputError("layers", layers, "at least one for each available modality of every sample")
    return flat, always, free, torch.minimum(spare, free.sum(dim=1))


def _best(scores: Tensor, always: Tensor, free: Tensor, spare: Tensor) -> Tensor:
    """Masks (B, C) of 0 and 1: what is always on, and the `spare` (B,) best of the free."""
    rank = scores.detach().masked_fill(~free, -torch.inf).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (always | (free & (rank < spare[:, None]))).to(scores.dtype)


def _gumbel(scores: Tensor, noise: torch.Generator | None) -> Tensor:
    """Scores with standard Gumbel noise."""
    # Minus the log of an exponential variable; the clamp guards log(0).
    exponential = torch.empty_like(scores).exponential_(generator=noise)
    return scores - exponential.clamp_min(torch.finfo(scores.dtype).tiny).log()


def _progressive(flat: Tensor, free: Tensor, spare: Tensor, tau: float, noise: torch.Generator | None) -> Tensor:
    """Relaxed choice of `spare` (B,) of the free layers: (B, C), rows that sum to `spare`."""
    lowest = torch.finfo(flat.dtype).min / 2  # not -inf: rows without free layers would be NaN
    scores = _gumbel(flat, noise).masked_fill(~free, lowest)
    taken, last = torch.zeros_like(flat), torch.zeros_like(flat)
    for turn in range(int(spare.max()) if len(spare) else 0):
        # The logarithm of what is left of each layer takes out what the turn before has chosen.
        scores = scores + (1 - last).clamp_min(torch.finfo(flat.dtype).eps).log()
        last = torch.where(free, (scores / tau).softmax(dim=1), 0.0)
        taken = taken + torch.where((turn < spare)[:, None], last, 0.0)
    # Where all fit there is nothing to choose; the softmaxes would share them out unevenly.
    return torch.where((spare == free.sum(dim=1))[:, None], free.to(flat.dtype), taken)
