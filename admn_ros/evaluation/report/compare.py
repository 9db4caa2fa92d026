# SPDX-License-Identifier: Apache-2.0
"""Comparison of two evaluations: changes of metrics, their confidence intervals, and regressions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from admn_ros.errors import InputError
from admn_ros.evaluation.report.data import Evaluation, Json, budget_text
from admn_ros.evaluation.summary import rounded
from admn_ros.inference.ellipse import ellipse_limit
from admn_ros.scoring import metrics
from admn_ros.scoring.bootstrap import Interval, SceneBootstrap
from admn_ros.scoring.metrics import Floats

FORMAT = "admn-comparison-1"
SHARE = 0.9
"""Probability mass of the ellipse whose coverage is compared."""
Verdict = Literal["same", "better", "WORSE", "LOST", "new"]


@dataclass(frozen=True)
class Metric:
    """Metric of a cell.

    Attributes:
        unit: unit of the values.
        read: returns the value of a cell; None if it has none.
        worse: returns by how much a new value is worse than an old one; negative if it is better.
        tolerance: allowed deterioration, in the unit. It is a threshold for attention, not for significance.
    """

    unit: str
    read: Callable[[Json], float | None]
    worse: Callable[[float, float], float]
    tolerance: float


def _up(old: float, new: float) -> float:
    return new - old


def _down(old: float, new: float) -> float:
    return old - new


def _off(old: float, new: float) -> float:
    return abs(new - SHARE) - abs(old - SHARE)


def _of(part: str, name: str) -> Callable[[Json], float | None]:
    return lambda cell: None if cell[part] is None else cell[part][name]


METRICS: Mapping[str, Metric] = {
    "error.mean": Metric("cm", _of("error_cm", "mean"), _up, 1.0),
    "error.median": Metric("cm", _of("error_cm", "median"), _up, 1.0),
    "error.p95": Metric("cm", _of("error_cm", "p95"), _up, 5.0),
    "nll": Metric("nats", _of("nll", "mean"), _up, 0.2),
    "coverage": Metric("share", lambda cell: None if cell["coverage"] is None else cell["coverage"]["90%"]["share"],
                       _off, 0.05),
    "accuracy": Metric("share", _of("classes", "accuracy"), _down, 0.02),
    "f1": Metric("share", _of("classes", "macro_f1"), _down, 0.05),
    "qoi": Metric("AUROC", lambda cell: _mean(q["auroc"] for q in cell["qoi"].values()), _down, 0.05),
    "layers": Metric("layers", _of("layers", "mean"), _up, 0.5),
    "violations": Metric("frames", lambda cell: float(cell["violations"]), _up, 0.0),
    "unanswered": Metric("share", lambda cell: cell["frames"]["without_estimate"] / cell["frames"]["n"], _up, 0.0),
}
"""Metrics by name; `coverage` is that of the 90 % ellipse, and is worse the further it is from 0.9."""


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


@dataclass(frozen=True)
class Tolerance:
    """Allowed deterioration of a metric.

    Attributes:
        value: in the unit of the metric, or as a share of its old value.
        is_share: whether `value` is a share.
    """

    value: float
    is_share: bool = False

    def allows(self, worse: float, old: float) -> bool:
        """Return whether a deterioration is within the tolerance."""
        return worse <= self.value * (abs(old) if self.is_share else 1.0)

    def __str__(self) -> str:
        return f"{100 * self.value:g}%" if self.is_share else f"{self.value:g}"


def read_tolerances(texts: Sequence[str]) -> dict[str, Tolerance]:
    """Parse tolerances `METRIC=VALUE` or `METRIC=VALUE%`; other metrics have their defaults.

    Raises:
        InputError: a metric is unknown, or a value is invalid.
    """
    found = {name: Tolerance(metric.tolerance) for name, metric in METRICS.items()}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in METRICS:
            raise InputError("--tolerance", text, f"METRIC=VALUE or METRIC=VALUE% with one of {', '.join(METRICS)}")
        is_share = value.endswith("%")
        try:
            number = float(value.removesuffix("%"))
        except ValueError as error:
            raise InputError(f"--tolerance {name}", value or "nothing", "a number, or a number with %") from error
        if not math.isfinite(number) or number < 0:
            raise InputError(f"--tolerance {name}", value, "a number of at least 0")
        found[name] = Tolerance(number / 100 if is_share else number, is_share)
    return found


@dataclass(frozen=True)
class Change:
    """Change of one metric of one cell.

    Attributes:
        interval: 95 % confidence interval of the difference, bootstrapped over scenes; None if unknown.
        tolerance: allowed deterioration as text.
        verdict: outcome; LOST and new for a metric that only the old or only the new evaluation has.
    """

    corruption: str
    policy: str
    budget: str
    metric: str
    unit: str
    old: float | None
    new: float | None
    difference: float | None
    interval: Interval | None
    tolerance: str
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """Differences of two evaluations.

    Attributes:
        notes: differences beyond the model that limit the comparison.
        only_old: cells of the old evaluation alone.
        only_new: cells of the new evaluation alone.
        changes: metrics of the shared cells.
    """

    notes: list[str]
    only_old: list[str]
    only_new: list[str]
    changes: list[Change]

    @property
    def worse(self) -> list[Change]:
        """Changes beyond their tolerance, and lost metrics."""
        return [change for change in self.changes if change.verdict in ("WORSE", "LOST")]

    def text(self) -> str:
        """Return the comparison as JSON."""
        return json.dumps({"format": FORMAT, **asdict(self), "regressed": bool(self.worse)}, indent=1,
                          allow_nan=False) + "\n"


def compare(old: Evaluation, new: Evaluation, tolerances: Mapping[str, Tolerance]) -> Comparison:
    """Compare the cells that two evaluations share.

    Raises:
        InputError: they share none.
    """
    cells = [{(c["corruption"], c["policy"], json.dumps(c["budget"], sort_keys=True)): (k, c)
              for k, c in enumerate(e.results["cells"])} for e in (old, new)]
    shared = [key for key in cells[0] if key in cells[1]]
    only_old, only_new = ([_name(c) for key, (_, c) in mine.items() if key not in other]
                          for mine, other in ((cells[0], cells[1]), (cells[1], cells[0])))
    if not shared:
        raise InputError("cells", f"{'; '.join(only_old[:3])} and {'; '.join(only_new[:3])}",
                         "at least one corruption, policy and budget in common")
    changes: list[Change] = []
    for key in shared:
        (a, before), (b, after) = cells[0][key], cells[1][key]
        intervals = _intervals(old, new, key[0], _variant(old, a), _variant(new, b))
        for name, metric in METRICS.items():
            change = _change(name, metric, before, after, intervals.get(name), tolerances[name])
            changes += [change] if change is not None else []
    return Comparison(_notes(old, new), only_old, only_new, changes)


def _name(cell: Json) -> str:
    return f"{cell['corruption']}, {cell['policy']}, {budget_text(cell['budget'], long=True)}"


def _variant(evaluation: Evaluation, cell: int) -> int:
    return cell % (len(evaluation.budgets) * len(evaluation.policies))


def _change(name: str, metric: Metric, before: Json, after: Json, interval: Interval | None,
            tolerance: Tolerance) -> Change | None:
    old, new = metric.read(before), metric.read(after)
    if old is None and new is None:
        return None
    verdict: Verdict = "LOST" if new is None else "new"
    if old is not None and new is not None:
        worse = round(metric.worse(old, new), 9)
        verdict = "WORSE" if not tolerance.allows(worse, old) else "better" if worse < 0 and not tolerance.allows(
            -worse, old) else "same"
    return Change(before["corruption"], before["policy"], budget_text(before["budget"], long=True), name, metric.unit,
                  rounded(old), rounded(new), None if old is None or new is None else rounded(new - old), interval,
                  str(tolerance), verdict)


def _notes(old: Evaluation, new: Evaluation) -> list[str]:
    """Return differences beyond the model that limit the comparison."""
    a, b = old.results, new.results
    found = []
    if [s["fingerprint"] for s in a["sources"]] != [s["fingerprint"] for s in b["sources"]]:
        found.append("the recordings differ")
    elif not any(_paired(old, new, c) for c in old.corruptions if c in new.corruptions):
        found.append("the frames differ")
    one, other = a["settings"], b["settings"]
    found += [f"{name}: {one[name]} and {other[name]}" for name in ("seed", "variant", "limit", "split")
              if one[name] != other[name]]
    if a["version"] != b["version"]:
        found.append(f"admn_ros {a['version']} and {b['version']}")
    if a["model"] == b["model"]:
        found.append("the model is the same")
    return found


# --- intervals ------------------------------------------------------------------------------------


def _paired(old: Evaluation, new: Evaluation, corruption: str) -> bool:
    """Return whether both have the same frames with the same ground truth."""
    a, b = old.records[corruption], new.records[corruption]
    return all(np.array_equal(a[name], b[name]) for name in ("index", "stamp_ns", "scene", "label")) and np.array_equal(
        a["position_m"], b["position_m"], equal_nan=True)


def _intervals(old: Evaluation, new: Evaluation, corruption: str, a: int, b: int) -> dict[str, Interval]:
    """Return intervals of the differences, paired by frame and resampled by scene; none if the frames differ."""
    if not _paired(old, new, corruption):
        return {}
    names, scene = np.unique(old.records[corruption]["scene"], return_inverse=True)
    bootstrap = SceneBootstrap(len(names), old.results["settings"]["seed"])
    before, after = _by_frame(old, corruption, a), _by_frame(new, corruption, b)
    found: dict[str, Interval | None] = {}
    for name, values in before.items():
        both = np.isfinite(values) & np.isfinite(after[name])
        if both.any():
            found[name] = bootstrap.of_mean(after[name][both] - values[both], scene[both])
    errors = [values["error.mean"] for values in (before, after)]
    known = [np.isfinite(values) for values in errors]
    if known[0].any() and known[1].any():
        for name, share in (("error.median", 0.5), ("error.p95", 0.95)):
            found[name] = bootstrap.of_quantile_change(errors[0][known[0]], scene[known[0]], errors[1][known[1]],
                                                       scene[known[1]], share)
    return {name: (round(x[0], 6), round(x[1], 6)) for name, x in found.items() if x is not None}


def _by_frame(evaluation: Evaluation, corruption: str, variant: int) -> dict[str, Floats]:
    """Return per-frame values (N,) of the metrics that are means over frames; NaN without one."""
    columns, axes = evaluation.records[corruption], evaluation.results["described_model"]["axes"]
    errors = evaluation.errors_cm(corruption, variant)
    rows = np.isfinite(errors)
    mean, truth = columns["mean_m"][rows, variant, :axes], columns["position_m"][rows, :axes]
    covariance = columns["covariance_m2"][rows, variant, :axes, :axes]
    scores, label = columns["scores"][:, variant], columns["label"]
    judged = (label >= 0) & np.isfinite(scores).all(axis=1)
    found = {"error.mean": errors, "layers": columns["active"][:, variant].sum(axis=1).astype(np.float64)}
    found |= {name: np.full(len(errors), np.nan) for name in ("nll", "coverage", "accuracy")}
    if rows.any():
        found["nll"][rows] = metrics.gaussian_nll(mean, covariance, truth)
        found["coverage"][rows] = metrics.mahalanobis(mean, covariance, truth) <= ellipse_limit(SHARE, axes)
    found["accuracy"][judged] = scores[judged].argmax(axis=1) == label[judged]
    return found
