# SPDX-License-Identifier: Apache-2.0
"""Plot of the governor on a simulated computer that heats up."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

from admn_ros.governor.closed_loop import STEP_S, Scenario, Trace, simulate
from admn_ros.governor.config import GovernorConfig
from admn_ros.governor.governor import GrantReason
from admn_ros.governor.thermal_plant import Plant
from admn_ros.views.picture_file import write_figure

SECONDS = 600.0
PLANT = Plant()
# Heat dissipation at the target temperature: (75 - 35) C / (4 C/W).
CONFIG = GovernorConfig(default_layers=48, sustainable_w=10.0)
EVENTS = ((150.0, "another program draws 4 W"), (270.0, "power manager: 10 layers"),
          (350.0, "its request ends"), (440.0, "sensor stops"), (490.0, "sensor resumes"))
COLOURS = {
    GrantReason.DEFAULT: "#d5d8dc", GrantReason.REQUEST: "#aed6f1", GrantReason.STALE: "#f5b7b1",
    GrantReason.CRITICAL: "#cb4335", GrantReason.TEMPERATURE: "#fad7a0", GrantReason.RISING: "#abebc6",
    GrantReason.BATTERY: "#d2b4de", GrantReason.POWER: "#a2d9ce"}
LABELS = {GrantReason.DEFAULT: "default budget", GrantReason.RISING: "rising",
          GrantReason.STALE: "limited by a stale sensor", GrantReason.REQUEST: "limited by a request"}


def scenario() -> Scenario:
    """Return the events of the plot: a workload step, a request, a sensor that stops."""
    return Scenario(request=lambda t: 10 if 270.0 <= t < 350.0 else None,
                    others_w=lambda t: 4.0 if t >= 150.0 else 0.0,
                    sensed=lambda t: not 440.0 <= t < 490.0, metered=True)


def draw_governor(path: Path) -> Trace:
    """Simulate the governor and write a PNG of temperature, budget and heat over time.

    Raises:
        InputError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    trace = simulate(CONFIG, PLANT, scenario(), SECONDS)
    figure = Figure(figsize=(11, 8), layout="constrained")
    warmth, budget, heat = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.6))
    _draw_temperature(warmth, trace)
    _draw_budget(budget, trace)
    _draw_heat(heat, trace)
    for axes in (warmth, budget, heat):
        for t_s, _ in EVENTS:
            axes.axvline(t_s, color="black", lw=0.7, ls=":", alpha=0.7)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9, frameon=False)
        axes.set_xlim(0, SECONDS)
    write_figure(figure, path, 110)
    return trace


def summary(trace: Trace) -> str:
    """Return a summary of a run in one line."""
    late = trace.granted[-round(60 / STEP_S):]
    return (f"highest temperature {max(trace.temperature_c):.1f} C, target {CONFIG.target_c:g} C, limit "
            f"{CONFIG.limit_c:g} C; {min(late)} to {max(late)} layers in the last minute")


def _draw_temperature(axes: Any, trace: Trace) -> None:
    axes.plot(trace.t_s, trace.temperature_c, color="#c0392b", lw=1.8, label="temperature")
    fresh = [reading if scenario().sensed(t) else float("nan")
             for t, reading in zip(trace.t_s, trace.reading_c, strict=True)]
    axes.step(trace.t_s, fresh, where="post", color="#34495e", lw=0.8, label="measured temperature")
    axes.axhline(CONFIG.target_c, color="#27ae60", lw=1.2, ls="--", label="target")
    axes.axhline(CONFIG.limit_c, color="black", lw=1.2, ls="--", label="limit")
    axes.set_ylabel("\N{DEGREE SIGN}C")
    axes.set_ylim(PLANT.ambient_c - 2, CONFIG.limit_c + 3)
    for index, (t_s, text) in enumerate(EVENTS):
        axes.text(t_s + 3, PLANT.ambient_c + (3 if index % 2 else 0), text, fontsize=8.5, va="bottom")


def _draw_budget(axes: Any, trace: Trace) -> None:
    """Draw the granted budget, on background colours for the binding limit."""
    shown: set[GrantReason] = set()
    for reason, run in groupby(zip(trace.reason, trace.t_s, strict=True), key=lambda pair: pair[0]):
        times = [t for _, t in run]
        axes.axvspan(times[0], times[-1] + STEP_S, color=COLOURS[reason], lw=0,
                     label=None if reason in shown else LABELS.get(reason, f"limited by {reason.value}"))
        shown.add(reason)
    axes.step(trace.t_s, trace.requested, where="post", color="#2471a3", lw=1.4, ls="--", label="requested")
    axes.step(trace.t_s, trace.granted, where="post", color="black", lw=1.8, label="granted")
    axes.axhline(CONFIG.safe_layers, color="#922b21", lw=0.8, ls=":", label="safe budget")
    axes.set_ylabel("layers per frame")
    axes.set_ylim(0, 50)


def _draw_heat(axes: Any, trace: Trace) -> None:
    axes.stackplot(trace.t_s, trace.own_w, trace.others_w, step="post", labels=["perception", "other programs"],
                   colors=["#85929e", "#d7bde2"])
    axes.set_ylabel("watts")
    axes.set_xlabel("seconds")
