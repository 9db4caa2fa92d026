# SPDX-License-Identifier: Apache-2.0
"""Colours of all drawings, for light and for dark backgrounds.

Report figures are drawn in the light colours; in the page each colour becomes a CSS variable, so that a figure follows
the theme of the page. The colours of modalities are distinguishable with the three common kinds of colour blindness.
No information is conveyed by colour alone.
"""

from __future__ import annotations

Rgb = tuple[int, int, int]

INK, SOFT, RULE, PAGE, CARD = "#1d2430", "#5a6472", "#dde1e6", "#f7f7f5", "#fefefe"
ALERT = "#b3261f"
SEVERITIES = ("#b9c0c8", "#edc45f", "#e0913c", "#c2532d", "#82202b")
"""Clean, then four steps of severity."""
BUDGETS = ("#a9c4e6", "#7ba3d6", "#4a7fc0", "#285a9b", "#123a70")
"""From the smallest budget to the largest."""
POLICIES = ("#1d2430", "#8e5aa8", "#7d8794", "#a8693a", "#3d8f9f")
"""The evaluated policy, then its baselines; further ones take the last colour."""
DASHES = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v")
OTHER = "other"

THEME: dict[str, tuple[str, str]] = {
    "ink": (INK, "#e8ebf0"),
    "soft": (SOFT, "#9da7b5"),
    "rule": (RULE, "#2e353f"),
    "page": (PAGE, "#13161b"),
    "card": (CARD, "#1b2027"),
    "good": ("#20704a", "#74d3a5"),
    "warn": ("#8a5d00", "#f0be50"),
    "alert": (ALERT, "#ff8f80"),
    "rgb": ("#b03a2e", "#e86a52"),
    "depth": ("#1f5fa8", "#5b8def"),
    "radar": ("#17a589", "#4fd6b4"),
    "audio": ("#c28d0a", "#f0c33c"),
    OTHER: ("#7d3c98", "#c39ade"),
    **{f"severity-{k}": (light, dark) for k, (light, dark) in enumerate(
        zip(SEVERITIES, ("#4d5661", "#7d5a22", "#b97530", "#f0a155", "#ffe0b0"), strict=True))},
    **{f"budget-{k}": (light, dark) for k, (light, dark) in enumerate(
        zip(BUDGETS, ("#2f4a70", "#3f6aa6", "#5b8fd6", "#8fb8ee", "#cfe2fb"), strict=True))},
    **{f"policy-{k}": (light, dark) for k, (light, dark) in enumerate(
        zip(POLICIES[1:], ("#c39ade", "#98a3b1", "#d99a68", "#6cc3d3"), strict=True), start=1)},
}
"""Name of a colour (also of its CSS variable) -> (light, dark)."""


def modality_colour(name: str, *, dark: bool = False) -> str:
    """Return the colour of a modality."""
    return THEME.get(name, THEME[OTHER])[dark]


def dark_colour(name: str) -> str:
    """Return a colour of the dark theme."""
    return THEME[name][1]


def to_rgb(colour: str) -> Rgb:
    """Convert a hexadecimal colour to RGB, range [0, 255]."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def variables(dark: bool) -> str:
    """Return the CSS declarations of all colours."""
    return " ".join(f"--{name}: {entry[dark]};" for name, entry in THEME.items())


def themed(svg: str) -> str:
    """Replace the light colours in an SVG by CSS variables."""
    for name, (light, _) in THEME.items():
        svg = svg.replace(light, f"var(--{name})")
    return svg
