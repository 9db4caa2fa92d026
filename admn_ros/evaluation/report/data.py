# SPDX-License-Identifier: Apache-2.0
"""Finished evaluation, read from its folder: metrics, frames, times, and the focus of the report."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from admn_ros.errors import InputError
from admn_ros.evaluation.plan import CLEAN
from admn_ros.evaluation.records import Columns, read_columns
from admn_ros.evaluation.results_folder import RECORDS, RESULTS, TIMES, TIMINGS, read_results
from admn_ros.files import read_json
from admn_ros.scoring.metrics import Floats, distances

Json = dict[str, Any]
CM_PER_M = 100.0


@dataclass(frozen=True)
class Evaluation:
    """Contents of a results folder.

    Attributes:
        results: results.json.
        timings: timings.json.
        records: columns of the frames by corruption (`admn_ros.evaluation.records`).
        times: columns of the durations by corruption.
        fingerprint: SHA-256 of results.json.
    """

    results: Json
    timings: Json
    records: Mapping[str, Columns]
    times: Mapping[str, Columns]
    fingerprint: str

    @property
    def corruptions(self) -> list[str]:
        """Corruptions, in the order of the plan."""
        found: list[str] = self.results["settings"]["corruptions"]
        return found

    @property
    def policies(self) -> list[str]:
        """Policies. The first one is evaluated; the others are its baselines."""
        found: list[str] = self.results["settings"]["policies"]
        return found

    @property
    def modalities(self) -> list[str]:
        """Modalities, in the order of the model."""
        return list(self.results["described_model"]["depths"])

    @property
    def is_of_bags(self) -> bool:
        """Whether the source is recordings, not a dataset."""
        return bool(self.results["source"]["kind"] == "bag")

    @cached_property
    def budgets(self) -> list[Json]:
        """Labels of the budgets, in the order of the variants."""
        cells = self.results["cells"]
        return [cell["budget"] for cell in cells[:len(cells) // (len(self.corruptions) * len(self.policies))]]

    @cached_property
    def constant_budgets(self) -> list[int]:
        """Indices of the constant budgets, in ascending order; no limit comes last."""
        found = [k for k, b in enumerate(self.budgets) if "from" not in b]
        return sorted(found, key=lambda k: (self.budgets[k]["limit"] is None, self.budgets[k]["limit"]))

    @cached_property
    def changing_budgets(self) -> list[int]:
        """Indices of the budgets that change over time."""
        return [k for k in range(len(self.budgets)) if "from" in self.budgets[k]]

    @cached_property
    def focus(self) -> int:
        """Index of the budget in focus: the default of the deployment, else the median one."""
        finite = [k for k in self.constant_budgets if self.budgets[k]["limit"] is not None]
        bag = self.results["settings"]["bag"]
        default = bag["deployment"]["budget"] if bag else None
        for k in finite:
            label = self.budgets[k]
            if default and (default["limit"], default["unit"]) == (label["limit"], label["unit"]):
                return k
        return finite[(len(finite) - 1) // 2] if finite else self.constant_budgets[-1]

    def variant(self, policy: int, budget: int) -> int:
        """Return the index of a policy with a budget among the variants of a column."""
        return policy * len(self.budgets) + budget

    def cell(self, corruption: str, policy: int, budget: int) -> Json:
        """Return the metrics of a corruption, policy and budget."""
        per_corruption = len(self.policies) * len(self.budgets)
        number = self.corruptions.index(corruption) * per_corruption + self.variant(policy, budget)
        found: Json = self.results["cells"][number]
        return found

    def errors_cm(self, corruption: str, variant: int) -> Floats:
        """Return position errors in cm (N,); NaN without estimate or ground truth."""
        axes, columns = self.results["described_model"]["axes"], self.records[corruption]
        away = distances(columns["mean_m"][:, variant, :axes], columns["position_m"][:, :axes])
        return np.asarray(CM_PER_M * away, dtype=np.float64)

    @cached_property
    def worst(self) -> str | None:
        """Corruption with the largest mean error at the focus; None without ground truth or with one corruption."""
        errors = {c: self.cell(c, 0, self.focus)["error_cm"] for c in self.corruptions}
        known = {c: e["mean"] for c, e in errors.items() if e is not None}
        return max(known, key=lambda c: known[c]) if len(known) > 1 else None

    @cached_property
    def mildest(self) -> str:
        """Clean if it was evaluated, else the first corruption."""
        return CLEAN if CLEAN in self.corruptions else self.corruptions[0]


def budget_text(label: Mapping[str, Any], *, long: bool = False) -> str:
    """Return the short name of a budget (`6`, `all`, `trace x.csv`), or the long one with its unit."""
    if "from" in label:
        return str(label["from"])
    if label["limit"] is None:
        return "no limit" if long else "all"
    unit = "layer" if (label["unit"], label["limit"]) == ("layers", 1) else label["unit"]
    return f"{label['limit']:g}" + (f" {unit}" if long else "")


def percent_above(regret: Mapping[str, Any] | None) -> str:
    """Return an error above the oracle's in percent, with its interval; empty if it is unknown."""
    if regret is None:
        return ""
    interval = regret["interval"]
    return f"{100 * regret['share']:+.1f} %" + (
        "" if interval is None else f" ({100 * interval[0]:+.1f} to {100 * interval[1]:+.1f})")


def read_evaluation(folder: Path) -> Evaluation:
    """Read a finished evaluation.

    Raises:
        InputError: results, frames or times are missing, broken or inconsistent.
    """
    results = read_results(folder)
    variants = len(results["cells"]) // max(1, len(results["settings"]["corruptions"]))
    records, times = {}, {}
    for name in results["settings"]["corruptions"]:
        frames = [cell["frames"]["n"] for cell in results["cells"] if cell["corruption"] == name]
        records[name] = _checked(folder / RECORDS / f"{name}.npz", "mean_m", frames, variants)
        times[name] = _checked(folder / TIMES / f"{name}.npz", "network_ms", frames, variants)
    digest = hashlib.sha256((folder / RESULTS).read_bytes()).hexdigest()
    return Evaluation(results, read_json(folder / TIMINGS), records, times, digest)


def _checked(path: Path, column: str, frames: Sequence[int], variants: int) -> Columns:
    """Read columns and check their shape against the metrics."""
    columns = read_columns(path)
    shape = columns[column].shape[:2] if column in columns else "none"
    if len(frames) != variants or shape != (frames[0], variants):
        raise InputError(str(path), f"{shape} frames and variants", f"({frames[:1]}, {variants}), as in {RESULTS}; "
                                                                     "evaluate again with --force")
    return columns
