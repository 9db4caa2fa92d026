# SPDX-License-Identifier: Apache-2.0
"""Plan of `admn worth`: which evaluations it makes, within which budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from admn_ros.baselines.named import ALLOCATE, BEST_STATIC, ORACLE, VALUE, own_policy
from admn_ros.benchmark.worth.results import Role
from admn_ros.budget.budget import CostUnit
from admn_ros.budget.costs import LayerCosts
from admn_ros.config import Count, ModelConfig, Strict
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.model.costs import ModelCosts

NAIVE = "naive"
TITLES = {VALUE: "value", ALLOCATE: "ADMN (allocate)", NAIVE: "naive", BEST_STATIC: "best static", ORACLE: "oracle"}
"""Names of policies in tables and figures."""
UNITS: tuple[CostUnit, ...] = ("layers", "gflops", "milliseconds")
CORRUPTION = "room-all"
SPLITS = ("test_time", "test_view")
"""Splits of the comparisons; the first one also serves the other runs."""
MISPLACED = "shards_misplaced"
STEPS = 2
"""Budgets between the first layers of all modalities and everything, in units of cost."""
BEFORE, SAME_TIME = "before", "same_time"
"""Names of the runs of an earlier model, and within its time."""
SCARCE = (1, 2, 3, 4)
"""Budgets in layers of the runs on data that training has not seen."""


class WorthPlan(Strict):
    """What is compared.

    Attributes:
        dataset: folder of shards.
        model: model folder.
        budgets: budgets in layers.
        limit: largest number of frames of each run.
        validation_limit: largest number of frames of the validation split.
        seed: seed of corruptions, of the cost table and of the intervals.
        before: folder of an earlier model, whose frame of one layer sets a budget in milliseconds; None
            for none.
    """

    dataset: str
    model: str
    budgets: tuple[Count, ...] = Field(default=(1, 2, 3, 4, 6, 8, 12), min_length=1)
    limit: Count = 200
    validation_limit: Count = 600
    seed: int = Field(default=0, ge=0, lt=2**32)
    before: str | None = None


@dataclass(frozen=True)
class Run:
    """One evaluation.

    Attributes:
        name, role, what: as in `admn_ros.benchmark.worth.results.RunResult`.
        plan: plan of the evaluation.
    """

    name: str
    role: Role
    what: str
    plan: EvaluationPlan


def policies(config: ModelConfig, losses: Path) -> tuple[str, ...]:
    """Return the compared policies: the model's own first, the oracle last.

    Args:
        config: description of the model.
        losses: file of `admn rank`.
    """
    files = f"{BEST_STATIC}:{losses}", f"{ORACLE}:{losses}"
    return tuple(dict.fromkeys((own_policy(config), ALLOCATE, NAIVE, *files)))


def main_runs(plan: WorthPlan, costs: ModelCosts, compared: Sequence[str]) -> list[Run]:
    """Return the comparisons of policies: every unit on every split."""
    runs = []
    for split in SPLITS:
        for unit in UNITS:
            budgets = [float(b) for b in plan.budgets] if unit == "layers" else ladder(costs.table(unit))
            found = _evaluation(plan, compared, budgets, split=split, unit=unit)
            runs.append(Run(f"{split}-{unit}", "main", f"{split}, {CORRUPTION}", found))
    return runs


def shift_runs(plan: WorthPlan, compared: Sequence[str], random_model: Path, random_table: LayerCosts) -> list[Run]:
    """Return the runs on data and costs that training has not seen: the first policy beside the last one, the oracle.

    Args:
        plan: what is compared.
        compared: policies.
        random_model: folder of the model with a random table of milliseconds.
        random_table: that table.
    """
    two, scarce = (compared[0], compared[-1]), [float(b) for b in SCARCE]
    runs = [Run(name, "shift", what, _evaluation(plan, two, scarce, corruptions=(corruption,)))
            for name, what, corruption in (
                ("missing", "missing inputs", "room-missing"),
                ("unseen", "kinds of corruption that training did not have", "room-unseen"),
                ("severe", "corruption up to 2.5 times as strong as in training", "room-severe"))]
    runs.append(Run("misplaced", "shift", "nodes that were moved by 10 cm and 5 degrees, with the poses of before",
                    _evaluation(plan, two, scarce, kind=MISPLACED)))
    runs.append(Run("costs", "shift", "random cost table", _evaluation(
        plan, two, firsts(random_table), unit="milliseconds", model=str(random_model))))
    return runs


def before_runs(plan: WorthPlan) -> list[Run]:
    """Return the run of the earlier model, by its own policy within one layer; none without such a model."""
    if plan.before is None:
        return []
    return [Run(BEFORE, "before", "earlier model, 1 layer", _evaluation(plan, (), [1.0], model=plan.before))]


def same_time_run(plan: WorthPlan, limit_ms: float) -> Run:
    """Return the run of the model, by its own policy, within the milliseconds of the earlier model's frame."""
    return Run(SAME_TIME, "before", "in the time of a frame of one layer of the earlier model",
               _evaluation(plan, (), [limit_ms], unit="milliseconds"))


def firsts(table: LayerCosts) -> list[float]:
    """Return the budgets that hold any 1, 2, ... modalities at one layer each, at all sensor nodes."""
    everything = table.everything
    floors = sorted((table.modalities[m].backbone(1, n) for m, n in everything.items()), reverse=True)
    return [table.amount(table.base(everything) + sum(floors[:k + 1])) for k in range(len(floors))]


def ladder(table: LayerCosts) -> list[float]:
    """Return budgets in the unit of a table, ascending.

    They are the cheapest frame, `firsts`, and geometric steps from there to all layers.
    """
    everything = table.everything
    low, high = firsts(table)[-1], table.amount(table.total(everything))
    steps = [low * (high / low) ** (k / (STEPS + 1)) for k in range(1, STEPS + 1)] if high > low else []
    rounded = [float(f"{x:.4g}") for x in steps]
    return sorted({table.amount(table.least(everything)), *firsts(table), *rounded, high})


def _evaluation(plan: WorthPlan, compared: Sequence[str], budgets: Sequence[float], *, split: str = SPLITS[0],
                kind: str = "shards", unit: CostUnit = "layers", corruptions: tuple[str, ...] = (CORRUPTION,),
                model: str | None = None) -> EvaluationPlan:
    return EvaluationPlan(sources=(plan.dataset,), kind=kind, split=split, model=model or plan.model,
                          corruptions=corruptions, budgets=tuple(budgets), unit=unit, policies=tuple(compared),
                          seed=plan.seed, limit=plan.limit)
