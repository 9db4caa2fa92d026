# SPDX-License-Identifier: Apache-2.0
"""What stands behind the entries of the result tables: the value of every seed, and the trainings of every method."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from admn_ros.benchmark.tables.config import TITLES, Cell, Effort, Efforts, Method
from admn_ros.benchmark.tables.measures import Measure
from admn_ros.benchmark.tables.results import CellResult

NONE = "-"
_Found = Sequence[tuple[Method, int | None, list[CellResult]]]
_CONTROLLERS: Final[tuple[Method, ...]] = (
    "admn", "admn_ae", "admn_task", "admn_unequal", "straight_through", "progressive", "universal", "neuralsort")
_EFFORTS: Final[Mapping[Method, Callable[[Efforts], Effort]]] = {
    "upper_bound": lambda e: e.finetune, "scratch": lambda e: e.expert, "mns": lambda e: e.gate,
    "dynmm": lambda e: e.dynmm, "dynmm_fusion": lambda e: e.dynmm_fusion, "adamml": lambda e: e.adamml,
    **dict.fromkeys(_CONTROLLERS, lambda e: e.controller), "value": lambda e: e.value}
"""Effort of what a method trains. Methods that are not named run the networks of others."""
_FOR_ALL_BUDGETS: Final[tuple[Method, ...]] = ("upper_bound", "universal", "neuralsort", "value")


def describe_seeds(corruption: str, cells: Sequence[Cell], results: Mapping[Cell, CellResult],
                   measure: Measure) -> list[str]:
    """Return the table of the value of every seed, for methods with several seeds; no line if there are none."""
    several = [(method, layers, found) for method, layers, found in _found(corruption, cells, results)
               if len(found) > 1]
    if not several:
        return []
    seeds = sorted({result.seed for _, _, found in several for result in found})
    lines = [f"| {measure.unit} | layers | {' | '.join(f'seed {seed}' for seed in seeds)} |",
             "|---" * (len(seeds) + 2) + "|"]
    for method, layers, found in several:
        values = {result.seed: f"{measure.value(result.errors):.1f}" for result in found}
        lines.append(f"| {TITLES[method]} | {layers or 'all'} | "
                     f"{' | '.join(values.get(seed, NONE) for seed in seeds)} |")
    return lines


def describe_trainings(corruption: str, cells: Sequence[Cell], results: Mapping[Cell, CellResult],
                       efforts: Efforts) -> list[str]:
    """Return the table of the trainings of every method that trains a part of its own; no line if there are none."""
    rows: dict[tuple[Method, int | None], str] = {}
    for method, layers, found in _found(corruption, cells, results):
        costs = [result.training for result in found if result.training is not None]
        if not costs or method not in _EFFORTS:
            continue
        effort, budget = _EFFORTS[method](efforts), None if method in _FOR_ALL_BUDGETS else layers
        trials = len(effort.rates) * len(effort.prices)
        searched = f"{trials} | {effort.search_epochs}" if trials > 1 else f"{NONE} | {NONE}"
        rows.setdefault((method, budget), f"| {TITLES[method]} | {budget or 'all'} | {searched} | {effort.epochs} | "
                        f"{len(costs)} | "
                        f"{statistics.mean(c.search_seconds for c in costs):.0f} | "
                        f"{sum(c.seconds for c in costs):.0f} |")
    head = ["| method | layers | trials | epochs of a trial | epochs | seeds | trials s | training s |",
            "|---" * 8 + "|"]
    return [*head, *rows.values()] if rows else []


def _found(corruption: str, cells: Sequence[Cell], results: Mapping[Cell, CellResult]) -> _Found:
    """Return method, budget and results of all seeds, in the order of the titles."""
    keys = {(c.method, c.layers) for c in cells if c.corruption == corruption and not c.method.startswith("removal")}
    return [(method, layers, [results[c] for c in sorted(set(cells), key=lambda c: c.seed) if c in results
                              and (c.corruption, c.method, c.layers) == (corruption, method, layers)])
            for method, layers in sorted(keys, key=lambda key: (list(TITLES).index(key[0]), key[1] or 0))]
