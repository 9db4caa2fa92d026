# SPDX-License-Identifier: Apache-2.0
"""The colours of a report, each for a light and for a dark page.

A figure is drawn with the light ones. In the page each becomes a CSS variable, so that a figure follows the page.
Hues can be told apart with any of the common kinds of colour blindness; nothing is said by colour alone.
"""

from __future__ import annotations

from admn_ros.views.timeline import COLOURS, OTHER

INK, SOFT, RULE, PAGE, CARD = "#1d2430", "#5a6472", "#dde1e6", "#f7f7f5", "#fefefe"
GOOD, ALERT = "#20704a", "#b3261f"
SEVERITIES = ("#b9c0c8", "#edc45f", "#e0913c", "#c2532d", "#82202b")
"""Clean, then four steps of severity."""
BUDGETS = ("#a9c4e6", "#7ba3d6", "#4a7fc0", "#285a9b", "#123a70")
"""From the tightest budget to the widest."""
POLICIES = ("#1d2430", "#8e5aa8", "#7d8794", "#a8693a", "#3d8f9f")
"""The first policy and its rivals; further ones take the last."""
DASHES = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v")

THEME: dict[str, tuple[str, str]] = {
    "ink": (INK, "#e8ebf0"),
    "soft": (SOFT, "#9da7b5"),
    "rule": (RULE, "#2e353f"),
    "page": (PAGE, "#13161b"),
    "card": (CARD, "#1b2027"),
    "good": (GOOD, "#74d3a5"),
    "alert": (ALERT, "#ff8f80"),
    **{name: (COLOURS[name], dark) for name, dark in
       (("rgb", "#e86a52"), ("depth", "#5b8def"), ("radar", "#4fd6b4"), ("audio", "#f0c33c"))},
    "other": (OTHER, "#c39ade"),
    **{f"severity-{k}": (light, dark) for k, (light, dark) in enumerate(
        zip(SEVERITIES, ("#4d5661", "#7d5a22", "#b97530", "#f0a155", "#ffe0b0"), strict=True))},
    **{f"budget-{k}": (light, dark) for k, (light, dark) in enumerate(
        zip(BUDGETS, ("#2f4a70", "#3f6aa6", "#5b8fd6", "#8fb8ee", "#cfe2fb"), strict=True))},
    **{f"policy-{k}": (light, dark) for k, (light, dark) in enumerate(
        zip(POLICIES[1:], ("#c39ade", "#98a3b1", "#d99a68", "#6cc3d3"), strict=True), start=1)},
}
"""CSS name -> (light colour, dark colour)."""


def modality_colour(name: str) -> str:
    """The project's colour of a modality."""
    return COLOURS.get(name, OTHER)


def variables(dark: bool) -> str:
    """CSS declarations of all colours."""
    return " ".join(f"--{name}: {entry[dark]};" for name, entry in THEME.items())


def themed(svg: str) -> str:
    """An SVG whose colours are CSS variables instead."""
    for name, (light, _) in THEME.items():
        svg = svg.replace(light, f"var(--{name})")
    return svg
