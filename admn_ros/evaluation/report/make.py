# SPDX-License-Identifier: Apache-2.0
"""Report of a finished evaluation: report.html, and figures/ with PNG and JSON files."""

from __future__ import annotations

import shutil
from pathlib import Path

from admn_ros.evaluation.report.allocation import allocation, controller_embedding
from admn_ros.evaluation.report.context import read_context
from admn_ros.evaluation.report.curves import error_against_budget, error_distribution, latency_and_operations
from admn_ros.evaluation.report.data import read_evaluation
from admn_ros.evaluation.report.drawing import draw, write_files
from admn_ros.evaluation.report.page import Plot, page
from admn_ros.evaluation.report.timeline import timelines
from admn_ros.evaluation.results_folder import FIGURES, REPORT
from admn_ros.files import write_errors, write_text


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
    timeline, shown = timelines(evaluation, context)
    figures = [error_against_budget(evaluation), error_distribution(evaluation), allocation(evaluation), timeline,
               controller_embedding(evaluation), latency_and_operations(evaluation, context)]
    target = folder / FIGURES
    with write_errors(folder):
        (folder / REPORT).unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
    plots = [Plot(figure, draw(figure)) for figure in figures]
    for plot in plots:
        write_files(plot.figure, plot.drawings, target)
    write_text(folder / REPORT, page(evaluation, context, folder, plots, shown))
    return folder / REPORT
