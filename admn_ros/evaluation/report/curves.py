# SPDX-License-Identifier: Apache-2.0
"""Figures of error against budget, distribution of errors, and latency and GFLOPs by number of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from admn_ros.evaluation.report.context import Context
from admn_ros.evaluation.report.data import Evaluation, budget_text
from admn_ros.evaluation.report.drawing import LegendEntry, Panel, ReportFigure
from admn_ros.scoring.metrics import Floats
from admn_ros.views.palette import BUDGETS, DASHES, INK, MARKERS, POLICIES, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NO_TRUTH = "No frame has both an estimate and a ground-truth position, so there are no errors to show."
QUANTILES = np.linspace(0, 1, 101)


# --- error against budget -------------------------------------------------------------------------


def error_against_budget(evaluation: Evaluation) -> ReportFigure:
    """Return the figure of the mean error by policy and budget, with intervals; one panel per corruption."""
    numbers = [_curves(evaluation, corruption) for corruption in evaluation.corruptions]
    known = [n for n in numbers if any(p["mean_cm"] is not None for curve in n["policies"] for p in curve["points"])]
    points = [p for n in known for curve in n["policies"] for p in curve["points"]]
    top = max((p["high"] or p["mean_cm"] or 0.0 for p in points), default=1.0)
    ours = evaluation.policies[0]
    banded = any(p["low"] is not None for n in known for p in n["policies"][0]["points"])
    several = len(evaluation.policies) > 1
    return ReportFigure(
        "error_budget", "Error against budget",
        "Mean position error in cm for each budget; lower is better."
        + (" The band is the 95 % confidence interval, bootstrapped over scenes." if banded else "")
        + (f" {ours} is the evaluated policy; the others are baselines." if several else ""),
        [Panel(n["corruption"], _describe(n), lambda figure, n=n: _draw_curves(figure, n, top),  # type: ignore[misc]
               _width(known))
         for n in known],
        numbers, [LegendEntry(_policy(k), name, "line" if k == 0 else "dashed")
                  for k, name in enumerate(evaluation.policies)],
        "" if known else NO_TRUTH)


def _curves(evaluation: Evaluation, corruption: str) -> dict[str, Any]:
    constant = evaluation.cell(corruption, 0, 0)["constant"]
    order = [*evaluation.constant_budgets, *evaluation.changing_budgets]
    curves = []
    for policy, name in enumerate(evaluation.policies):
        points = []
        for budget in order:
            cell = evaluation.cell(corruption, policy, budget)
            error = cell["error_cm"] or {"mean": None, "mean_interval": None}
            low, high = error["mean_interval"] or (None, None)
            points.append({"budget": budget_text(evaluation.budgets[budget]), "changes": "from" in cell["budget"],
                           "mean_cm": error["mean"], "low": low, "high": high})
        curves.append({"policy": name, "points": points})
    return {"corruption": corruption, "unit": evaluation.results["settings"]["unit"], "policies": curves,
            "mean_position_cm": None if constant is None else constant["mean"]}


def _describe(numbers: dict[str, Any]) -> str:
    points = ", ".join(f"{p['mean_cm']:.1f} cm with {p['budget']}" for p in numbers["policies"][0]["points"]
                       if p["mean_cm"] is not None)
    return f"{numbers['corruption']}: mean error of {numbers['policies'][0]['policy']}: {points}"


def _draw_curves(figure: Figure, numbers: dict[str, Any], top: float) -> None:
    axes = figure.subplots()
    for number, curve in reversed(list(enumerate(numbers["policies"]))):
        for changing in (False, True):
            points = [(x, p) for x, p in enumerate(curve["points"])
                      if p["changes"] == changing and p["mean_cm"] is not None]
            _draw_points(axes, number, points, joined=not changing)
    axes.set_xticks(range(len(numbers["policies"][0]["points"])),
                    [_short(p["budget"]) for p in numbers["policies"][0]["points"]])
    axes.set_xlim(-0.3, len(numbers["policies"][0]["points"]) - 0.7)
    axes.set_ylim(0, 1.08 * top)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(f"budget, {numbers['unit']} per frame")
    axes.set_ylabel("mean error, cm")
    constant = numbers["mean_position_cm"]
    if constant is not None:
        inside = constant < 1.08 * top
        if inside:
            axes.axhline(constant, color=SOFT, lw=1, ls=":")
        axes.annotate(f"constant mean position: {constant:.0f} cm" + ("" if inside else " \u2191"), (1, 1),
                      xycoords="axes fraction", ha="right", va="top", color=SOFT, fontsize=9.5)


def _draw_points(axes: Axes, number: int, points: list[tuple[int, dict[str, Any]]], *, joined: bool) -> None:
    """Draw one policy: a line with its band, or points with error bars for budgets that change over time."""
    x, colour = [x for x, _ in points], _policy(number)
    mean = [p["mean_cm"] for _, p in points]
    known = [(x, p["low"], p["high"]) for x, p in points if p["low"] is not None]
    axes.plot(x, mean, marker=_of(MARKERS, number), ms=5 if number else 6, lw=1.4 if number else 2.2,
              ls=_of(DASHES, number) if joined else "none", color=colour)
    if joined and len(known) > 1 and number == 0:
        axes.fill_between([k[0] for k in known], [k[1] for k in known], [k[2] for k in known], color=colour,
                          alpha=0.12, lw=0)
    elif not joined:
        for place, low, high in known:
            axes.plot([place, place], [low, high], color=colour, lw=1.4, alpha=0.6)


def _width(panels: Sequence[Any]) -> int:
    """Return the width of a panel; a single panel is wider."""
    return 350 if len(panels) > 1 else 560


def _policy(number: int) -> str:
    return str(_of(POLICIES, number))


def _of(styles: tuple[Any, ...], number: int) -> Any:
    return styles[min(number, len(styles) - 1)]


def _short(budget: str) -> str:
    words = budget.split(" ", 1)
    return budget if len(budget) <= 10 else f"{words[0]}\n{words[-1].rpartition('/')[2][:12]}"


# --- distribution ---------------------------------------------------------------------------------


def error_distribution(evaluation: Evaluation) -> ReportFigure:
    """Return the figure of the cumulative distribution of errors of the first policy, one line per constant budget."""
    budgets = evaluation.constant_budgets[-len(BUDGETS):]
    numbers: list[dict[str, Any]] = []
    for corruption in evaluation.corruptions:
        lines = []
        for budget in budgets:
            errors = evaluation.errors_cm(corruption, evaluation.variant(0, budget))
            errors = errors[np.isfinite(errors)]
            if len(errors):
                lines.append({"budget": budget_text(evaluation.budgets[budget]), "frames": len(errors),
                              "share": QUANTILES.round(2).tolist(),
                              "error_cm": np.quantile(errors, QUANTILES).round(3).tolist()})
        numbers.append({"corruption": corruption, "policy": evaluation.policies[0], "lines": lines})
    known = [n for n in numbers if n["lines"]]
    end = 1.1 * max((line["error_cm"][-1] for n in known for line in n["lines"]), default=1.0)
    return ReportFigure(
        "error_cdf", "Distribution of errors",
        "Share of the frames whose position error is at most the value on the horizontal axis; further left is better.",
        [Panel(n["corruption"], _describe_distribution(n), lambda figure, n=n: _draw_shares(figure, n, end),  # type: ignore[misc]
               _width(known))
         for n in known],
        numbers, [LegendEntry(colour, f"{budget_text(evaluation.budgets[b], long=True)}", "line")
                  for b, colour in zip(budgets, _ramp(len(budgets)), strict=True)], "" if known else NO_TRUTH)


def _ramp(count: int) -> list[str]:
    """Return colours from the smallest budget to the largest."""
    places = np.linspace(0, len(BUDGETS) - 1, count).round().astype(int) if count > 1 else [len(BUDGETS) - 2]
    return [BUDGETS[k] for k in places]


def _describe_distribution(numbers: dict[str, Any]) -> str:
    medians = ", ".join(f"with {line['budget']}: {line['error_cm'][50]:.1f} cm" for line in numbers["lines"])
    return f"{numbers['corruption']}: median error {medians}"


def _draw_shares(figure: Figure, numbers: dict[str, Any], end: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # noqa: PLC0415

    axes = figure.subplots()
    for line, colour in zip(numbers["lines"], _ramp(len(numbers["lines"])), strict=True):
        axes.plot(line["error_cm"], [100 * share for share in line["share"]], lw=1.8, color=colour)
    axes.set_xscale("log")
    axes.set_xlim(min(1.0, end / 2), end)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, 101)
    axes.set_xlabel("error, cm")
    axes.set_ylabel("frames, %")


# --- latency and GFLOPs ---------------------------------------------------------------------------


def latency_and_operations(evaluation: Evaluation, context: Context) -> ReportFigure:
    """Return the figure of network latency and GFLOPs by number of layers that ran."""
    times, operations = _times_by_layers(evaluation), context.get("gflops", [])
    machine = evaluation.timings["machine"]
    panels = [Panel("latency", _describe_times(times),
                    lambda figure: _draw_spread(figure, times, "low", "high", "ms"), 430)]
    if operations:
        panels.append(Panel("GFLOPs", _describe_operations(operations), lambda figure: _draw_spread(
            figure, operations, "min", "max", "GFLOPs"), 430))
    return ReportFigure(
        "latency", "Latency and GFLOPs by layers",
        f"Median over the frames by number of layers that ran, on this machine ({machine['device']}, "
        f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}). The band is the 5 % to 95 % range of "
        "the latency, and the full range of the GFLOPs.", panels,
        {"machine": machine, "milliseconds": times, "gflops": operations or None})


def _times_by_layers(evaluation: Evaluation) -> list[dict[str, float]]:
    layers, took = [], []
    for corruption, times in evaluation.times.items():
        layers.append(evaluation.records[corruption]["active"].sum(axis=2).ravel())
        took.append((times["controller_ms"] + times["network_ms"]).ravel())
    ran, milliseconds = np.concatenate(layers), np.concatenate(took)
    found = []
    for count in np.unique(ran[np.isfinite(milliseconds)]):
        here: Floats = milliseconds[(ran == count) & np.isfinite(milliseconds)]
        low, median, high = np.quantile(here, [0.05, 0.5, 0.95])
        found.append({"layers": int(count), "frames": len(here), "low": round(float(low), 4),
                      "median": round(float(median), 4), "high": round(float(high), 4)})
    return found


def _describe_times(times: list[dict[str, float]]) -> str:
    return "median latency in ms: " + ", ".join(f"{t['median']:.1f} with {t['layers']} layers" for t in times[:12])


def _describe_operations(operations: list[dict[str, float]]) -> str:
    return "median GFLOPs: " + ", ".join(f"{o['median']:.2f} with {o['layers']} layers" for o in operations[:12])


def _draw_spread(figure: Figure, rows: list[dict[str, float]], low: str, high: str, unit: str) -> None:
    axes = figure.subplots()
    x = [row["layers"] for row in rows]
    axes.fill_between(x, [row[low] for row in rows], [row[high] for row in rows], color=BUDGETS[2], alpha=0.2, lw=0)
    axes.plot(x, [row["median"] for row in rows], "o-", ms=5, lw=1.8, color=INK)
    axes.set_ylim(0, 1.05 * max(row[high] for row in rows) or 1.0)
    axes.set_xlim(0, 1.05 * max(x) or 1.0)
    axes.set_xlabel("layers that ran")
    axes.set_ylabel(unit)
