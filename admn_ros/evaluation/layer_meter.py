# SPDX-License-Identifier: Apache-2.0
"""Measured cost of a frame: layers are counted as they execute, independently of what the allocation claims."""

from __future__ import annotations

from collections.abc import Sized
from functools import partial
from types import TracebackType

from torch import nn
from torch.utils.hooks import RemovableHandle

from admn_ros.inference.graphs.network import GraphNetwork
from admn_ros.inference.onnx.network import OnnxNetwork
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.prepared.network import PreparedNetwork
from admn_ros.model.qoi import ControllerOutput
from admn_ros.sample import Modality
from admn_ros.scoring.metrics import Floats

Layers = dict[Modality, tuple[int, ...]]


class LayerMeter:
    """Context manager that counts the backbone layers of all networks in a module as they execute.

    Each `with` block starts a new count.

    Args:
        module: network of any runtime, or a module with networks.

    Attributes:
        latent: embedding (dim,) of the controller in its last call; None if it was not called.
        nodes: largest number of rows of a layer that ran, per modality: for one frame, its sensor nodes.
    """

    def __init__(self, module: nn.Module) -> None:
        networks = [part for part in module.modules()
                    if isinstance(part, AdmnNetwork | GraphNetwork | OnnxNetwork | PreparedNetwork)]
        self._controllers = [network.qoi for network in networks]
        self._blocks = [(block, m, number) for network in networks for m in network.config.modalities
                        for number, block in enumerate(network.backbone(m).blocks)]
        self._handles: list[RemovableHandle] = []
        self._ran: dict[Modality, list[int]] = {m: [] for network in networks for m in network.config.modalities}
        self.latent: Floats | None = None
        self.nodes = dict.fromkeys(self._ran, 0)

    @property
    def layers(self) -> Layers:
        """Layers that ran, in the order of execution; every modality has an entry."""
        return {m: tuple(layers) for m, layers in self._ran.items()}

    def __enter__(self) -> LayerMeter:
        self._ran, self.latent, self.nodes = {m: [] for m in self._ran}, None, dict.fromkeys(self._ran, 0)
        self._handles = [
            *(controller.register_forward_hook(self._on_controller) for controller in self._controllers),
            *(block.register_forward_hook(partial(self._on_layer, m, number)) for block, m, number in self._blocks)]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()

    def _on_controller(self, module: object, inputs: object, output: ControllerOutput) -> None:
        self.latent = output.e_corr[0].double().cpu().numpy()

    def _on_layer(self, modality: Modality, number: int, module: object, inputs: object, output: Sized) -> None:
        self._ran[modality].append(number)
        self.nodes[modality] = max(self.nodes[modality], len(output))
