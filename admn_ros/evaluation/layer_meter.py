# SPDX-License-Identifier: Apache-2.0
"""Counts the layers that a frame executes, and keeps the controller's embedding, which no estimate holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from torch.utils.hooks import RemovableHandle

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
