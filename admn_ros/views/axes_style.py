# SPDX-License-Identifier: Apache-2.0
"""Style of the axes of figures on paper: title on the left, no frame, light horizontal lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from admn_ros.views.palette import CARD, INK, RULE, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMALL_PT, TEXT_PT, TITLE_PT = 8.5, 9.5, 10.5


def style_axes(axes: Axes, title: str, x: str = "") -> None:
    """Style axes, and name what they show and what is on the x axis."""
    axes.set_title(title, loc="left", fontsize=TITLE_PT, color=INK)
    axes.set_xlabel(x, fontsize=SMALL_PT, color=SOFT)
    axes.tick_params(labelsize=SMALL_PT, colors=SOFT, length=3)
    axes.set_facecolor(CARD)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.grid(axis="y", color=RULE, lw=0.6)
    axes.set_axisbelow(True)
