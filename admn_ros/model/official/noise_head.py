# SPDX-License-Identifier: Apache-2.0
"""Whether the corruption head of an official controller was trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal, get_args

from torch import Tensor

from admn_ros.errors import InputError

Qoi = Literal["auto", "trained", "untrained"]
"""Whether the corruption head was trained; "auto" tells it from the weights."""
LAYERS: Final = ("qoi.mlp_corruption.0", "qoi.mlp_corruption.2")
TOLERANCE: Final = 1e-3
"""Rounding of weights that were stored with 16 bits, as a share."""
NOTES: Final = {
    True: "corruption head trained: QoI is published and used; --qoi untrained if the controller was not trained on "
          "corruption labels",
    False: "corruption head not trained (as in ADMN_AE, or with the task loss alone): no QoI; --qoi trained overrides"}


def judges_quality(weights: Mapping[str, Tensor], qoi: Qoi) -> bool:
    """Return whether the corruption head of a controller counts as trained.

    The release freezes the head of an ADMN_AE controller, and a controller that learns from the task loss alone gives
    it no gradient. It then still has the values of PyTorch's initialization, within 1 / sqrt(inputs) of zero. Training
    on corruption moves some of its tens of thousands of weights out of this range; without that sign, the head counts
    as not trained.

    Args:
        weights: weights by their names in this package.
        qoi: what the user knows.

    Raises:
        InputError: there is no such choice, or the checkpoint has no controller that could be trained.
    """
    if qoi not in get_args(Qoi):
        raise InputError("qoi", qoi, ", ".join(get_args(Qoi)))
    there = all(f"{layer}.weight" in weights for layer in LAYERS)
    if qoi == "trained" and not there:
        raise InputError.conflict("qoi trained", "a checkpoint without controller", "import the Stage 2 checkpoint")
    return there and (qoi == "trained" or (qoi == "auto" and any(_moved(weights, layer) for layer in LAYERS)))


def _moved(weights: Mapping[str, Tensor], layer: str) -> bool:
    """Return whether a linear layer has values that its initialization does not give."""
    weight, bias = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
    if weight.ndim != 2:
        return False  # refused where shapes are checked
    largest = max(float(weight.abs().max()), float(bias.abs().max()))
    return largest > (1 + TOLERANCE) / math.sqrt(weight.shape[1])
