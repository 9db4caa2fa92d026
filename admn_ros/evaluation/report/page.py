# SPDX-License-Identifier: Apache-2.0
"""Page of a report: one HTML file that needs neither network nor scripts."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from admn_ros.evaluation.records import layer_counts
from admn_ros.evaluation.report.context import Context
from admn_ros.evaluation.report.data import Evaluation, budget_text
from admn_ros.evaluation.report.decisions import evaluated_decision
from admn_ros.evaluation.report.drawing import Drawing, Panel, ReportFigure
from admn_ros.evaluation.report.moments import Moment, Stretch
from admn_ros.evaluation.report.summary import lead, omitted, settings, tiles, title, warnings
from admn_ros.evaluation.report.tables import tables
from admn_ros.evaluation.results_folder import MOMENTS
from admn_ros.inference.decision import InputDecision
from admn_ros.views.palette import themed, variables

SMALL, WIDE = 300, 600
"""Panels up to, and from, this width in pixels have a grid of their own."""
TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Plot:
    """A figure with its drawings, one per panel; none if the figure is absent."""

    figure: ReportFigure
    drawings: Sequence[Drawing]

    @property
    def panels(self) -> list[tuple[Panel, Drawing]]:
        """Panels with their drawings."""
        return list(zip(self.figure.panels, self.drawings, strict=True))

    @property
    def grid(self) -> str:
        """CSS class of the grid, after a space."""
        width = max(panel.width for panel in self.figure.panels)
        return " wide" if width >= WIDE else " small" if width <= SMALL else ""


@dataclass(frozen=True)
class _ShownMoment:
    """Moment as the page shows it; `images` are data URIs by sensor node and modality, None for missing data."""

    title: str
    text: str
    images: Mapping[str, Mapping[str, str | None]]
    decisions: Sequence[InputDecision]

    @property
    def modalities(self) -> list[str]:
        return list(dict.fromkeys(modality for images in self.images.values() for modality in images))

    @property
    def decided(self) -> dict[str, dict[str, InputDecision]]:
        """What was decided about each input, by sensor node and modality."""
        found: dict[str, dict[str, InputDecision]] = {}
        for each in self.decisions:
            found.setdefault(each.sensor_node, {})[each.modality] = each
        return found


@dataclass(frozen=True)
class _ShownTimeline:
    """Timeline of one stretch as the page shows it."""

    panel: Panel
    drawing: Drawing
    moments: Sequence[_ShownMoment]
    has_images: bool
    is_open: bool


def page(evaluation: Evaluation, context: Context, folder: Path, plots: Sequence[Plot],
         shown: Sequence[tuple[Stretch, list[Moment]]]) -> str:
    """Return the page as HTML.

    Args:
        evaluation: evaluation to report.
        context: data gathered from its recordings.
        folder: results folder, with the images of the moments.
        plots: figures in the order of the page; the timeline has one panel per stretch.
        shown: stretches with their moments.
    """
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              keep_trailing_newline=True)
    environment.filters["themed"] = themed
    timeline = next(plot for plot in plots if plot.figure.name == "timeline")
    return environment.get_template("page.html.j2").render(
        title=title(evaluation), warnings=warnings(evaluation), lead=lead(evaluation), tiles=tiles(evaluation),
        omitted=omitted(evaluation), plots=plots, timelines=_timelines(evaluation, context, folder, timeline, shown),
        tables=tables(evaluation), settings=settings(evaluation), light=variables(dark=False),
        dark=variables(dark=True))


def _timelines(evaluation: Evaluation, context: Context, folder: Path, timeline: Plot,
             shown: Iterable[tuple[Stretch, list[Moment]]]) -> list[_ShownTimeline]:
    """Return the timelines, the one of the worst corruption first and open."""
    first = evaluation.worst or evaluation.mildest
    found = []
    for (panel, drawing), (stretch, moments) in zip(timeline.panels, shown, strict=True):
        images = context.get("pictures", {}).get(stretch.corruption, {})
        found.append(_ShownTimeline(panel, drawing, [
            _ShownMoment(moment.text, _describe(evaluation, stretch, moment),
                         _images(images.get(str(moment.row), {}), folder / MOMENTS),
                         evaluated_decision(evaluation, stretch.corruption, stretch.variant, moment.row).inputs)
            for moment in moments],
            bool(images), stretch.corruption == first))
    return sorted(found, key=lambda one: not one.is_open)


def _describe(evaluation: Evaluation, stretch: Stretch, moment: Moment) -> str:
    """Return the budget, the layers that ran and the injected corruptions of a frame."""
    columns, v = evaluation.records[stretch.corruption], stretch.variant
    depths = evaluation.results["described_model"]["depths"]
    counts = layer_counts(columns["active"][moment.row, v], depths.values())
    ran = ", ".join(f"{m} {count}" for m, count in zip(depths, counts, strict=True))
    limit = float(columns["granted"][moment.row, v])
    budget = budget_text({"limit": limit if limit < float("inf") else None, "unit": columns["unit"][moment.row, v]},
                         long=True)
    bad = [f"{m} {kind} {severity:.2f}" for m, kind, severity in
           zip(depths, columns["kind"][moment.row], columns["severity"][moment.row], strict=True) if severity > 0]
    return f"Budget {budget}; layers {ran}." + (f" Injected: {', '.join(bad)}." if bad else "")


def _images(nodes: Mapping[str, Mapping[str, str | None]], folder: Path) -> dict[str, dict[str, str | None]]:
    """Return the images of a moment as data URIs."""
    return {node: {modality: _data_uri(folder / Path(file).name) if file else None
                   for modality, file in files.items()} for node, files in nodes.items()}


def _data_uri(path: Path) -> str | None:
    if not path.is_file():
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"
