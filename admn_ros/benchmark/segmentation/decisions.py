# SPDX-License-Identifier: Apache-2.0
"""`segmentation_decisions.png`: images with few and with many depth blocks, and what ran (DynMM's Figure 8)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from admn_ros.baselines.segmentation.network import BLOCKS
from admn_ros.benchmark.segmentation.networks import SegmentationNetworks
from admn_ros.benchmark.segmentation.run import MeasuredPixels
from admn_ros.model.presets import preset
from admn_ros.sample import Modality
from admn_ros.training.data import LabeledBatch
from admn_ros.training.rivals.segmentation_gate import SegmentationGate, pixels_of
from admn_ros.views.colorize import Picture
from admn_ros.views.input_picture import input_picture
from admn_ros.views.palette import BUDGETS, CARD, INK, RULE, SOFT, modality_colour
from admn_ros.views.picture_file import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

EACH = 3
"""Images of each of the two groups."""
CLASS_COLOURS = ((96, 96, 96), (206, 200, 160), (160, 100, 40), (0, 190, 190), (220, 40, 40), (40, 80, 220))


def chosen_frames(found: MeasuredPixels, each: int = EACH) -> tuple[list[int], list[int]]:
    """Return frames with the fewest and with the most depth blocks, those first of which the gate is most sure.

    A room appears at most once in a group while there are others. Both groups are the same if the choice never varies.
    """
    groups = []
    for wanted in (int(found.choice.min()), int(found.choice.max())):
        rows = np.flatnonzero(found.choice == wanted)
        ranked: list[int] = rows[np.argsort(-found.confidence[rows], kind="stable")].tolist()
        _, first = np.unique(found.scene[ranked], return_index=True)
        order = [ranked[i] for i in sorted(first.tolist())]
        groups.append((order + [row for row in ranked if row not in order])[:each])
    return groups[0], groups[1]


def draw_decisions(stage: SegmentationGate, found: MeasuredPixels, networks: SegmentationNetworks, png: Path) -> None:
    """Draw images with few depth blocks above images with many.

    Raises:
        InputError: a sample cannot be read, or the file cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    few, many = chosen_frames(found)
    figure = Figure(figsize=(11, 1.45 * (len(few) + len(many)) + 0.4), dpi=120, layout="constrained", facecolor=CARD)
    rows = figure.subplots(len(few) + len(many), 5, squeeze=False, width_ratios=(1, 1, 1, 1, 1))
    for axes, frame in zip(rows, (*few, *many), strict=True):
        _draw_frame(axes, frame, stage, found, networks)
    for axes, title in zip(rows[0], ("RGB", "depth, registered", "truth", "prediction", "what ran"), strict=True):
        axes.set_title(title, fontsize=9, loc="left", color=INK)
    write_figure(figure, png)


def _draw_frame(axes: np.ndarray, frame: int, stage: SegmentationGate, found: MeasuredPixels,
                networks: SegmentationNetworks) -> None:
    sample = networks.splits.test.sample(0, frame)
    batch = LabeledBatch.stack([sample])
    moved = batch.to(networks.device)
    blocks = int(found.choice[frame])
    with torch.inference_mode():
        rgb, depth = stage.network.inputs(moved.samples)
        predicted = stage.network.run(rgb, depth, torch.tensor([blocks], device=networks.device))[0].argmax(dim=0)
    inputs = preset(networks.study.model).modalities
    pictures = [input_picture(sample.inputs[m][0], inputs[m].input) for m in (Modality.RGB, Modality.DEPTH)]
    pictures += [class_picture(mask.cpu().numpy()) for mask in (pixels_of(batch)[0], predicted)]
    for cell, picture in zip(axes[:4], pictures, strict=True):
        cell.imshow(picture, interpolation="nearest")
        cell.set_axis_off()
    axes[0].text(0.01, -0.03, f"damaged: {found.damage[frame]}", transform=axes[0].transAxes, fontsize=7, va="top",
                 color=SOFT)
    axes[3].text(0.01, -0.03, f"mIoU {100 * found.scores.frame_iou[frame]:.0f} %", transform=axes[3].transAxes,
                 fontsize=7, va="top", color=SOFT)
    _draw_architecture(axes[4], blocks, float(stage.macs[blocks]) / 1e6)


def class_picture(mask: np.ndarray) -> Picture:
    """Return an RGB image, uint8 (H, W, 3), of classes (H, W); pixels without a class are black."""
    colours = np.array([*CLASS_COLOURS, (0, 0, 0)], np.uint8)
    return np.asarray(colours[np.where(mask < 0, len(CLASS_COLOURS), mask % len(CLASS_COLOURS))], np.uint8)


def _draw_architecture(axes: Axes, blocks: int, mmacs: float) -> None:
    """Draw the blocks of both encoders: filled if they ran, with an arrow where depth was fused."""
    axes.set_axis_off()
    axes.set_box_aspect(0.5)
    axes.set_xlim(-0.8, BLOCKS + 0.1)
    axes.set_ylim(-0.55, 2.2)
    for row, name in ((1.2, "rgb"), (0.0, "depth")):
        axes.text(-0.75, row + 0.35, name, fontsize=7, va="center", color=INK)
        for i in range(BLOCKS):
            ran = name == "rgb" or i < blocks
            axes.add_patch(_box(i, row, modality_colour(name) if ran else CARD, RULE if not ran else INK))
    for i in range(blocks):
        axes.annotate("", (i + 0.4, 1.2), (i + 0.4, 0.7), arrowprops={"arrowstyle": "->", "color": BUDGETS[4], "lw": 1})
    axes.text(-0.75, -0.4, f"{blocks} depth block{'s' * (blocks != 1)}, {mmacs:.1f} MMACs", fontsize=7, color=SOFT)


def _box(column: int, row: float, colour: str, edge: str) -> Rectangle:
    from matplotlib.patches import Rectangle  # noqa: PLC0415  slow to import

    return Rectangle((column + 0.05, row), 0.7, 0.7, facecolor=colour, edgecolor=edge, lw=0.8)
