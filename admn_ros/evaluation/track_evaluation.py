# SPDX-License-Identifier: Apache-2.0
"""What tracking gains: the records of an evaluation through the tracker, frame by frame, against the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from admn_ros.errors import InputError
from admn_ros.evaluation.records import Columns, read_columns
from admn_ros.evaluation.results_folder import RECORDS, read_results
from admn_ros.evaluation.summary import CM_PER_M, Mask, rounded
from admn_ros.inference.ellipse import ellipse_limit
from admn_ros.inference.tracking import NS, Outcome, Tracker, TrackerConfig, shows_target
from admn_ros.scoring import metrics
from admn_ros.scoring.metrics import Floats, Whole

COVERED = 0.90
Figures = dict[str, Any]


def track_results(folder: Path, config: TrackerConfig) -> list[Figures]:
    """Error without and with tracking, for each corruption, policy and budget of an evaluation.

    Each bag is a drive of its own, in the order of its frames. The frames that are compared have an estimate, a
    track and a true position; a track besides fills frames without an estimate.

    Args:
        folder: of `admn evaluate`.
        config: numbers of the tracker.

    Raises:
        InputError: there are no complete results, or their frames do not follow one another in time.
    """
    results = read_results(folder)
    if results["source"]["kind"] != "bag":
        raise InputError(str(folder), "an evaluation of a dataset", "one of bags, frame after frame")
    model = results["described_model"]
    cells: dict[str, list[Figures]] = {}
    for cell in results["cells"]:
        cells.setdefault(cell["corruption"], []).append(cell)
    found = []
    for corruption, variants in cells.items():
        columns = read_columns(folder / RECORDS / f"{corruption}.npz")
        drives = list(_drives(columns, str(folder), config))
        for v, cell in enumerate(variants):
            found.append({"corruption": corruption, "policy": cell["policy"], "budget": cell["budget"],
                          **_Tracked(columns, v, model, config, drives).figures()})
    return found


def _drives(columns: Columns, place: str, config: TrackerConfig) -> Iterator[slice]:
    """Frames of one recording each: numbers of frames grow within it.

    Raises:
        InputError: the frames are too far apart to be tracked, or have no stamps.
    """
    index, stamps_ns = columns["index"], columns["stamp_ns"]
    starts = [0, *(np.flatnonzero(np.diff(index) <= 0) + 1).tolist(), len(index)]
    slices = [slice(a, b) for a, b in pairwise(starts)]
    apart_ns = np.concatenate([np.diff(stamps_ns[s]) for s in slices])
    if not len(apart_ns) or not 0 < float(np.median(apart_ns)) <= config.timeout_s * NS:
        raise InputError(place, "frames that do not follow one another in time",
                         f"bags, frame after frame (at most {config.timeout_s:g} s apart)")
    yield from slices


class _Tracked:
    """One variant's frames through the tracker."""

    def __init__(self, columns: Columns, variant: int, model: Mapping[str, Any], config: TrackerConfig,
                 drives: list[slice]) -> None:
        self._axes = axes = int(model["axes"])
        frames = len(columns["index"])
        self._truth: Floats = columns["position_m"][:, :axes]
        self._seen: Floats = columns["mean_m"][:, variant, :axes]
        self._seen_spread: Floats = columns["covariance_m2"][:, variant, :axes, :axes]
        self._tracked = np.full((frames, axes), np.nan)
        self._tracked_spread = np.full((frames, axes, axes), np.nan)
        self._speed = np.full((frames, axes), np.nan)
        self._true_speed = np.full((frames, axes), np.nan)
        self._counts = dict.fromkeys(Outcome, 0)
        scores, answered = columns["scores"][:, variant], _known(self._seen)
        for drive in drives:
            tracker = Tracker(config, axes)
            for k in range(drive.start, drive.stop):
                shows = answered[k] and shows_target(model["classes"], scores[k], config.none_above)
                estimate = (self._seen[k], self._seen_spread[k]) if shows else (None, None)
                _, state = tracker.step(int(columns["stamp_ns"][k]), *estimate)
                if state is not None:
                    self._tracked[k], self._speed[k] = state.position_m, state.velocity_mps
                    self._tracked_spread[k] = state.position_covariance_m2
            for outcome, count in tracker.counts.items():
                self._counts[outcome] += count
            self._true_speed[drive] = _speeds(columns["stamp_ns"][drive], self._truth[drive])

    def figures(self) -> Figures:
        """As JSON values; None where there is nothing to count."""
        known, seen, tracked = (_known(x) for x in (self._truth, self._seen, self._tracked))
        both, filled = known & seen & tracked, known & ~seen & tracked
        off = np.linalg.norm(self._speed - self._true_speed, axis=1)
        off = off[np.isfinite(off)]
        return {
            "frames": len(known), "compared": int(both.sum()),
            "alone": self._errors(both, self._seen, self._seen_spread),
            "tracked": self._errors(both, self._tracked, self._tracked_spread),
            "filled": self._errors(filled, self._tracked, self._tracked_spread),
            "without_truth_but_tracked": int((~known & tracked).sum()),
            "speed_error_median_cm_s": rounded(CM_PER_M * np.median(off)) if len(off) else None,
            "outcomes": {str(outcome): count for outcome, count in self._counts.items()}}

    def _errors(self, rows: Mask, mean_m: Floats, spread: Floats) -> Figures | None:
        if not rows.any():
            return None
        errors = CM_PER_M * metrics.distances(mean_m[rows], self._truth[rows])
        away = metrics.mahalanobis(mean_m[rows], spread[rows], self._truth[rows])
        return {"n": int(rows.sum()), "mean_cm": rounded(errors.mean()), "median_cm": rounded(np.median(errors)),
                "p95_cm": rounded(np.quantile(errors, 0.95)),
                f"inside_{COVERED:.0%}": rounded((away <= ellipse_limit(COVERED, self._axes)).mean())}


def _known(rows: Floats) -> Mask:
    return np.asarray(np.isfinite(rows).all(axis=1), np.bool_)


def _speeds(stamps_ns: Whole, position_m: Floats) -> Floats:
    """Central differences of true positions (N, D), m/s; NaN where neighbours are not known."""
    found = np.full(position_m.shape, np.nan)
    seconds = (stamps_ns[2:] - stamps_ns[:-2]) / NS
    moved = position_m[2:] - position_m[:-2]
    found[1:-1] = np.divide(moved, seconds[:, None], out=np.full(moved.shape, np.nan), where=seconds[:, None] > 0)
    return found
