# SPDX-License-Identifier: Apache-2.0
"""Floating-point operations of a model, computed from its configuration.

Counted: matrix products, convolutions and the two products of attention; a multiply-add is 2. Not counted: norms,
activations, softmax, additions and the controller's downsampling, about one percent together. PyTorch's FLOP counter
follows the same rules, and the tests hold both equal for every part of every preset. The formulas stay because they
take no time: a node starts with them, and a governor needs no network. The counter takes a second and 75 MB at first
use (`admn_ros.model.frame_parts.count_flops`), and building a large network for it takes seconds more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from admn_ros.config import BackboneConfig, FusionConfig, ModelConfig, QoiConfig
from admn_ros.model.calibration import FRAME_SIGNS, MODALITY_SIGNS, POSE_NUMBERS
from admn_ros.model.evidence import POSE_FEATURES
from admn_ros.model.qoi import BUDGET_FEATURES, QOI_CHANNELS, LookShape, look_shape
from admn_ros.model.transformer import hidden_width
from admn_ros.model.value.head import MODALITY_FEATURES
from admn_ros.model.vit import FINE_KERNELS, FINE_KEYS, FINE_WIDTHS, stem_widths
from admn_ros.sample import Modality


@dataclass(frozen=True)
class ModalityFlops:
    """Operations of one modality with one present sensor node. See `ModalityCosts`."""

    controller: int
    embedding: int
    layer: int


@dataclass(frozen=True)
class FrameFlops:
    """Operations of a frame: of its fixed part, and of each modality."""

    fixed: int
    modalities: Mapping[Modality, ModalityFlops]


def frame_flops(config: ModelConfig) -> FrameFlops:
    """Compute the operations of a model. Fusion and controller also process the token slots of absent inputs."""
    return FrameFlops(_controller(config) + task_flops(config),
                      {m: _modality(config, m) for m in config.modalities})


def _linear(rows: int, width_in: int, width_out: int) -> int:
    return 2 * rows * width_in * width_out


def _block(tokens: int, dim: int, hidden: int) -> int:
    projections = _linear(tokens, dim, 3 * dim) + _linear(tokens, dim, dim)
    attention = 2 * (2 * tokens * tokens * dim)
    return projections + attention + 2 * _linear(tokens, dim, hidden)


def _encoder(tokens: int, config: FusionConfig | QoiConfig) -> int:
    return config.depth * _block(tokens, config.dim, hidden_width(config.dim, config.mlp_ratio))


def _slots(config: ModelConfig) -> int:
    return len(config.modalities) * len(config.sensor_nodes)


def _modality(config: ModelConfig, modality: Modality) -> ModalityFlops:
    m, b = config.modalities[modality], config.modalities[modality].backbone
    channels, height, width = m.input.shape
    patches = (height // b.patch[0]) * (width // b.patch[1])
    if b.stem == "fine":
        embed = _fine(b, channels, height * width)
    elif b.stem == "conv":
        widths = stem_widths(b.patch[0], b.dim)
        embed = _linear(patches, widths[-1], b.dim) + sum(
            _linear((height >> i + 1) * (width >> i + 1), 9 * width_in, width_out)
            for i, (width_in, width_out) in enumerate(zip((channels, *widths), widths, strict=False)))
    else:
        embed = _linear(patches, channels * b.patch[0] * b.patch[1], b.dim)
    if b.points and b.stem != "fine":
        values = b.points * b.point_values
        embed += _linear(patches, b.dim, 3 * b.points + values) + _linear(1, 3 * b.points + values, b.dim)
    adapter = _linear(1, b.dim, m.adapter_hidden) + _linear(1, m.adapter_hidden, config.fusion.dim)
    layer = _block(patches + 1, b.dim, hidden_width(b.dim, b.mlp_ratio))
    look = _convolutions(look_shape(config.qoi, modality), channels, config.qoi.dim)
    return ModalityFlops(look, embed + adapter, layer)


def _fine(b: BackboneConfig, channels: int, pixels: int) -> int:
    """Return the operations of a fine stem and its points."""
    flops, cells = 0, pixels
    for width_in, width_out, kernel in zip((channels, *FINE_WIDTHS), FINE_WIDTHS, FINE_KERNELS, strict=False):
        cells //= 4
        flops += _linear(cells, kernel * kernel * width_in, width_out)
    tokens = _linear(cells, FINE_WIDTHS[-1], b.dim)
    queries = _linear(1, b.dim, b.points * FINE_KEYS) + _linear(cells, FINE_WIDTHS[-1], FINE_KEYS + b.point_values)
    points = _linear(cells, FINE_KEYS, b.points) + _linear(cells, b.points, 2 + b.point_values)
    return flops + tokens + queries + points + _linear(1, (3 + b.point_values) * b.points, b.dim)


def _convolutions(shape: LookShape, channels: int, dim: int) -> int:
    flops, width = 0, channels
    for kernel, size, out in zip(shape.kernels, shape.maps, QOI_CHANNELS, strict=True):
        flops += _linear(math.prod(size), width * kernel * kernel, out)
        width = out
    return flops + _linear(1, width * math.prod(shape.maps[-1]), dim)


def _controller(config: ModelConfig) -> int:
    q = config.qoi
    layers = _linear(1, q.dim, q.layer_hidden) + _linear(1, q.layer_hidden, config.layers_total)
    corruption = _linear(1, q.dim, q.corruption_hidden) + _linear(1, q.corruption_hidden, sum(config.grades.values()))
    return judge_flops(config) + layers + corruption + _value(config)


def _value(config: ModelConfig) -> int:
    q, slots = config.qoi, _slots(config)
    width = 3 * q.dim + MODALITY_FEATURES
    return _linear(slots, width, q.value_hidden) + _linear(slots, q.value_hidden, q.value_hidden + 2)


def judge_flops(config: ModelConfig) -> int:
    """Return the operations of the controller's transformer and budget token: from its convolutions to e_corr."""
    q = config.qoi
    embedded = q.budget_token and not q.token_budgets
    budget = _linear(1, BUDGET_FEATURES, q.dim) + _linear(1, q.dim, q.dim) if embedded else 0
    slots = 1 + len(config.modalities) * config.observed + q.budget_token
    return _encoder(slots, q) + budget


def task_flops(config: ModelConfig) -> int:
    """Return the operations of fusion and heads."""
    return _fusion(config) + _heads(config)


def _fusion(config: ModelConfig) -> int:
    return _encoder(_slots(config), config.fusion)


def _heads(config: ModelConfig) -> int:
    dim, axes = config.fusion.dim, len(config.localization.min_m)
    if config.localization.kind == "evidence":
        slots = _slots(config)
        localization = _linear(slots, dim + POSE_FEATURES, dim) + _linear(slots, dim, dim) + _linear(slots, dim, 5)
    else:
        localization = 2 * _linear(1, dim, dim) + _linear(1, dim, axes) + _linear(1, dim, axes * (axes + 1) // 2)
    covariance = _linear(axes, axes, axes)  # from its Cholesky factor
    classification = _linear(1, dim, dim) + _linear(1, dim, len(config.classes))
    return localization + covariance + classification + _calibration(config)


def _calibration(config: ModelConfig) -> int:
    hidden, signs = config.calibration.hidden, FRAME_SIGNS + MODALITY_SIGNS * len(config.modalities)
    if not hidden:
        return 0
    poses = _linear(_slots(config), POSE_NUMBERS, 3) + _linear(1, _slots(config), 3)
    return _linear(1, signs, hidden + 1) + _linear(1, hidden, 1) + poses
