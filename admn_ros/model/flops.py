# SPDX-License-Identifier: Apache-2.0
"""Floating-point operations of a model, counted from its configuration.

Counted: matrix products, convolutions and the two products of attention; a multiply-add is 2. Not
counted: norms, activations, softmax, additions and the controller's downsampling, which together are
about a hundredth and which flop counters leave out too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from admn_ros.config import BackboneConfig, FusionConfig, ModelConfig, QoiConfig
from admn_ros.sample import Modality

QOI_CHANNELS = (6, 6, 3)
"""Channels of the controller's convolutions."""
QOI_POOL = 3
FINE_WIDTHS, FINE_KERNELS, FINE_KEYS = (16, 32), (5, 3), 32
"""Channels and kernel sizes of the two convolutions of a fine stem, and width of what its points are found by."""
BUDGET_FEATURES = 7
"""Numbers that tell the controller the budget, if it has a budget token."""
POSE_FEATURES = 3
"""What an evidence head knows of a sensor node's pose: distance, height and tilt."""


@dataclass(frozen=True)
class ModalityFlops:
    """Operations of one modality for one present sensor node. See `ModalityCosts`."""

    controller: int
    embedding: int
    layer: int


@dataclass(frozen=True)
class FrameFlops:
    """Operations of a frame: those of every frame that runs, and those of each modality."""

    fixed: int
    modalities: Mapping[Modality, ModalityFlops]


def frame_flops(config: ModelConfig) -> FrameFlops:
    """Count a model. Exact: the network computes token slots of absent inputs in the fusion too."""
    return FrameFlops(_controller(config) + task_flops(config),
                      {m: _modality(config, m) for m in config.modalities})


def stem_widths(patch: int, dim: int) -> tuple[int, ...]:
    """Channels of the convolutions of a conv stem: each has twice those of the one before, the last `dim`."""
    steps = patch.bit_length() - 1
    return tuple(dim >> (steps - 1 - i) for i in range(steps))


def hidden_width(dim: int, mlp_ratio: float) -> int:
    """Width of the hidden layer of a transformer block."""
    return int(dim * mlp_ratio)


def qoi_kernels(size: int) -> tuple[int, int, int]:
    """Kernel sizes of the controller's three convolutions: 10, 10, 5 at the paper's size of 100."""
    wide, narrow = max(3, size // 10), max(3, size // 20)
    return wide, wide, narrow


def qoi_sizes(size: int) -> tuple[int, int, int]:
    """Output sizes of the controller's three convolutions; pooling comes before the third."""
    first, second, third = qoi_kernels(size)
    a = size - first + 1
    b = a - second + 1
    return a, b, b // QOI_POOL - third + 1


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
    return ModalityFlops(_look(config.qoi, channels), embed + adapter, layer)


def _fine(b: BackboneConfig, channels: int, pixels: int) -> int:
    """Stem and points."""
    flops, cells = 0, pixels
    for width_in, width_out, kernel in zip((channels, *FINE_WIDTHS), FINE_WIDTHS, FINE_KERNELS, strict=False):
        cells //= 4
        flops += _linear(cells, kernel * kernel * width_in, width_out)
    tokens = _linear(cells, FINE_WIDTHS[-1], b.dim)
    asked = _linear(1, b.dim, b.points * FINE_KEYS) + _linear(cells, FINE_WIDTHS[-1], FINE_KEYS + b.point_values)
    found = _linear(cells, FINE_KEYS, b.points) + _linear(cells, b.points, 2 + b.point_values)
    return flops + tokens + asked + found + _linear(1, (3 + b.point_values) * b.points, b.dim)


def _look(qoi: QoiConfig, channels: int) -> int:
    flops, width = 0, channels
    for kernel, size, out in zip(qoi_kernels(qoi.size), qoi_sizes(qoi.size), QOI_CHANNELS, strict=True):
        flops += _linear(size * size, width * kernel * kernel, out)
        width = out
    return flops + _linear(1, width * qoi_sizes(qoi.size)[-1] ** 2, qoi.dim)


def _controller(config: ModelConfig) -> int:
    q = config.qoi
    layers = _linear(1, q.dim, q.layer_hidden) + _linear(1, q.layer_hidden, config.layers_total)
    corruption = _linear(1, q.dim, q.corruption_hidden) + _linear(1, q.corruption_hidden, sum(config.grades.values()))
    return judge_flops(config) + layers + corruption


def judge_flops(config: ModelConfig) -> int:
    """Operations from the controller's looks to e_corr: its transformer and its budget token."""
    q = config.qoi
    budget = _linear(1, BUDGET_FEATURES, q.dim) + _linear(1, q.dim, q.dim) if q.budget_token else 0
    return _encoder(_slots(config) + 1 + q.budget_token, q) + budget


def task_flops(config: ModelConfig) -> int:
    """Operations of fusion and heads."""
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
    return localization + covariance + _linear(1, dim, dim) + _linear(1, dim, len(config.classes))
