# SPDX-License-Identifier: Apache-2.0
"""`dynmm_decisions.png`: frames that the gate gives to a cheap expert beside those that it gives to a dear one.

As Figure 5 of DynMM, on sensor data.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from admn_ros.baselines.experts import DynMM
from admn_ros.benchmark.dynmm.measure import Measured
from admn_ros.benchmark.dynmm.run import Networks
from admn_ros.config import InputConfig
from admn_ros.errors import InputError
from admn_ros.model.presets import preset
from admn_ros.views.input_picture import input_picture
from admn_ros.views.palette import BUDGETS, CARD, INK, RULE, SOFT
from admn_ros.views.picture_file import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EACH = 4
"""Frames of each of the two groups."""


def chosen_frames(found: Measured, costs: tuple[float, ...], each: int = EACH) -> tuple[list[int], list[int]]:
    """Return frames with a car on the cheapest and on the dearest expert that the gate uses, the surest ones first.

    Both groups are the same if the gate has collapsed. A recording appears at most once in a group while there are
    others.

    Raises:
        InputError: there is no frame with a car.
    """
    located = np.flatnonzero(np.isfinite(found.error_cm))
    if not len(located):
        raise InputError("test split", "no frame with a car", "at least one")
    used = sorted(set(found.choice[located].tolist()), key=lambda expert: costs[expert])
    return _surest(found, located, used[0], each), _surest(found, located, used[-1], each)


def _surest(found: Measured, located: np.ndarray, expert: int, each: int) -> list[int]:
    rows = located[found.choice[located] == expert]
    ranked: list[int] = rows[np.argsort(-found.confidence[rows], kind="stable")].tolist()
    _, first = np.unique(found.scene[ranked], return_index=True)
    order = [ranked[i] for i in sorted(first.tolist())]
    return (order + [row for row in ranked if row not in order])[:each]


def draw_decisions(network: DynMM, found: Measured, networks: Networks, png: Path) -> None:
    """Draw what the network saw of these frames, and which expert answered.

    Raises:
        InputError: there is no frame with a car, or the file cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    cheap, dear = chosen_frames(found, network.costs)
    model = preset(networks.config.model)
    figure = Figure(figsize=(13.6, 5.8), dpi=110, layout="constrained", facecolor=CARD)
    halves: Any = figure.subfigures(1, 2, wspace=0.02)
    heights = [*(_height(c.input) for c in model.modalities.values()), 1.0]
    titles = ("Easy", "Hard") if found.choice[cheap[0]] != found.choice[dear[0]] else ("The only expert",) * 2
    for part, frames, title in zip(halves, (cheap, dear), titles, strict=True):
        expert = networks.config.names[int(found.choice[frames[0]])]
        part.suptitle(f"{title}: {expert} (cost {network.costs[int(found.choice[frames[0]])] / network.costs[0]:.2f})",
                      fontsize=10, color=INK, x=0.01, ha="left")
        axes: Any = part.subplots(len(model.modalities) + 1, len(frames), squeeze=False, height_ratios=heights)
        for column, frame in enumerate(frames):
            sample = networks.splits.test.sample(0, frame)
            for row, (modality, config) in enumerate(model.modalities.items()):
                cell: Axes = axes[row][column]
                cell.imshow(input_picture(sample.inputs[modality][0], config.input), aspect="auto",
                            interpolation="nearest")
                cell.set_xticks([])
                cell.set_yticks([])
                cell.set_ylabel(str(modality) if column == 0 else "", fontsize=8, color=SOFT)
            _draw_choice(axes[-1][column], networks, found, frame)
    write_figure(figure, png)


def _draw_choice(axes: Axes, networks: Networks, found: Measured, frame: int) -> None:
    """Draw one box for each expert, the one that answered filled, and the error."""
    from matplotlib.patches import Rectangle  # noqa: PLC0415  slow to import

    names = networks.config.names
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(-2.5, len(names))
    for number, name in enumerate(names):
        ran = number == found.choice[frame]
        bottom = len(names) - 1 - number
        axes.add_patch(Rectangle((0.02, bottom + 0.08), 0.96, 0.84, facecolor=BUDGETS[0] if ran else CARD,
                                 edgecolor=INK if ran else RULE, lw=0.8))
        axes.text(0.5, bottom + 0.5, name, fontsize=7, ha="center", va="center",
                  color=INK if ran else SOFT).set_in_layout(False)
    lines = (f"{found.damage[frame]} damaged", f"error {found.error_cm[frame]:.0f} cm",
             f"gate {100 * found.confidence[frame]:.0f} %")
    for number, line in enumerate(lines):
        # Out of the layout: the width of a text must not take that of the pictures.
        axes.text(0.02, -0.4 - 0.8 * number, line, fontsize=7, color=SOFT, va="center").set_in_layout(False)


def _height(config: InputConfig) -> float:
    """Return the height of a row of pictures: that of an image of full width; radar and spectrograms have a square."""
    height, width = config.shape[-2:]
    return min(1.0, height / width)
