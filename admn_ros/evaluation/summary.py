# SPDX-License-Identifier: Apache-2.0
"""Figures of one corruption, policy and budget, from the records of an evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from admn_ros.config import ModelConfig
from admn_ros.evaluation.records import Columns
from admn_ros.inference.target import shows_target
from admn_ros.scoring import metrics
from admn_ros.scoring.bootstrap import FEWEST_SCENES, Interval, SceneBootstrap
from admn_ros.scoring.estimates import ErrorSummary, Estimates
from admn_ros.scoring.metrics import CDF_AT_CM, CM_PER_M, COVERAGES, Mask, Whole
from admn_ros.scoring.ranking import auroc, rank_correlation

DIGITS = 6
MOST_CONDITIONS = 24
"""Largest number of distinct severities that are listed one by one; above it, frames are grouped by which modalities
are corrupted."""

Json = dict[str, Any]


@dataclass(frozen=True)
class ContenderSummary:
    """Json of one contender under one corruption.

    Attributes:
        columns: records of the corruption.
        index: index of the contender.
        config: description of the model.
        seed: seed of the bootstrap.
        baseline: index of the contender with the same budget that it is compared with; None for none.
        oracle: index of the oracle with the same budget; None for none.
    """

    columns: Columns
    index: int
    config: ModelConfig
    seed: int
    baseline: int | None = None
    oracle: int | None = None

    def of(self, name: str) -> npt.NDArray[Any]:
        """Return a column of this contender."""
        return self.columns[name][:, self.index]

    @cached_property
    def estimates(self) -> Estimates:
        """Estimates of this contender, over the axes of the model."""
        axes = len(self.config.localization.min_m)
        return Estimates(self.of("mean_m")[:, :axes], self.of("covariance_m2")[:, :axes, :axes],
                         self.columns["position_m"][:, :axes], self.of("scores"), self.columns["label"])

    def figures(self) -> Json:
        """Return all figures as JSON values. Json that cannot be computed are None; `why_null` has the reasons."""
        names, scene = np.unique(self.columns["scene"], return_inverse=True)
        bootstrap = SceneBootstrap(len(names), self.seed)
        reasons = Counter(self.of("reason").tolist())
        found: Json = {"frames": {
            "n": len(scene), "scenes": len(names), "without_estimate": int((~self.estimates.answered).sum()),
            "without_target": sum(not shows_target(self.config.classes, scores)
                                  for scores in self.estimates.scores[self.estimates.answered]),
            "reasons": dict(sorted(reasons.items()))}}
        found |= self._position(bootstrap, scene) | self._classes(bootstrap, scene)
        found |= {"layers": self._layers(), "spent": self._spent(),
                  "violations": int(self.of("violation").sum()),
                  "ran_unlike_listed": int(self.of("unlike").sum()),
                  "qoi": {str(m): self._qoi(k) for k, m in enumerate(self.config.modalities)},
                  "conditions": self._conditions(), "versus_first_policy": self._versus(bootstrap, scene)}
        if self.oracle is not None:
            found["regret"] = self._regret(bootstrap, scene, replace(self, index=self.oracle).estimates)
        why = {key: reason for key, reason in self._why(found).items() if reason}
        return {**found, "why_null": why}

    # --- position ----------------------------------------------------------------------------------

    def _position(self, bootstrap: SceneBootstrap, scene: Whole) -> Json:
        estimates = self.estimates
        rows = estimates.located
        if not rows.any():
            return {"error_cm": None, "cdf": None, "nll": None, "coverage": None, "constant": None}
        where, truth = scene[rows], estimates.position_m[rows]
        errors, nll = estimates.errors_cm(rows), estimates.nll(rows)
        summary = ErrorSummary.of(errors)
        constant = ErrorSummary.of(CM_PER_M * metrics.distances(np.broadcast_to(truth.mean(axis=0), truth.shape),
                                                                truth))
        return {
            "error_cm": {
                "n": summary.n, "mean": rounded(summary.mean_cm),
                "mean_interval": _interval(bootstrap.of_mean(errors, where)),
                "median": rounded(summary.median_cm),
                "median_interval": _interval(bootstrap.of_quantile(errors, where, 0.5)),
                "p95": rounded(summary.p95_cm),
                "p95_interval": _interval(bootstrap.of_quantile(errors, where, 0.95))},
            "cdf": {"at_cm": list(CDF_AT_CM), "share": [rounded(x) for x in metrics.cdf_at(errors)]},
            "nll": {"mean": rounded(nll.mean()), "mean_interval": _interval(bootstrap.of_mean(nll, where))},
            "coverage": {f"{probability:.0%}": _covered(bootstrap, estimates.covered(rows, probability), where)
                         for probability in COVERAGES},
            "constant": {"mean": rounded(constant.mean_cm), "median": rounded(constant.median_cm)}}

    def _versus(self, bootstrap: SceneBootstrap, scene: Whole) -> Json | None:
        """Mean increase of the error over the baseline, frame by frame, where both have an estimate."""
        if self.baseline is None:
            return None
        other = replace(self, index=self.baseline).estimates
        rows = self.estimates.located & other.located
        if not rows.any():
            return None
        larger = self.estimates.errors_cm(rows) - other.errors_cm(rows)
        return {"n": int(rows.sum()), "error_cm_mean": rounded(larger.mean()),
                "interval": _interval(bootstrap.of_mean(larger, scene[rows]))}

    def _regret(self, bootstrap: SceneBootstrap, scene: Whole, oracle: Estimates) -> Json | None:
        """Mean error relative to that of the oracle, minus 1, on the frames where both have an estimate."""
        rows = self.estimates.located & oracle.located
        if not rows.any():
            return None
        errors, least = self.estimates.errors_cm(rows), oracle.errors_cm(rows)
        interval = bootstrap.of_ratio(errors, least, scene[rows])
        return {"n": int(rows.sum()), "share": rounded(errors.mean() / least.mean() - 1),
                "interval": None if interval is None else [rounded(x - 1) for x in interval],
                "without_estimate": int((oracle.answered & ~self.estimates.answered).sum())}

    # --- class -------------------------------------------------------------------------------------

    def _classes(self, bootstrap: SceneBootstrap, scene: Whole) -> Json:
        estimates, count = self.estimates, len(self.config.classes)
        rows = estimates.labelled
        if not rows.any():
            return {"classes": None}
        truth, predicted, where = estimates.label[rows], estimates.predicted[rows], scene[rows]
        by_scene = np.stack([metrics.confusion_matrix(truth[where == s], predicted[where == s], count)
                             for s in range(bootstrap.scenes)])
        confusion = by_scene.sum(axis=0)
        sums = np.stack([estimates.confidence_sums(rows & (scene == s)) for s in range(bootstrap.scenes)])
        return {"classes": {
            "n": int(rows.sum()), "names": list(self.config.classes),
            "accuracy": rounded(metrics.accuracy(confusion)),
            "accuracy_interval": _interval(bootstrap.of_counts(by_scene, metrics.accuracy, where)),
            "macro_f1": rounded(metrics.macro_f1(confusion)),
            "macro_f1_interval": _interval(bootstrap.of_counts(by_scene, metrics.macro_f1, where)),
            "calibration_error": rounded(metrics.calibration_error(sums.sum(axis=0))),
            "calibration_error_interval": _interval(bootstrap.of_counts(sums, metrics.calibration_error, where)),
            "confusion": confusion.tolist()}}

    # --- compute -----------------------------------------------------------------------------------

    def _layers(self, rows: Mask | None = None) -> Json:
        active = self.of("active") if rows is None else self.of("active")[rows]
        total, ends = active.sum(axis=1), np.cumsum(list(self.config.depths.values()))[:-1]
        shares = dict(zip(map(str, self.config.depths), np.split(active.mean(axis=0), ends), strict=True))
        return {"mean": rounded(total.mean()), "max": int(total.max()),
                "per_modality": {m: rounded(share.sum()) for m, share in shares.items()},
                "per_layer": {m: [rounded(x) for x in share] for m, share in shares.items()}}

    def _spent(self) -> Json:
        cost, spent = self.of("cost"), self.of("spent")
        return {"unit": ", ".join(sorted(set(self.of("unit").tolist()))),
                "mean": rounded(spent.mean()), "max": rounded(spent.max()),
                "per_modality": {str(m): rounded(cost[:, k].mean()) for k, m in enumerate(self.config.modalities)}}

    # --- quality -----------------------------------------------------------------------------------

    def _qoi(self, modality: int) -> Json:
        """Relation of the QoI to the injected severity: QoI should fall as severity rises."""
        qoi, severity = self.of("qoi")[:, modality], self.columns["severity"][:, modality]
        rows = np.isfinite(qoi) & np.isfinite(severity)
        qoi, severity = qoi[rows], severity[rows]
        clean, bad = qoi[severity == 0], qoi[severity > 0]
        return {"n": int(rows.sum()), "n_corrupted": len(bad),
                "mean_clean": rounded(clean.mean()) if len(clean) else None,
                "mean_corrupted": rounded(bad.mean()) if len(bad) else None,
                "rank_correlation": rounded(rank_correlation(-qoi, severity)),
                "auroc": rounded(auroc(-clean, -bad))}

    def _conditions(self) -> list[Json]:
        """Errors and layers by corruption of the frame."""
        severity, kind = self.columns["severity"], self.columns["kind"]
        if len(np.unique(severity, axis=0)) <= MOST_CONDITIONS:
            texts = np.array([" ".join(f"{k}:{s:.3g}" for k, s in zip(ks, ss, strict=True))
                              for ks, ss in zip(kind.tolist(), severity.tolist(), strict=True)])
        else:
            texts = np.array([" ".join("corrupted" if bad else "clean" for bad in row) for row in severity > 0])
        found = []
        for text in np.unique(texts):
            rows = texts == text
            located = self.estimates.located & rows
            found.append({
                "modalities": dict(zip(map(str, self.config.modalities), str(text).split(" "), strict=True)),
                "n": int(rows.sum()),
                "error_cm_mean": rounded(self.estimates.errors_cm(located).mean()) if located.any() else None,
                "layers": self._layers(rows)["per_modality"]})
        return found

    def _why(self, found: Json) -> dict[str, str]:
        place = "no frame has both an estimate and a true position" if found["error_cm"] is None else ""
        intervals = [f[name] for f, name in ((found["error_cm"], "mean_interval"),
                                             (found["classes"], "accuracy_interval")) if f is not None]
        judged = any(f["n"] for f in found["qoi"].values())
        return {"error_cm": place, "cdf": place, "nll": place, "coverage": place, "constant": place,
                "classes": "no frame has both an estimate and a true class" if found["classes"] is None else "",
                "intervals": f"no intervals: they need {FEWEST_SCENES} scenes with truth" if None in intervals else "",
                "qoi": "" if judged else "no QoI: the model did not learn to judge, or nothing was judged"}


def rounded(value: float | np.floating[Any] | npt.NDArray[Any] | None) -> float | None:
    """Round to a JSON number; NaN and infinity become None."""
    if value is None or not np.isfinite(value):
        return None
    return round(float(value), DIGITS)


def _interval(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [rounded(x) for x in interval]


def _covered(bootstrap: SceneBootstrap, inside: npt.NDArray[np.bool_], where: Whole) -> Json:
    values = inside.astype(np.float64)
    return {"share": rounded(values.mean()), "interval": _interval(bootstrap.of_mean(values, where))}


def describe_model(config: ModelConfig) -> Json:
    """Describe a model for results.json."""
    return {"name": config.name, "trained": config.trained, "qoi_trained": config.qoi_trained,
            "frame_id": config.frame_id, "classes": list(config.classes), "sensor_nodes": list(config.sensor_nodes),
            "depths": {str(m): d for m, d in config.depths.items()}, "layers_total": config.layers_total,
            "axes": len(config.localization.min_m)}


def describe_times(columns: Columns, labels: Sequence[Json]) -> list[Json]:
    """Summarize the milliseconds in the network by contender: mean, median, p95."""
    found = []
    for v, label in enumerate(labels):
        whole = columns["controller_ms"][:, v] + columns["network_ms"][:, v]
        found.append({**label, "network_ms": {"mean": rounded(whole.mean()), "median": rounded(np.median(whole)),
                                              "p95": rounded(np.quantile(whole, 0.95))},
                      "controller_ms_mean": rounded(columns["controller_ms"][:, v].mean())})
    return found
