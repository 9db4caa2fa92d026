# SPDX-License-Identifier: Apache-2.0
"""Figures of the allocation by degraded modality, and of the embedding of the controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from admn_ros.evaluation.report.data import Evaluation, budget_text
from admn_ros.evaluation.report.drawing import LegendEntry, Panel, ReportFigure
from admn_ros.evaluation.report.tsne import neighbour_plane
from admn_ros.scoring.metrics import Floats
from admn_ros.views.palette import CARD, INK, RULE, SEVERITIES, SOFT, modality_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEGRADED = 0.5
"""Severity from which on a modality counts as degraded."""
MIN_FRAMES = 5
"""Smallest number of frames of a row."""
MAX_BUDGETS = 3
MAX_POINTS, MIN_NEIGHBOURS, MAX_NEIGHBOURS = 2500, 10, 400
"""Points of the embedding by principal components, and by t-SNE, whose time grows with their square."""
ROW, GAP = 19, 1.0
STEPS = ("clean", "to 0.25", "to 0.5", "to 0.75", "to 1")

Mask = npt.NDArray[np.bool_]


# --- allocation -----------------------------------------------------------------------------------


def allocation(evaluation: Evaluation) -> ReportFigure:
    """Return the figure of how often each layer ran, by degraded modality; one panel per finite budget."""
    finite = [k for k in evaluation.constant_budgets if evaluation.budgets[k]["limit"] is not None]
    budgets = finite[:MAX_BUDGETS] or evaluation.constant_budgets[-1:]
    numbers = [{"budget": budget_text(evaluation.budgets[k], long=True), "policy": evaluation.policies[0],
                "rows": _rows(evaluation, evaluation.variant(0, k))} for k in budgets]
    return ReportFigure(
        "allocation", "Allocation of layers",
        "Each square is a layer; its opacity is the share of frames in which the layer ran. The number beside a block "
        "is the mean number of layers of the modality; the number of frames is in parentheses. A modality is degraded "
        f"if it is missing or corrupted with severity {DEGRADED:g} or more: its block should then be emptier than in "
        "the first row.",
        [Panel(f"{n['budget']}", _describe_rows(n), lambda figure, n=n: _draw_rows(figure, n), 720,  # type: ignore[misc]
               64 + ROW * len(n["rows"])) for n in numbers], numbers,
        [LegendEntry(modality_colour(m), m) for m in evaluation.modalities])


def _rows(evaluation: Evaluation, variant: int) -> list[dict[str, Any]]:
    found = []
    for corruption in evaluation.corruptions:
        columns = evaluation.records[corruption]
        every = np.ones(len(columns["index"]), dtype=bool)
        groups = [(f"{corruption}: all", every)]
        degraded = (columns["severity"] >= DEGRADED) | (columns["nodes"] == 0)
        groups += [(f"{corruption}: {m} degraded", degraded[:, k]) for k, m in enumerate(evaluation.modalities)]
        for text, rows in groups:
            if rows.sum() >= MIN_FRAMES or rows is every:
                found.append(_row(evaluation, columns["active"][rows, variant], text))
    return found


def _row(evaluation: Evaluation, active: Mask, text: str) -> dict[str, Any]:
    depths = evaluation.results["described_model"]["depths"]
    shares = np.split(active.mean(axis=0), np.cumsum(list(depths.values()))[:-1])
    by_modality = dict(zip(depths, shares, strict=True))
    return {"frames": text, "n": len(active), "share": {m: share.round(4).tolist() for m, share in by_modality.items()},
            "layers": {m: round(float(share.sum()), 3) for m, share in by_modality.items()}}


def _describe_rows(numbers: dict[str, Any]) -> str:
    means = [f"{row['frames']}: " + ", ".join(f"{m} {n:.1f}" for m, n in row["layers"].items())
            for row in numbers["rows"]]
    return f"Mean layers with a budget of {numbers['budget']}. " + "; ".join(means)


def _draw_rows(figure: Figure, numbers: dict[str, Any]) -> None:
    from matplotlib.collections import PatchCollection  # noqa: PLC0415
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    axes, rows = figure.subplots(), numbers["rows"]
    left, ticks = 0.0, []
    for modality in rows[0]["share"]:
        depth = len(rows[0]["share"][modality])
        places = [(left + k + 0.08, y + 0.1) for y in range(len(rows)) for k in range(depth)]
        shares = [share for row in rows for share in row["share"][modality]]
        axes.add_collection(PatchCollection([Rectangle(p, 0.84, 0.8) for p in places], facecolor=RULE, lw=0))
        for place, share in zip(places, shares, strict=True):
            if share > 0:
                axes.add_patch(Rectangle(place, 0.84, 0.8, facecolor=modality_colour(modality), lw=0,
                                         alpha=round(0.12 + 0.88 * share, 2)))
        for y, row in enumerate(rows):
            axes.text(left + depth + 0.25, y + 0.52, f"{row['layers'][modality]:.1f}", va="center", fontsize=9,
                      color=SOFT if row["layers"][modality] < 0.05 else INK)
        ticks.append((left + depth / 2, modality))
        left += depth + 2.6 + GAP
    axes.set_xlim(0, left)
    axes.set_ylim(len(rows), 0)
    axes.set_xticks([x for x, _ in ticks], [m for _, m in ticks])
    axes.xaxis.tick_top()
    axes.set_yticks([y + 0.5 for y in range(len(rows))], [f"{row['frames']} ({row['n']})" for row in rows])
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


# --- embedding of the controller ------------------------------------------------------------------


def controller_embedding(evaluation: Evaluation) -> ReportFigure:
    """Return the figure of the controller's embedding in two dimensions, coloured by severity per modality."""
    latent = np.concatenate([evaluation.records[c]["latent"] for c in evaluation.corruptions]).astype(np.float64)
    severity = np.concatenate([evaluation.records[c]["severity"] for c in evaluation.corruptions])
    nodes = np.concatenate([evaluation.records[c]["nodes"] for c in evaluation.corruptions])
    known = np.isfinite(latent).all(axis=1)
    title = "Embedding of the controller"
    if known.sum() < 3 or np.ptp(latent[known], axis=0).max() == 0:
        return ReportFigure("latent", title, "", absent="The first policy does not use the controller.")
    plane, explained = principal_plane(latent[known])
    severity, nodes = severity[known], nodes[known]
    # A missing modality has severity 1.
    severity = np.where(nodes == 0, 1.0, np.nan_to_num(severity))
    every, fewer = -(-len(plane) // MAX_POINTS), -(-len(plane) // MAX_NEIGHBOURS)
    drawn = {"principal components": (plane[::every], severity[::every])}
    if len(plane[::fewer]) >= MIN_NEIGHBOURS:
        drawn["t-SNE"] = neighbour_plane(latent[known][::fewer], plane[::fewer]), severity[::fewer]
    numbers = {"explained": [round(float(x), 4) for x in explained], **{method: {
        "points": points.round(4).tolist(),
        "severity": {m: levels[:, k].round(4).tolist() for k, m in enumerate(evaluation.modalities)}}
        for method, (points, levels) in drawn.items()}}
    return ReportFigure(
        "latent", title,
        "Each point is the controller's embedding of a frame, projected onto the first two principal components "
        f"({100 * explained[0]:.0f} % and {100 * explained[1]:.0f} % of the variance), and as t-SNE, which keeps "
        "neighbours together; distances between its clusters have no meaning. Where coloured points are apart from "
        "grey ones, the controller recognizes that the modality is degraded.",
        [Panel(f"{m}, {method}", f"Embedding of {len(points)} frames by {method}, coloured by the severity in {m}",
               lambda figure, points=points, level=levels[:, k]: _draw_plane(figure, points, level),  # type: ignore[misc]
               255, 235)
         for method, (points, levels) in drawn.items() for k, m in enumerate(evaluation.modalities)], numbers,
        [LegendEntry(colour, text, "dot") for colour, text in zip(SEVERITIES, STEPS, strict=True)])


def principal_plane(points: Floats) -> tuple[Floats, Floats]:
    """Project points (N, D) onto their first two principal components.

    Returns:
        Projected points (N, 2), and the explained share of the variance (2,).
    """
    centred = points - points.mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    # The sign of a component is arbitrary; make it the same on every machine.
    axes = axes[:2] * np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    explained = values**2 / (values**2).sum()
    return np.asarray(centred @ axes.T, dtype=np.float64), np.asarray(explained[:2], dtype=np.float64)


def _draw_plane(figure: Figure, plane: Floats, severity: Floats) -> None:
    axes = figure.subplots()
    level = np.ceil(np.clip(severity, 0, 1) * (len(SEVERITIES) - 1)).astype(int)
    for k, colour in enumerate(SEVERITIES):
        here = level == k
        axes.plot(plane[here, 0], plane[here, 1], "o", ms=3.6, mew=0.4, mec=CARD, color=colour, alpha=0.9)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    axes.set_aspect("equal", adjustable="datalim")
