# SPDX-License-Identifier: Apache-2.0
"""Tables of a report: all runs, estimated against injected quality, messages of the recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from admn_ros.evaluation.report.data import Evaluation, Json, budget_text, percent_above

NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class TableRow:
    """Row of a table.

    Attributes:
        cells: text and CSS class of each cell; the first cell is the header of the row.
        style: CSS classes of the row.
    """

    cells: Sequence[tuple[str, str]]
    style: str = ""


@dataclass(frozen=True)
class Table:
    """Table of a report.

    Attributes:
        title: heading.
        caption: explanation of the columns.
        head: column headers.
        texts: number of leading columns that hold text; the others hold numbers.
        rows: rows.
    """

    title: str
    caption: str
    head: Sequence[str]
    texts: int
    rows: Sequence[TableRow]


def tables(evaluation: Evaluation) -> list[Table]:
    """Return the tables that have rows."""
    found = [_quality(evaluation), _runs(evaluation)]
    if evaluation.is_of_bags:
        found.append(_inputs(evaluation))
    return [table for table in found if table.rows]


# --- runs -----------------------------------------------------------------------------------------


def _runs(evaluation: Evaluation) -> Table:
    several = len(evaluation.policies) > 1
    oracle = any("regret" in cell for cell in evaluation.results["cells"])
    ours = evaluation.policies[0]
    head = ["corruption", "policy", "budget", "frames", "no estimate", "mean error, cm", "95 % interval", "median",
            "p95", "in 90 %", "accuracy", "layers", "over budget",
            *([f"error minus {ours}, cm"] if several else []), *(["error above oracle"] if oracle else [])]
    rows: list[TableRow] = []
    before = None
    for cell in evaluation.results["cells"]:
        focus = cell["budget"] == evaluation.budgets[evaluation.focus] and cell["policy"] == ours
        style = " ".join(name for name, on in (("first", cell["corruption"] != before), ("focus", focus)) if on)
        before = cell["corruption"]
        others = ([_more(cell["versus_first_policy"])] if several else []) + (
            [percent_above(cell["regret"]) or NONE] if oracle else [])
        rows.append(TableRow([*_cells(cell), *((text, "") for text in others)], style))
    return Table("All runs", "One row per corruption, policy and budget. The numbers at the top of the page are those "
                             "of the bold row. In 90 % is the share of positions inside the 90 % ellipse, accuracy "
                             "is that of the class. Intervals are bootstrapped over scenes; a scene is "
                             f"{evaluation.results['source']['scene']}.",
                 head, 3, rows)


def _cells(cell: Json) -> list[tuple[str, str]]:
    error, frames = cell["error_cm"], cell["frames"]
    position = [NONE] * 5 if error is None else [
        f"{error['mean']:.1f}", _interval(error["mean_interval"]), f"{error['median']:.1f}", f"{error['p95']:.1f}",
        f"{100 * cell['coverage']['90%']['share']:.0f} %"]
    silent, over = frames["without_estimate"], cell["violations"]
    return [(cell["corruption"], ""), (cell["policy"], ""), (budget_text(cell["budget"], long=True), ""),
            (str(frames["n"]), ""), (str(silent), "alert" if silent else ""), *((text, "") for text in position),
            (NONE if cell["classes"] is None else f"{100 * cell['classes']['accuracy']:.0f} %", ""),
            (f"{cell['layers']['mean']:.1f}", ""), (str(over), "alert" if over else "")]


def _interval(interval: Sequence[float] | None) -> str:
    return NONE if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f}"


def _more(versus: Mapping[str, Any] | None) -> str:
    if versus is None:
        return NONE
    return f"{versus['error_cm_mean']:+.1f}" + (f" ({_interval(versus['interval'])})" if versus["interval"] else "")


# --- quality --------------------------------------------------------------------------------------


def _quality(evaluation: Evaluation) -> Table:
    rows: list[TableRow] = []
    for corruption in evaluation.corruptions:
        for modality, qoi in evaluation.cell(corruption, 0, evaluation.focus)["qoi"].items():
            if qoi["n_corrupted"]:
                values = [NONE if qoi[name] is None else f"{qoi[name]:.2f}"
                          for name in ("mean_clean", "mean_corrupted", "auroc", "rank_correlation")]
                texts = [corruption, modality, str(qoi["n_corrupted"]), str(qoi["n"]), *values]
                rows.append(TableRow([(text, "") for text in texts],
                                     "first" if rows and rows[-1].cells[0][0] != corruption else ""))
    return Table("Quality of information",
                 "QoI estimated by the model for clean and for corrupted inputs. The AUROC is the probability that a "
                 "clean input has the higher QoI: 1 is perfect separation, 0.5 is chance. The rank correlation is "
                 "Spearman's, between QoI and injected quality.",
                 ["corruption", "modality", "frames corrupted", "frames with QoI", "mean QoI, clean",
                  "mean QoI, corrupted", "AUROC", "rank correlation"], 2, rows)


# --- inputs ---------------------------------------------------------------------------------------


def _inputs(evaluation: Evaluation) -> Table:
    rows: list[TableRow] = []
    for number, bag in enumerate(evaluation.results["source"]["bags"]):
        metadata = evaluation.results["pieces"].get(f"{evaluation.corruptions[0]}-{number:05d}", {})
        for k, (name, read) in enumerate(metadata.get("inputs", {}).items()):
            counts = [(str(read[key]), "alert" if key == "refused" and read[key] else "") for key in
                      ("received", "refused", "late", "duplicates", "fresh", "held", "missing")]
            problem = read.get("problem")
            why = (problem or read["last_refusal"] or NONE, "alert" if problem else "")
            rows.append(TableRow([(bag["name"], ""), (name, ""), *counts, why], "first" if rows and not k else ""))
    return Table("Inputs", "Messages of each input, and frames in which it was fresh, held or missing. "
                           + " ".join(_truth(bag) for bag in evaluation.results["source"]["bags"][:8]),
                 ["recording", "input", "messages", "refused", "late", "duplicates", "fresh", "held", "missing",
                  "problem, or last reason for refusal"],
                 2, rows)


def _truth(bag: Json) -> str:
    lacks = f" It has no messages on {', '.join(bag['topics_missing'])}." if bag["topics_missing"] else ""
    lacks += "".join(f" WARN: {remark}." for remark in bag.get("remarks", ()))
    truth = bag["truth"]
    if truth is None:
        return f"{bag['name']} has no ground truth: {bag['why_no_truth']}.{lacks}"
    moved = f", shifted by {1000 * truth['offset_s']:.0f} ms" if truth["offset_s"] else ""
    return f"Ground truth of {bag['name']}: {truth['positions']} positions from {truth['from']}{moved}.{lacks}"
