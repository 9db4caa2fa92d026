# SPDX-License-Identifier: Apache-2.0
"""What a latency benchmark measures."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field

from admn_ros.config import BackboneConfig, Count, DepthInput, ModalityConfig, ModelConfig, Positive, RgbInput, Strict
from admn_ros.inference.hardware import cpu_precisions
from admn_ros.inference.model import load_model_config
from admn_ros.model.presets import CAR_CLASSES, GDTM_NODES
from admn_ros.sample import Modality

Precision = Literal["float32", "bfloat16", "float16"]
WIDTHS = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}
"""Width and heads of ViT-Tiny, ViT-Small and ViT-Base."""
MOST_THREADS = 4
"""Threads of the default plans, at most."""


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
        mixed: frames of a batch in which frame after frame has another one of the numbers of layers; 0 for no such
            batch. It is measured with the most sensor nodes.
        threads: numbers of CPU threads of the networks; 0 for half of the cores, at most 4.
        repeats: timed runs of each contender in a case, at most.
        seconds: time after which a case is not repeated any more; every contender has at least three timed runs.
        seed: seed of inputs and untrained weights.
    """

    models: tuple[str, ...] = ("tiny", "gdtm")
    layers: tuple[Count, ...] = (1, 2, 4, 12, 24)
    batches: tuple[Count, ...] = (1,)
    nodes: tuple[Count, ...] = (3,)
    precisions: tuple[Precision, ...] = ("float32",)
    device: Literal["cpu", "cuda"] = "cpu"
    mixed: Annotated[int, Field(ge=0, le=1024)] = 8
    threads: tuple[Annotated[int, Field(ge=0, le=1024)], ...] = (0,)
    repeats: Annotated[int, Field(ge=3, le=100_000)] = 30
    seconds: Positive = 2.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


def plans_for(device: Literal["cpu", "cuda"], *, quick: bool = False) -> tuple[LatencyPlan, ...]:
    """Return the default plans of a device, which take about five minutes; `quick` for a few small cases."""
    if quick:
        return (LatencyPlan(device=device, models=("gdtm",), layers=(1, 2, 4), batches=(1, 2), nodes=(1,), mixed=4,
                            repeats=5, seconds=0.5),)
    if device == "cuda":
        return (LatencyPlan(device=device, models=("tiny", "small", "base", "gdtm"), batches=(1, 8), nodes=(1, 3),
                            precisions=("float32", "bfloat16")),)
    cores = min(MOST_THREADS, os.cpu_count() or 1)
    threads = tuple(dict.fromkeys((1, cores)))
    return (LatencyPlan(models=("gdtm",), batches=(1, 8), nodes=(1, 3), threads=threads, seconds=1.5),
            LatencyPlan(models=("tiny",), threads=threads, seconds=1.5),
            LatencyPlan(models=("base",), layers=(6, 12, 24), mixed=2, threads=(cores,), precisions=cpu_precisions()))


def config_of(name: str) -> ModelConfig:
    """Return the configuration of a model of `LatencyPlan.models`.

    Raises:
        ConfigError: there is no such model, or its configuration is malformed.
    """
    return vit_config(name) if name in WIDTHS else load_model_config(name)


def vit_config(name: str) -> ModelConfig:
    """Return the configuration of an untrained ViT, a key of `WIDTHS`: 12 layers of each of two modalities."""
    dim, heads = WIDTHS[name]
    backbone = BackboneConfig(dim=dim, heads=heads)
    return ModelConfig(name=f"vit-{name}", trained=False, sensor_nodes=GDTM_NODES, classes=CAR_CLASSES,
                       modalities={Modality.RGB: ModalityConfig(input=RgbInput(), backbone=backbone),
                                   Modality.DEPTH: ModalityConfig(input=DepthInput(), backbone=backbone)})
