# SPDX-License-Identifier: Apache-2.0
"""Micro models, one for each shape that tests need. A frame takes milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from admn_ros.config import (
    AudioInput,
    BackboneConfig,
    DepthInput,
    FusionConfig,
    InputConfig,
    LocalizationConfig,
    ModalityConfig,
    ModelConfig,
    QoiConfig,
    RadarInput,
    RgbInput,
)
from admn_ros.sample import Modality

RGB, DEPTH, RADAR, AUDIO = Modality.RGB, Modality.DEPTH, Modality.RADAR, Modality.AUDIO
SPECTROGRAM = AudioInput(channels=1, fft=256, hop=128, mels=16, frames=16)
IMAGES = {RGB: RgbInput(height=32, width=32), DEPTH: DepthInput(height=32, width=32)}


def build(inputs: Mapping[Modality, InputConfig], backbone: BackboneConfig | Mapping[Modality, BackboneConfig], *,
          hidden: int | Mapping[Modality, int] = 16, **changes: Any) -> ModelConfig:
    """Return a model of two sensor nodes and two classes.

    Args:
        inputs: input of each modality.
        backbone: backbone of each modality, or one for all.
        hidden: hidden width of each modality's adapter, or one for all.
        **changes: other fields of `ModelConfig`.
    """
    modalities = {m: ModalityConfig(input=x, backbone=backbone if isinstance(backbone, BackboneConfig) else backbone[m],
                                    adapter_hidden=hidden if isinstance(hidden, int) else hidden[m])
                  for m, x in inputs.items()}
    fields = {"name": "micro", "trained": False, "sensor_nodes": ("left", "right"), "classes": ("a", "b"),
              "modalities": modalities, "fusion": FusionConfig(dim=12, depth=1, heads=2),
              "qoi": QoiConfig(size=32, dim=16, depth=1, heads=2)}
    return ModelConfig.model_validate(fields | changes)


def room() -> ModelConfig:
    """RGB, depth and audio of two sensor nodes, three layers each: a model for `helpers.datasets` and bags."""
    inputs = {RGB: RgbInput(height=32, width=32), DEPTH: DepthInput(height=32, width=32, channels=1),
              AUDIO: SPECTROGRAM.model_copy(update={"window_s": 0.136})}
    return build(inputs, BackboneConfig(dim=32, depth=3, heads=2, mlp_ratio=2.0, patch=(8, 8)),
                 sensor_nodes=("node1", "node2"), classes=("red_car", "green_car", "none"),
                 fusion=FusionConfig(dim=16, depth=1, heads=2),
                 qoi=QoiConfig(size=32, dim=16, depth=1, heads=2, layer_hidden=16, corruption_hidden=16))


def one_node() -> ModelConfig:
    """RGB and depth of one sensor node, three layers each: the fastest to train."""
    inputs = {RGB: RgbInput(height=32, width=32), DEPTH: DepthInput(height=32, width=32, channels=1)}
    return build(inputs, BackboneConfig(dim=16, depth=3, heads=2, mlp_ratio=1.0, patch=(16, 16)), hidden=8,
                 sensor_nodes=("node1",), classes=("car", "none"), fusion=FusionConfig(dim=16, depth=1, heads=2),
                 qoi=QoiConfig(size=32, dim=16, depth=1, heads=2, layer_hidden=8, corruption_hidden=8))


def images(*, budget_token: bool = False) -> ModelConfig:
    """RGB and depth with equal backbones of four layers."""
    return build(IMAGES, BackboneConfig(dim=16, depth=4, heads=2), hidden=8,
                 qoi=QoiConfig(size=32, dim=16, depth=1, heads=2, budget_token=budget_token))


def unequal_depths() -> ModelConfig:
    """RGB, depth and audio with four, five and two layers."""
    depths = {RGB: 4, DEPTH: 5, AUDIO: 2}
    return build({**IMAGES, AUDIO: SPECTROGRAM},
                 {m: BackboneConfig(dim=16, depth=d, heads=2, patch=(8, 8)) for m, d in depths.items()}, hidden=8)


def rectangular() -> ModelConfig:
    """Depth and radar of other heights than widths, unequal backbones, and a position of three axes."""
    inputs = {DEPTH: DepthInput(height=32, width=48, channels=1), RADAR: RadarInput(height=64, width=16, channels=2)}
    return build(inputs,
                 {DEPTH: BackboneConfig(dim=16, depth=4, heads=2, patch=(16, 8)),
                  RADAR: BackboneConfig(dim=24, depth=3, heads=3, mlp_ratio=2.5)}, hidden={DEPTH: 20, RADAR: 12},
                 fusion=FusionConfig(dim=12, depth=2, heads=2),
                 localization=LocalizationConfig(min_m=(-1.0, 0.0, 2.0), max_m=(1.0, 5.0, 2.5), std_floor_m=0.05))


def four_modalities() -> ModelConfig:
    """All modalities of two sensor nodes, 16 layers."""
    inputs = {RGB: RgbInput(height=32, width=32), DEPTH: DepthInput(height=32, width=32, channels=1),
              RADAR: RadarInput(height=32, width=32),
              AUDIO: AudioInput(channels=2, window_s=0.256, mels=32, frames=16)}
    return build(inputs, BackboneConfig(dim=32, depth=4, heads=2, patch=(16, 16)), hidden=32, name="small",
                 classes=("car", "none"), fusion=FusionConfig(dim=32, depth=1, heads=2),
                 qoi=QoiConfig(size=32, dim=32, depth=1, heads=2))


def clip() -> ModelConfig:
    """RGB and sound of three frames. The controller reads the first two, and a spectrogram that is no square."""
    inputs = {RGB: IMAGES[RGB], AUDIO: SPECTROGRAM}
    return build(inputs, BackboneConfig(dim=16, depth=3, heads=2, patch=(8, 8)), hidden=8,
                 sensor_nodes=("frame1", "frame2", "frame3"),
                 qoi=QoiConfig(size=32, dim=16, depth=1, heads=2, observed=2, spectrogram=(36, 48)))


def inputs_only(nodes: tuple[str, ...], inputs: Mapping[Modality, InputConfig]) -> ModelConfig:
    """These inputs of these sensor nodes; for tests that never run the network."""
    return build(inputs, BackboneConfig(patch=(16, 16)), sensor_nodes=nodes, classes=("a",))
