# SPDX-License-Identifier: Apache-2.0
"""Report of a finished evaluation: report.html, and figures/ with PNG and JSON files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from admn_ros.evaluation.report.allocation import allocation, controller_embedding
from admn_ros.evaluation.report.context import Context, read_context
from admn_ros.evaluation.report.curves import error_against_budget, error_distribution, latency_and_operations
from admn_ros.evaluation.report.data import Evaluation, read_evaluation
from admn_ros.evaluation.report.drawing import ReportFigure, draw, write_files
from admn_ros.evaluation.report.page import Plot, page
from admn_ros.evaluation.report.timeline import ShownStretches, shown_stretches, timelines
from admn_ros.evaluation.results_folder import FIGURES, REPORT
from admn_ros.files import replacing, replacing_folder

FigureMaker = Callable[[Evaluation, Context, ShownStretches], ReportFigure]
FIGURE_MAKERS: tuple[FigureMaker, ...] = (
    lambda evaluation, context, shown: error_against_budget(evaluation),
    lambda evaluation, context, shown: error_distribution(evaluation),
    lambda evaluation, context, shown: allocation(evaluation),
    timelines,
    lambda evaluation, context, shown: controller_embedding(evaluation),
    lambda evaluation, context, shown: latency_and_operations(evaluation, context),
)
"""Figures of a report, in the order of the page. A new figure is one more entry."""


def make_report(folder: Path) -> Path:
    """Write the report of a finished evaluation into its folder. The same results give the same page.

    Args:
        folder: results folder of `admn evaluate`.

    Returns:
        Path of the page.

    Raises:
        InputError: the evaluation is not complete, or the folder cannot be written.
    """
    evaluation = read_evaluation(folder)
    context = read_context(folder, evaluation)
    shown = shown_stretches(evaluation)
    figures = [make(evaluation, context, shown) for make in FIGURE_MAKERS]
    plots = [Plot(figure, draw(figure)) for figure in figures]
    with replacing(folder / REPORT) as report, replacing_folder(folder / FIGURES) as target:
        for plot in plots:
            write_files(plot.figure, plot.drawings, target)
        report.write_text(page(evaluation, context, folder, plots, shown), encoding="utf-8")
    return folder / REPORT
