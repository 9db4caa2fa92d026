# SPDX-License-Identifier: Apache-2.0
"""Runs every evaluation of `admn worth`, one after another. A run can be interrupted and resumed at any time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from admn_ros.baselines.measured_losses import VALIDATION, MeasuredLosses, read_losses, write_losses
from admn_ros.benchmark.worth.decision import decision_ms
from admn_ros.benchmark.worth.plan import (
    BEFORE,
    CORRUPTION,
    SPLITS,
    UNITS,
    Run,
    WorthPlan,
    before_runs,
    ladder,
    main_runs,
    policies,
    same_time_run,
    shift_runs,
)
from admn_ros.benchmark.worth.points import run_result
from admn_ros.benchmark.worth.random_costs import random_costs, with_costs
from admn_ros.benchmark.worth.results import RunResult, Worth
from admn_ros.budget.budget import Budget, CostUnit
from admn_ros.config import ModelConfig, load_config
from admn_ros.evaluation.dataset_source import DatasetSource
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.rank import rank_allocations
from admn_ros.evaluation.run import evaluate
from admn_ros.evaluation.workers import open_source
from admn_ros.files import write_json
from admn_ros.model.checkpoint import CONFIG, estimator_fingerprint
from admn_ros.model.costs import ModelCosts

OnStep = Callable[[str, int, int], None]
"""Called with what runs, and how much of it is done and there."""
TIMED_FRAMES = 20
"""Frames on which the duration of the allocation is measured."""


class WorthRunner:
    """All evaluations of a plan.

    Args:
        plan: what is compared.
        work: folder of the evaluations; it may be deleted afterwards.
        jobs: number of processes.
        resume: continue an interrupted run of the same plan.
        on_step: callback for the progress.

    Raises:
        InputError: the dataset cannot be read.
        ModelError: the model cannot be used.
    """

    def __init__(self, plan: WorthPlan, work: Path, *, jobs: int = 1, resume: bool = False,
                 on_step: OnStep = lambda what, done, total: None) -> None:
        self._plan, self._work, self._jobs, self._resume, self._on_step = plan, work, jobs, resume, on_step
        self._source = DatasetSource(_data(plan, SPLITS[0], plan.limit))
        self._engine = self._source.engine
        if plan.before is not None:
            load_config(ModelConfig, Path(plan.before) / CONFIG)

    def run(self, command: str) -> Worth:
        """Run what is missing and return the figures.

        Args:
            command: command line, for the results.

        Raises:
            AdmnError: an evaluation fails, or a folder cannot be used.
        """
        plan, config, costs = self._plan, self._engine.config, self._engine.costs
        costs.table("milliseconds")  # measured before anything else runs
        compared = policies(config, self._losses())
        table = random_costs(config, plan.seed)
        random_model = with_costs(Path(plan.model), table, self._work / "random_costs")
        runs = [*main_runs(plan, costs, compared),
                *shift_runs(plan, compared, random_model, ModelCosts(config, table).table("milliseconds")),
                *before_runs(plan)]
        results = [self._result(run, f"{number}/{len(runs)}") for number, run in enumerate(runs, start=1)]
        results += self._same_time(results)
        measured = costs.measured
        assert measured is not None
        return Worth(command=command, model=Path(plan.model).name, dataset=Path(plan.dataset).name, frames=plan.limit,
                     seed=plan.seed, decision_ms=self._decision_ms(),
                     inputs=(len(config.modalities), len(config.sensor_nodes)), device=measured.device,
                     threads=measured.threads, runs=tuple(results))

    def _losses(self) -> Path:
        """Return the file of the errors of all allocations on the validation split; measured if it is not there."""
        path = self._work / "losses.json"
        if self._resume and path.is_file():
            found = read_losses(path, self._engine.config)
            if self._fits(found):
                return path
        measured = rank_allocations(_data(self._plan, VALIDATION, self._plan.validation_limit),
                                    progress=lambda done, total: self._on_step("validation", done, total))
        write_losses(path, measured)
        return path

    def _fits(self, found: MeasuredLosses) -> bool:
        plan = self._plan
        source = DatasetSource(_data(plan, VALIDATION, plan.validation_limit))
        return ((found.estimator_fingerprint, found.dataset, found.split, found.corruption, found.seed, found.frames)
                == (estimator_fingerprint(self._engine.network), Path(plan.dataset).name, VALIDATION, CORRUPTION,
                    plan.seed, sum(unit.frames for unit in source.units())))

    def _result(self, run: Run, number: str = "") -> RunResult:
        """Run one evaluation, or read it."""
        what = f"{number} {run.what}, {run.plan.unit}".strip()
        folder, source = self._work / run.name, open_source(run.plan)
        found = evaluate(run.plan, folder, source=source, jobs=self._jobs, resume=self._resume,
                         progress=lambda done, total: self._on_step(what, done, total))
        return run_result(run, folder, found, source.engine.config, source.engine.costs)

    def _same_time(self, results: Sequence[RunResult]) -> list[RunResult]:
        """Run the model within the milliseconds of the model of before, if there is one."""
        before = next((run for run in results if run.name == BEFORE), None)
        if before is None:
            return []
        (point,) = before.points
        return [self._result(same_time_run(self._plan, round(point.milliseconds, 3)))]

    def _decision_ms(self) -> dict[CostUnit, float]:
        units, budgets = self._source.units(), self._source.budgets(0)
        frames = itertools.chain.from_iterable(self._source.frames(unit, budgets) for unit in units)
        samples = [frame.sample for frame in itertools.islice(frames, TIMED_FRAMES)]
        limits: dict[CostUnit, Iterable[float]] = {
            unit: self._plan.budgets if unit == "layers" else ladder(self._engine.costs.table(unit)) for unit in UNITS}
        return {unit: round(decision_ms(self._engine, samples, [Budget(x, unit) for x in found]), 4)
                for unit, found in limits.items()}


def write_worth(found: Worth, out: Path) -> None:
    """Write the file of the figures.

    Raises:
        InputError: it cannot be written.
    """
    write_json(out, found.model_dump(mode="json"))


def _data(plan: WorthPlan, split: str, limit: int) -> EvaluationPlan:
    return EvaluationPlan(sources=(plan.dataset,), split=split, model=plan.model, corruptions=(CORRUPTION,),
                          seed=plan.seed, limit=limit)
