# SPDX-License-Identifier: Apache-2.0
"""From columns of frames to the figures of one cell: a corruption, a policy, a budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from admn_ros.config import ModelConfig
from admn_ros.evaluation.records import Columns
from admn_ros.inference.ellipse import ellipse_limit
from admn_ros.scoring import metrics
from admn_ros.scoring.bootstrap import FEWEST_SCENES, Interval, SceneBootstrap
from admn_ros.scoring.metrics import CDF_AT_CM, COVERAGES, Floats, Whole

DIGITS = 6
CM_PER_M = 100.0
MOST_CONDITIONS = 24
"""With more different severities than this, frames are grouped by which modalities are corrupted."""

Figures = dict[str, Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cell:
    """Frames of one corruption, seen under one variant.

    columns: of the corruption.
    variant: number of the policy with the budget.
    config: of the model.
    seed: of the bootstrap.
    rival: number of the variant with the same budget that it is compared with; None for none.
    """

    columns: Columns
    variant: int
    config: ModelConfig
    seed: int
    rival: int | None = None

    @property
    def answered(self) -> Mask:
        """Frames with an estimate."""
        found: Mask = np.isfinite(self.of("mean_m")).all(axis=1)
        return found

    def of(self, name: str) -> npt.NDArray[Any]:
        """A column of this variant."""
        return self.columns[name][:, self.variant]

    def figures(self) -> Figures:
        """All figures, as JSON values; what cannot be had is None, and `why_null` says why."""
        names, scene = np.unique(self.columns["scene"], return_inverse=True)
        bootstrap = SceneBootstrap(len(names), self.seed)
        reasons = Counter(self.of("reason").tolist())
        found: Figures = {"frames": {
            "n": len(scene), "scenes": len(names), "without_estimate": int((~self.answered).sum()),
            "reasons": dict(sorted(reasons.items()))}}
        found |= self._place(bootstrap, scene) | self._classes(bootstrap, scene)
        found |= {"layers": self._layers(), "spent": self._spent(),
                  "violations": int(self.of("violation").sum()),
                  "ran_unlike_listed": int(self.of("unlike").sum()),
                  "qoi": {str(m): self._qoi(k) for k, m in enumerate(self.config.modalities)},
                  "conditions": self._conditions(), "versus_first_policy": self._versus(bootstrap, scene)}
        why = {key: reason for key, reason in self._why(found).items() if reason}
        return {**found, "why_null": why}

    # --- place -------------------------------------------------------------------------------------

    @property
    def _located(self) -> Mask:
        located: Mask = np.isfinite(self.columns["position_m"][:, :self._axes]).all(axis=1) & self.answered
        return located

    @property
    def _axes(self) -> int:
        return len(self.config.localization.min_m)

    def _errors_cm(self, rows: Mask) -> Floats:
        axes = self._axes
        return CM_PER_M * metrics.distances(self.of("mean_m")[rows, :axes], self.columns["position_m"][rows, :axes])

    def _place(self, bootstrap: SceneBootstrap, scene: Whole) -> Figures:
        rows, axes = self._located, self._axes
        if not rows.any():
            return {"error_cm": None, "cdf": None, "nll": None, "coverage": None, "constant": None}
        where, truth = scene[rows], self.columns["position_m"][rows, :axes]
        errors = self._errors_cm(rows)
        mean_m, covariance_m2 = self.of("mean_m")[rows, :axes], self.of("covariance_m2")[rows, :axes, :axes]
        nll = metrics.gaussian_nll(mean_m, covariance_m2, truth)
        away = metrics.mahalanobis(mean_m, covariance_m2, truth)
        constant = CM_PER_M * metrics.distances(np.broadcast_to(truth.mean(axis=0), truth.shape), truth)
        return {
            "error_cm": {
                "n": int(rows.sum()), "mean": rounded(errors.mean()),
                "mean_interval": _interval(bootstrap.of_mean(errors, where)),
                "median": rounded(np.median(errors)),
                "median_interval": _interval(bootstrap.of_quantile(errors, where, 0.5)),
                "p95": rounded(np.quantile(errors, 0.95)),
                "p95_interval": _interval(bootstrap.of_quantile(errors, where, 0.95))},
            "cdf": {"at_cm": list(CDF_AT_CM), "share": [rounded(x) for x in metrics.cdf_at(errors)]},
            "nll": {"mean": rounded(nll.mean()), "mean_interval": _interval(bootstrap.of_mean(nll, where))},
            "coverage": {f"{share:.0%}": _covered(bootstrap, away <= ellipse_limit(share, axes), where)
                         for share in COVERAGES},
            "constant": {"mean": rounded(constant.mean()), "median": rounded(np.median(constant))}}

    def _versus(self, bootstrap: SceneBootstrap, scene: Whole) -> Figures | None:
        """How much larger the error is than the first policy's, frame by frame, where both have an estimate."""
        if self.rival is None:
            return None
        other = replace(self, variant=self.rival)
        rows = self._located & other._located
        if not rows.any():
            return None
        larger = self._errors_cm(rows) - other._errors_cm(rows)
        return {"n": int(rows.sum()), "error_cm_mean": rounded(larger.mean()),
                "interval": _interval(bootstrap.of_mean(larger, scene[rows]))}

    # --- class -------------------------------------------------------------------------------------

    def _classes(self, bootstrap: SceneBootstrap, scene: Whole) -> Figures:
        label = self.columns["label"]
        rows = (label >= 0) & self.answered & np.isfinite(self.of("scores")).all(axis=1)
        if not rows.any():
            return {"classes": None}
        count = len(self.config.classes)
        truth, said, where = label[rows], self.of("scores")[rows].argmax(axis=1), scene[rows]
        by_scene = np.stack([metrics.confusion_matrix(truth[where == s], said[where == s], count)
                             for s in range(bootstrap.scenes)])
        confusion = by_scene.sum(axis=0)
        return {"classes": {
            "n": int(rows.sum()), "names": list(self.config.classes),
            "accuracy": rounded(metrics.accuracy(confusion)),
            "accuracy_interval": _interval(bootstrap.of_counts(by_scene, metrics.accuracy, where)),
            "macro_f1": rounded(metrics.macro_f1(confusion)),
            "macro_f1_interval": _interval(bootstrap.of_counts(by_scene, metrics.macro_f1, where)),
            "confusion": confusion.tolist()}}

    # --- compute -----------------------------------------------------------------------------------

    def _layers(self, rows: Mask | None = None) -> Figures:
        active = self.of("active") if rows is None else self.of("active")[rows]
        total, ends = active.sum(axis=1), np.cumsum(list(self.config.depths.values()))[:-1]
        shares = dict(zip(map(str, self.config.depths), np.split(active.mean(axis=0), ends), strict=True))
        return {"mean": rounded(total.mean()), "max": int(total.max()),
                "per_modality": {m: rounded(share.sum()) for m, share in shares.items()},
                "per_layer": {m: [rounded(x) for x in share] for m, share in shares.items()}}

    def _spent(self) -> Figures:
        cost, spent = self.of("cost"), self.of("spent")
        return {"unit": ", ".join(sorted(set(self.of("unit").tolist()))),
                "mean": rounded(spent.mean()), "max": rounded(spent.max()),
                "per_modality": {str(m): rounded(cost[:, k].mean()) for k, m in enumerate(self.config.modalities)}}

    # --- quality -----------------------------------------------------------------------------------

    def _qoi(self, modality: int) -> Figures:
        """How QoI follows the severity that was injected: it should fall as severity rises."""
        qoi, severity = self.of("qoi")[:, modality], self.columns["severity"][:, modality]
        rows = np.isfinite(qoi) & np.isfinite(severity)
        qoi, severity = qoi[rows], severity[rows]
        clean, bad = qoi[severity == 0], qoi[severity > 0]
        return {"n": int(rows.sum()), "n_corrupted": len(bad),
                "mean_clean": rounded(clean.mean()) if len(clean) else None,
                "mean_corrupted": rounded(bad.mean()) if len(bad) else None,
                "rank_correlation": rounded(metrics.rank_correlation(-qoi, severity)),
                "auroc": rounded(metrics.separation(-clean, -bad))}

    def _conditions(self) -> list[Figures]:
        """The same frames by what was done to them."""
        severity, kind = self.columns["severity"], self.columns["kind"]
        if len(np.unique(severity, axis=0)) <= MOST_CONDITIONS:
            texts = np.array([" ".join(f"{k}:{s:.3g}" for k, s in zip(ks, ss, strict=True))
                              for ks, ss in zip(kind.tolist(), severity.tolist(), strict=True)])
        else:
            texts = np.array([" ".join("corrupted" if bad else "clean" for bad in row) for row in severity > 0])
        found = []
        for text in np.unique(texts):
            rows = texts == text
            located = self._located & rows
            found.append({
                "modalities": dict(zip(map(str, self.config.modalities), str(text).split(" "), strict=True)),
                "n": int(rows.sum()),
                "error_cm_mean": rounded(self._errors_cm(located).mean()) if located.any() else None,
                "layers": self._layers(rows)["per_modality"]})
        return found

    def _why(self, found: Figures) -> dict[str, str]:
        place = "no frame has both an estimate and a true position" if found["error_cm"] is None else ""
        intervals = [f[name] for f, name in ((found["error_cm"], "mean_interval"),
                                             (found["classes"], "accuracy_interval")) if f is not None]
        judged = any(f["n"] for f in found["qoi"].values())
        return {"error_cm": place, "cdf": place, "nll": place, "coverage": place, "constant": place,
                "classes": "no frame has both an estimate and a true class" if found["classes"] is None else "",
                "intervals": f"no intervals: they need {FEWEST_SCENES} scenes with truth" if None in intervals else "",
                "qoi": "" if judged else "no QoI: the model did not learn to judge, or nothing was judged"}


def rounded(value: float | np.floating[Any] | npt.NDArray[Any] | None) -> float | None:
    """A JSON number; NaN is None."""
    if value is None or not np.isfinite(value):
        return None
    return round(float(value), DIGITS)


def _interval(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [rounded(x) for x in interval]


def _covered(bootstrap: SceneBootstrap, inside: npt.NDArray[np.bool_], where: Whole) -> Figures:
    values = inside.astype(np.float64)
    return {"share": rounded(values.mean()), "interval": _interval(bootstrap.of_mean(values, where))}


def describe_model(config: ModelConfig) -> Figures:
    """The model, as results name it."""
    return {"name": config.name, "trained": config.trained, "qoi_trained": config.qoi_trained,
            "frame_id": config.frame_id, "classes": list(config.classes), "sensor_nodes": list(config.sensor_nodes),
            "depths": {str(m): d for m, d in config.depths.items()}, "layers_total": config.layers_total,
            "axes": len(config.localization.min_m)}


def describe_times(columns: Columns, labels: Sequence[Figures]) -> list[Figures]:
    """Milliseconds in the network by variant: mean, median, p95."""
    found = []
    for v, label in enumerate(labels):
        whole = columns["controller_ms"][:, v] + columns["network_ms"][:, v]
        found.append({**label, "network_ms": {"mean": rounded(whole.mean()), "median": rounded(np.median(whole)),
                                              "p95": rounded(np.quantile(whole, 0.95))},
                      "controller_ms_mean": rounded(columns["controller_ms"][:, v].mean())})
    return found
