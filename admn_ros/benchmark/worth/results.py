# SPDX-License-Identifier: Apache-2.0
"""Content of `worth.json`. Tables and figure are made from it alone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from admn_ros.budget.budget import CostUnit
from admn_ros.config import Count, Finite, NotNegative, Strict, parse_config
from admn_ros.files import read_json

FILE = "worth.json"
Role = Literal["main", "shift", "before"]
"""Comparison of policies; data or costs that training has not seen; one layer of an earlier model."""


class Figure(Strict):
    """Number with its 95 % interval over recordings; None with too few of them."""

    value: Finite
    interval: tuple[Finite, Finite] | None = None


class Point(Strict):
    """One policy within one budget.

    Attributes:
        policy: kind of the policy.
        limit: limit of the budget, in the unit of the run.
        frames: number of frames.
        error_cm: mean position error.
        accuracy: share of right classes.
        regret: mean error relative to that of the oracle, minus 1, on the same frames; None without oracle.
        more_cm: mean error minus that of the first policy, on the same frames; None for that one itself.
        more_right: share of right classes minus that of the first policy, likewise.
        without_estimate: frames without an estimate.
        avoidable: such frames in which the budget held a layer of some input.
        violations: frames that ran more than the budget.
        layers: mean number of layers that ran.
        milliseconds: mean cost of what ran by the table of milliseconds, all present nodes included.
    """

    policy: str
    limit: NotNegative
    frames: Count
    error_cm: Figure | None
    accuracy: Figure | None
    regret: Figure | None
    more_cm: Figure | None
    more_right: Figure | None
    without_estimate: int
    avoidable: int
    violations: int
    layers: NotNegative
    milliseconds: NotNegative


class RunResult(Strict):
    """Figures of one evaluation.

    Attributes:
        name: name of the run.
        role: what it is for.
        what: what the run shows, for headings.
        split, corruption, unit: data, and unit of the budgets.
        points: figures by policy, the first one first, and budget.
    """

    name: str
    role: Role
    what: str
    split: str
    corruption: str
    unit: CostUnit
    points: tuple[Point, ...]

    @property
    def policies(self) -> tuple[str, ...]:
        """Kinds of the policies; the first one is the model's own."""
        return tuple(dict.fromkeys(p.policy for p in self.points))

    @property
    def limits(self) -> tuple[float, ...]:
        """Limits of the budgets, ascending."""
        return tuple(sorted({p.limit for p in self.points}))

    def of(self, policy: str) -> tuple[Point, ...]:
        """Return the points of a policy by ascending budget."""
        return tuple(sorted((p for p in self.points if p.policy == policy), key=lambda p: p.limit))


class Worth(Strict):
    """Content of the file.

    Attributes:
        command: command line that made it.
        model, dataset: names of the folders.
        frames: largest number of frames of a run.
        seed: seed of corruptions, cost tables and intervals.
        decision_ms: median duration of the allocation alone, by unit of the budget, in milliseconds.
        inputs: modalities and sensor nodes over which it decides.
        device, threads: machine of the table of milliseconds.
        runs: figures.
    """

    format: Literal["admn-worth-1"] = "admn-worth-1"
    command: str
    model: str
    dataset: str
    frames: Count
    seed: int
    decision_ms: dict[CostUnit, NotNegative]
    inputs: tuple[Count, Count]
    device: str
    threads: Count
    runs: tuple[RunResult, ...]

    def main(self, unit: CostUnit) -> list[RunResult]:
        """Return the comparisons of policies in a unit, one for each split."""
        return [run for run in self.runs if run.role == "main" and run.unit == unit]


def read_worth(path: Path) -> Worth:
    """Read a file of `admn worth`.

    Raises:
        InputError: the file cannot be read.
        ConfigError: it has another content.
    """
    return parse_config(Worth, read_json(path, "a file of `admn worth`"), str(path))
