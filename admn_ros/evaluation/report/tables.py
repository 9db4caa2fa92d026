# SPDX-License-Identifier: Apache-2.0
"""Tables of a report: all runs, quality against what was injected, what was read of the recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from admn_ros.evaluation.report.data import Evaluation, Figures, budget_text

NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Row:
    """Cells of a row, each a text and its style; the first one heads it."""

    cells: Sequence[tuple[str, str]]
    style: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    title: its heading. reading: a sentence that says how to read it.
    head: of the columns; the first `texts` of them hold texts, the others numbers.
    """

    title: str
    reading: str
    head: Sequence[str]
    texts: int
    rows: Sequence[Row]


def tables(evaluation: Evaluation) -> list[Table]:
    """Those that there is something for."""
    found = [_quality(evaluation), _runs(evaluation)]
    if evaluation.is_of_bags:
        found.append(_inputs(evaluation))
    return [table for table in found if table.rows]


# --- runs -----------------------------------------------------------------------------------------


def _runs(evaluation: Evaluation) -> Table:
    several = len(evaluation.policies) > 1
    ours = evaluation.policies[0]
    head = ["corruption", "policy", "budget", "frames", "no estimate", "mean error, cm", "95 % interval", "median",
            "p95", "in 90 %", "class right", "layers", "over budget", *([f"cm more than {ours}"] if several else [])]
    rows: list[Row] = []
    before = None
    for cell in evaluation.results["cells"]:
        focus = cell["budget"] == evaluation.budgets[evaluation.focus] and cell["policy"] == ours
        style = " ".join(name for name, on in (("first", cell["corruption"] != before), ("focus", focus)) if on)
        before = cell["corruption"]
        rows.append(Row(_cells(cell) + ([(_more(cell["versus_first_policy"]), "")] if several else []), style))
    return Table("All runs", "One line for each corruption, policy and budget; bold is what the numbers at the top are "
                             "of. Intervals are drawn over scenes, one of which is "
                             f"{evaluation.results['source']['scene']}.",
                 head, 3, rows)


def _cells(cell: Figures) -> list[tuple[str, str]]:
    error, frames = cell["error_cm"], cell["frames"]
    place = [NONE] * 5 if error is None else [
        f"{error['mean']:.1f}", _interval(error["mean_interval"]), f"{error['median']:.1f}", f"{error['p95']:.1f}",
        f"{100 * cell['coverage']['90%']['share']:.0f} %"]
    silent, over = frames["without_estimate"], cell["violations"]
    return [(cell["corruption"], ""), (cell["policy"], ""), (budget_text(cell["budget"], long=True), ""),
            (str(frames["n"]), ""), (str(silent), "alert" if silent else ""), *((text, "") for text in place),
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
    rows: list[Row] = []
    for corruption in evaluation.corruptions:
        for modality, qoi in evaluation.cell(corruption, 0, evaluation.focus)["qoi"].items():
            if qoi["n_corrupted"]:
                rows.append(Row([(corruption, ""), (modality, ""), (str(qoi["n_corrupted"]), ""), (str(qoi["n"]), ""),
                                 *((NONE if qoi[name] is None else f"{qoi[name]:.2f}", "")
                                   for name in ("mean_clean", "mean_corrupted", "auroc", "rank_correlation"))],
                                "first" if rows and rows[-1].cells[0][0] != corruption else ""))
    return Table("Quality as the model judges it",
                 "Told apart is how often a clean reading is judged better than a corrupted one: 1 is always, 0.5 is "
                 "no better than chance. Follows severity is the rank correlation: 1 is in step.",
                 ["corruption", "modality", "frames corrupted", "frames judged", "quality when clean", "when corrupted",
                  "told apart", "follows severity"], 2, rows)


# --- what was read --------------------------------------------------------------------------------


def _inputs(evaluation: Evaluation) -> Table:
    rows: list[Row] = []
    for number, bag in enumerate(evaluation.results["source"]["bags"]):
        said = evaluation.results["pieces"].get(f"{evaluation.corruptions[0]}-{number:05d}", {})
        for name, read in said.get("inputs", {}).items():
            rows.append(Row([(bag["name"], ""), (name, ""),
                             *((str(read[key]), "alert" if key == "refused" and read[key] else "") for key in
                               ("received", "refused", "late", "duplicates", "fresh", "held", "missing")),
                             (read["last_refusal"] or NONE, "")], "first" if rows and not any(
                                 row.cells[0][0] == bag["name"] for row in rows) else ""))
    return Table("What was read", "Messages of each input, and in how many frames it was fresh, held or missing. "
                                  + " ".join(_truth(bag) for bag in evaluation.results["source"]["bags"][:8]),
                 ["recording", "input", "messages", "refused", "late", "twice", "fresh", "held", "missing",
                  "last refusal"],
                 2, rows)


def _truth(bag: Figures) -> str:
    lacks = f" It lacks {', '.join(bag['topics_missing'])}." if bag["topics_missing"] else ""
    truth = bag["truth"]
    if truth is None:
        return f"{bag['name']} has no truth: {bag['why_no_truth']}.{lacks}"
    moved = f", {1000 * truth['offset_s']:.0f} ms later" if truth["offset_s"] else ""
    return f"Truth of {bag['name']} is from {truth['from']}: {truth['positions']} positions{moved}.{lacks}"
