# SPDX-License-Identifier: Apache-2.0
"""What of a grid was not run, and what it would cost, from the durations of what was run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from admn_ros.baselines.experts import equal_shares, mns_experts
from admn_ros.benchmark.tables.config import TITLES, UNEQUAL, Cell, Method
from admn_ros.benchmark.tables.results import CellResult
from admn_ros.budget.costs import Counts
from admn_ros.config import ModelConfig

Results = Mapping[Cell, CellResult]
STAGE_1, PLAIN, EXPERTS = "Stage 1", "Stage 1 without LayerDrop", "Networks of the baselines"
THREADS = 2
"""CPU threads of the cells that do not have their number: they were run on two cores."""
_SECONDS = 3600.0
_UNIVERSAL = ("universal", "neuralsort", "value")
_ON_STAGE_1 = ("dynmm_fusion", "admn", "admn_ae", "admn_task", "straight_through", "progressive", "universal",
               "neuralsort", "value")


@dataclass(frozen=True)
class Part:
    """A network to train.

    Attributes:
        name: name that is unique within a corruption.
        group: what the table shows it as: a method, or a kind of networks that methods share.
        method: method whose training it is; None for shared networks.
        layers: budget of the method, or layers of the network.
    """

    name: str
    group: str
    method: Method | None = None
    layers: int | None = None


def parts_of(cell: Cell, model: ModelConfig) -> list[Part]:
    """Return the networks that a cell needs. The autoencoder of ADMN_AE is not counted, because it is small."""
    base = _base(cell.method)
    layers = cell.layers or 0
    own = [Part(f"{cell.method if cell.method in UNEQUAL else base}-s{cell.seed}"
                + ("" if base in _UNIVERSAL else f"-L{layers}"), TITLES[base], base, layers)]
    if base == "removal_plain":
        return [Part(PLAIN, PLAIN)]
    if base in _ON_STAGE_1:
        below = parts_of(Cell(cell.corruption, "universal", layers, cell.seed), model)[1:] if base == "value" else []
        return [Part(STAGE_1, STAGE_1), *below, *own]
    if base in ("scratch", "adamml"):
        return [_expert(equal_shares(model, layers)), *(own if base == "adamml" else [])]
    if base in ("mns", "dynmm"):
        extra: list[Counts] = [dict.fromkeys(model.modalities, layers)] if base == "dynmm" else []
        return [*(_expert(e) for e in (*mns_experts(model, layers), *extra)), *own]
    return [Part(STAGE_1, STAGE_1)]


def describe_left(cells: Sequence[Cell], results: Results, model: ModelConfig,
                  title: Callable[[str], str]) -> list[str]:
    """Return lines that name the cells without a result and the estimated time of their trainings; none if all are run.

    Args:
        cells: cells of the plan.
        results: results.
        model: model of the tables.
        title: returns the name of a corruption for the reader.
    """
    left = [cell for cell in cells if cell not in results]
    if not left:
        return []
    lines = ["## Not run", "", "Cells without a result, and the core-hours of their trainings: the measured times of "
             "the same training in other cells, times the CPU threads that ran it, and per layer for the networks of "
             "the baselines. Evaluation comes on top. Networks that cells share are counted once. ?: never run.", "",
             "| corruption | what | cells | core-hours |", "|---|---|---|---|"]
    total, unknown = 0.0, 0
    for corruption in dict.fromkeys(cell.corruption for cell in left):
        missing = [cell for cell in left if cell.corruption == corruption]
        parts = dict.fromkeys(part for cell in missing for part in parts_of(cell, model))
        for group in dict.fromkeys(part.group for part in parts):
            hours = [_hours(part, corruption, results) for part in parts if part.group == group]
            waiting = sum(TITLES[_base(cell.method)] == group for cell in missing)
            known = [h for h in hours if h is not None]
            total, unknown = total + sum(known), unknown + len(hours) - len(known)
            shown = f"{sum(known):.1f}" if len(known) == len(hours) else "?"
            lines.append(f"| {title(corruption)} | {group} | {waiting or 'shared'} | {shown} |")
        alone = [cell for cell in missing if all(p.method is None for p in parts_of(cell, model))]
        for method in dict.fromkeys(cell.method for cell in alone):
            count = sum(cell.method == method for cell in alone)
            lines.append(f"| {title(corruption)} | {TITLES[method]} | {count} | none of its own |")
    return [*lines, "", f"{len(left)} cells, {total:.1f} core-hours" + (f" and {unknown} trainings of unknown length"
                                                                        if unknown else "") + "."]


def _base(method: Method) -> Method:
    found = UNEQUAL.get(method, method)
    return "dynmm" if found == "dynmm_strict" else "dynmm_fusion" if found == "dynmm_fusion_strict" else found


def _expert(layers: Counts) -> Part:
    name = "-".join(f"{m}{k}" for m, k in layers.items())
    return Part(f"expert-{name}", EXPERTS, layers=sum(layers.values()))


def _hours(part: Part, corruption: str, results: Results) -> float | None:
    """Return the core-hours of a training, from the most similar results; None if there are none."""
    if part.group == EXPERTS:
        per_layer = [h / (r.layers or 1) for r in results.values() if r.method == "scratch" and (h := _spent(r))]
        return statistics.mean(per_layer) * (part.layers or 0) if per_layer else None
    if part.method is None:
        wanted = ("removal_plain",) if part.group == PLAIN else ("upper_bound", "naive", "static", "removal_layerdrop")
        return _nearest((r for r in results.values() if r.method in wanted), corruption, None)
    return _nearest((r for r in results.values() if r.method == part.method), corruption, part.layers)


def _nearest(found: Iterable[CellResult], corruption: str, layers: int | None) -> float | None:
    """Return the mean core-hours of the results of nearest corruption and budget."""
    spent = [((r.corruption != corruption, abs((r.layers or 0) - (layers or 0))), h)
             for r in found if (h := _spent(r)) is not None]
    if not spent:
        return None
    best = min(distance for distance, _ in spent)
    return statistics.mean(h for distance, h in spent if distance == best)


def _spent(result: CellResult) -> float | None:
    if result.training is None:
        return None
    return (result.training.seconds + result.training.search_seconds) / _SECONDS * (result.threads or THREADS)
