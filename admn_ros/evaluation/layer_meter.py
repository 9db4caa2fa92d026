# SPDX-License-Identifier: Apache-2.0
"""What a frame really spent: layers are counted as they run, and their price is compared with what was granted.

The meter also keeps what the controller saw, which no estimate tells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np
from torch.utils.hooks import RemovableHandle

from admn_ros.budget.budget import MICRO, Budget, exact
from admn_ros.budget.costs import LayerCosts
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.qoi import ControllerOutput
from admn_ros.sample import Modality
from admn_ros.scoring.metrics import Floats

Layers = dict[Modality, tuple[int, ...]]


class LayerMeter:
    """Counts the backbone layers of a network as they are executed."""

    def __init__(self, network: AdmnNetwork) -> None:
        self._network = network
        self._ran: dict[Modality, list[int]] = {}
        self._latent: Floats | None = None

    @contextmanager
    def watching(self) -> Iterator[LayerMeter]:
        """Count for the duration."""
        handles: list[RemovableHandle] = [self._network.qoi.register_forward_hook(self._keep)]
        for modality in self._network.config.modalities:
            for number, block in enumerate(self._network.backbone(modality).blocks):
                handles.append(block.register_forward_hook(partial(self._note, modality, number)))
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def take(self) -> Layers:
        """Layers that ran since the last call, in the order in which they ran; every modality is named."""
        ran, self._ran = self._ran, {}
        return {m: tuple(ran.get(m, ())) for m in self._network.config.modalities}

    def take_latent(self) -> Floats:
        """The controller's embedding (dim,) of the last frame; NaN if it was not asked since the last call."""
        latent, self._latent = self._latent, None
        return np.full(self._network.config.qoi.dim, np.nan) if latent is None else latent

    def _keep(self, module: object, inputs: object, output: ControllerOutput) -> None:
        self._latent = output.e_corr[0].double().cpu().numpy()

    def _note(self, modality: Modality, number: int, *_: object) -> None:
        self._ran.setdefault(modality, []).append(number)


def price(ran: Mapping[Modality, tuple[int, ...]], present: Mapping[Modality, int], table: LayerCosts) -> int:
    """Micro-units of a frame that ran these layers; 0 when none ran.

    Args:
        ran: layers per modality.
        present: present sensor nodes per modality.
        table: what things cost.
    """
    if not any(ran.values()):
        return 0
    used = ((table.modalities[m], present[m], len(layers)) for m, layers in ran.items() if layers)
    return table.base(present) + sum(c.entry[n - 1] + k * c.layer[n - 1] for c, n, k in used)


def is_violated(micro: int, granted: Budget, table: LayerCosts) -> bool:
    """Whether a price is above a budget in the unit of its table."""
    return not math.isinf(granted.limit) and bool(micro > exact(granted.limit) * MICRO[table.unit])
