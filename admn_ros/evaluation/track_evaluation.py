# SPDX-License-Identifier: Apache-2.0
"""Tracking evaluation: the records of an evaluation through the tracker, compared with the ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from admn_ros.errors import InputError
from admn_ros.evaluation.records import Columns, read_columns
from admn_ros.evaluation.results_folder import RECORDS, read_results
from admn_ros.evaluation.summary import rounded
from admn_ros.inference.target import shows_target
from admn_ros.inference.tracking import NS, Outcome, Tracker, TrackerConfig
from admn_ros.scoring.estimates import ErrorSummary, Estimates, finite_rows
from admn_ros.scoring.metrics import CM_PER_M, Floats, Mask, Whole

COVERED = 0.90
Json = dict[str, Any]


def track_results(folder: Path, config: TrackerConfig) -> list[Json]:
    """Compare the errors without and with tracking, for each corruption, policy and budget of an evaluation.

    Each bag is tracked on its own, in the order of its frames. Only frames with an estimate, a track and a true
    position are compared. Frames without an estimate that the track fills are listed apart.

    Args:
        folder: output folder of `admn evaluate`.
        config: parameters of the tracker.

    Raises:
        InputError: the results are incomplete, or their frames are not consecutive in time.
    """
    results = read_results(folder)
    if results["source"]["kind"] != "bag":
        raise InputError(str(folder), "an evaluation of a dataset", "an evaluation of bags, with consecutive frames")
    model = results["described_model"]
    cells: dict[str, list[Json]] = {}
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
    """Split the frames into recordings: frame numbers increase within a recording.

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
    """Frames of one contender through the tracker."""

    def __init__(self, columns: Columns, contender: int, model: Mapping[str, Any], config: TrackerConfig,
                 drives: list[slice]) -> None:
        axes = int(model["axes"])
        frames = len(columns["index"])
        truth: Floats = columns["position_m"][:, :axes]
        mean_m: Floats = columns["mean_m"][:, contender, :axes]
        covariance_m2: Floats = columns["covariance_m2"][:, contender, :axes, :axes]
        scores, label = columns["scores"][:, contender], columns["label"]
        self._alone = Estimates(mean_m, covariance_m2, truth, scores, label)
        self._tracked = Estimates(np.full((frames, axes), np.nan), np.full((frames, axes, axes), np.nan), truth,
                                  scores, label)
        self._speed = np.full((frames, axes), np.nan)
        self._true_speed = np.full((frames, axes), np.nan)
        self._counts = dict.fromkeys(Outcome, 0)
        answered = self._alone.answered
        for drive in drives:
            tracker = Tracker(config, axes)
            for k in range(drive.start, drive.stop):
                shows = answered[k] and shows_target(model["classes"], scores[k], config.no_target_above)
                estimate = (mean_m[k], covariance_m2[k]) if shows else (None, None)
                _, state = tracker.step(int(columns["stamp_ns"][k]), *estimate)
                if state is not None:
                    self._tracked.mean_m[k], self._speed[k] = state.position_m, state.velocity_mps
                    self._tracked.covariance_m2[k] = state.position_covariance_m2
            for outcome, count in tracker.counts.items():
                self._counts[outcome] += count
            self._true_speed[drive] = _speeds(columns["stamp_ns"][drive], truth[drive])

    def figures(self) -> Json:
        """Return the figures as JSON values; None where there are no frames to count."""
        located, tracked = self._alone.located, self._tracked.located
        known = finite_rows(self._alone.position_m)
        both, filled = located & tracked, tracked & ~self._alone.answered
        off = np.linalg.norm(self._speed - self._true_speed, axis=1)
        off = off[np.isfinite(off)]
        return {
            "frames": len(known), "compared": int(both.sum()),
            "alone": _errors(self._alone, both), "tracked": _errors(self._tracked, both),
            "filled": _errors(self._tracked, filled),
            "without_truth_but_tracked": int((~known & self._tracked.answered).sum()),
            "speed_error_median_cm_s": rounded(CM_PER_M * np.median(off)) if len(off) else None,
            "outcomes": {str(outcome): count for outcome, count in self._counts.items()}}


def _errors(estimates: Estimates, rows: Mask) -> Json | None:
    if not rows.any():
        return None
    summary = ErrorSummary.of(estimates.errors_cm(rows))
    return {"n": summary.n, "mean_cm": rounded(summary.mean_cm), "median_cm": rounded(summary.median_cm),
            "p95_cm": rounded(summary.p95_cm),
            f"inside_{COVERED:.0%}": rounded(estimates.covered(rows, COVERED).mean())}


def _speeds(stamps_ns: Whole, position_m: Floats) -> Floats:
    """Return central differences of true positions (N, D) in m/s; NaN where a neighbour is unknown."""
    found = np.full(position_m.shape, np.nan)
    seconds = (stamps_ns[2:] - stamps_ns[:-2]) / NS
    moved = position_m[2:] - position_m[:-2]
    found[1:-1] = np.divide(moved, seconds[:, None], out=np.full(moved.shape, np.nan), where=seconds[:, None] > 0)
    return found
