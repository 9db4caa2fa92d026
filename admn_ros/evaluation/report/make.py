# SPDX-License-Identifier: Apache-2.0
"""The report of a finished evaluation: report.html, and figures/ with pictures and numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

from admn_ros.errors import InputError
from admn_ros.evaluation.report.allocation import allocation, controller_view
from admn_ros.evaluation.report.context import read_context
from admn_ros.evaluation.report.curves import error_against_budget, error_distribution, latency_and_operations
from admn_ros.evaluation.report.data import read_evaluation
from admn_ros.evaluation.report.drawing import draw, write_files
from admn_ros.evaluation.report.page import page
from admn_ros.evaluation.report.timeline import timelines
from admn_ros.evaluation.results_folder import FIGURES, REPORT
from admn_ros.files import write_text


def make_report(folder: Path) -> Path:
    """Write the report of a finished evaluation into its folder; the same results give the same page.

    Args:
        folder: of `admn evaluate`.

    Returns:
        The page.

    Raises:
        InputError: the evaluation is not complete, or the folder cannot be written.
    """
    evaluation = read_evaluation(folder)
    context = read_context(folder, evaluation)
    figures = [error_against_budget(evaluation), error_distribution(evaluation), allocation(evaluation),
               controller_view(evaluation), latency_and_operations(evaluation, context)]
    timeline, shown = timelines(evaluation, context)
    target = folder / FIGURES
    try:
        (folder / REPORT).unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
    except OSError as error:
        raise InputError(str(folder), error.strerror or "unwritable", "a writable folder with space") from error
    drawn = [(figure, draw(figure)) for figure in (*figures, timeline)]
    for figure, drawings in drawn:
        write_files(figure, drawings, target)
    write_text(folder / REPORT, page(evaluation, context, folder, drawn[:-1], drawn[-1], shown))
    return folder / REPORT
