# SPDX-License-Identifier: Apache-2.0
"""What a latency benchmark measures."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field

from admn_ros.config import BackboneConfig, Count, DepthInput, ModalityConfig, ModelConfig, Positive, RgbInput, Strict
from admn_ros.model.checkpoint import initialize, load_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.presets import CAR_CLASSES, GDTM_NODES
from admn_ros.sample import Modality
from admn_ros.share import find_shipped

Precision = Literal["float32", "bfloat16", "float16"]
WIDTHS = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}
"""Width and heads of ViT-Tiny, ViT-Small and ViT-Base."""


class LatencyPlan(Strict):
    """Cases of a run: all combinations, but for more layers than a model has.

    Attributes:
        models: `tiny`, `small` and `base` are untrained ViTs for RGB and depth of 224 x 224 pixels at three sensor
            nodes; others are model folders, or names of shipped models.
        layers: layers of all modalities together.
        batches: frames at a time.
        nodes: numbers of present sensor nodes.
        precisions: floating-point precisions.
        device: `cpu` or `cuda`.
        threads: CPU threads of the networks; 0 for half of the cores, at most 4.
        repeats: timed runs of each contender in a case, at most.
        seconds: time after which a case is not repeated any more; every contender has at least three timed runs.
        seed: seed of inputs and untrained weights.
    """

    models: tuple[str, ...] = ("tiny", "gdtm")
    layers: tuple[Count, ...] = (1, 2, 4, 12, 24)
    batches: tuple[Count, ...] = (1, 8)
    nodes: tuple[Count, ...] = (3,)
    precisions: tuple[Precision, ...] = ("float32",)
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    repeats: Annotated[int, Field(ge=3, le=100_000)] = 30
    seconds: Positive = 2.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


def plan_for(device: Literal["cpu", "cuda"], *, quick: bool = False) -> LatencyPlan:
    """Return the default plan of a device: larger models and bfloat16 on a GPU; `quick` for a few small cases."""
    if quick:
        return LatencyPlan(device=device, models=("gdtm",), layers=(1, 4, 12), batches=(1, 2), nodes=(1,),
                           repeats=5, seconds=0.5)
    if device == "cpu":
        return LatencyPlan()
    return LatencyPlan(device=device, models=("tiny", "small", "base", "gdtm"), nodes=(1, 3),
                       precisions=("float32", "bfloat16"))


def open_network(name: str, seed: int, device: torch.device) -> AdmnNetwork:
    """Return an untrained ViT, or the network of a model folder.

    Args:
        name: as in `LatencyPlan.models`.
        seed: seed of untrained weights.
        device: device of the network.

    Raises:
        ModelError: there is no such model.
    """
    if name not in WIDTHS:
        return load_model(find_shipped(name, "models"), device)
    network = AdmnNetwork(vit_config(name))
    initialize(network, seed)
    return network.eval().to(device)


def vit_config(name: str) -> ModelConfig:
    """Return the configuration of an untrained ViT, a key of `WIDTHS`: 12 layers of each of two modalities."""
    dim, heads = WIDTHS[name]
    backbone = BackboneConfig(dim=dim, heads=heads)
    return ModelConfig(name=f"vit-{name}", trained=False, sensor_nodes=GDTM_NODES, classes=CAR_CLASSES,
                       modalities={Modality.RGB: ModalityConfig(input=RgbInput(), backbone=backbone),
                                   Modality.DEPTH: ModalityConfig(input=DepthInput(), backbone=backbone)})
