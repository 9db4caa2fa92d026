# SPDX-License-Identifier: Apache-2.0
"""The timeline of a run: the error of each budget, and the picture with and without ground truth."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from admn_ros.errors import InputError
from admn_ros.sample import Availability
from admn_ros.views.timeline import FEWEST, MOST_LABELS, FrameRecord, ModalityRecord, budget_phases, draw_timeline


def run(granted: list[float], errors_m: list[float]) -> list[FrameRecord]:
    """Return a run with given budgets and errors; NaN: no ground truth."""
    state = {"rgb": ModalityRecord(1, 12, 0.5, Availability.FRESH)}
    return [FrameRecord(k * 10**8, limit, 1.0, "layers", "allocated", 20.0, 0, state, (1.0, 2.0),
                        (1.0, 2.0 + error_m)) for k, (limit, error_m) in enumerate(zip(granted, errors_m, strict=True))]


def test_each_budget_has_the_median_error_of_its_frames():
    known = [0.1, 0.2, math.nan, 0.3, 0.5, 0.9]
    phases = list(budget_phases(run([4.0] * 6 + [math.inf] * 4 + [4.0] * 5, known + [0.1] * 4 + [0.02] * 5)))
    assert [(p.start, p.stop) for p in phases] == [(0, 6), (6, 10), (10, 15)]
    assert phases[0].median_cm == pytest.approx(30.0), "five frames have an error"
    assert math.isnan(phases[1].median_cm) and FEWEST > 4
    assert phases[2].median_cm == pytest.approx(2.0)


def test_the_error_has_a_row_of_its_own_where_it_is_known(tmp_path: Path):
    without, known = tmp_path / "without.png", tmp_path / "known.png"
    draw_timeline(run([8.0] * 20, [math.nan] * 20), without)
    draw_timeline(run([8.0] * 20, [0.1] * 20), known)
    plain, with_error = (cv2.imread(str(path)) for path in (without, known))
    assert with_error.shape[0] > plain.shape[0] + 100 and with_error.shape[1] == plain.shape[1]
    worse = tmp_path / "worse.png"
    draw_timeline(run([8.0] * 10 + [2.0] * 10, [0.1] * 10 + [0.2] * 10), worse)
    assert not np.array_equal(cv2.imread(str(worse)), with_error)


@pytest.mark.parametrize(("granted", "errors_m"), [
    ([4.0], [0.3]), ([4.0] * 9, [0.0] * 9), ([4.0] * 9, [0.01] * 8 + [90.0]),
    ([float(k // 6) for k in range(6 * MOST_LABELS * 2)], [0.1] * 12 * MOST_LABELS)],
    ids=["one", "none", "outlier", "many"])
def test_every_run_can_be_drawn(granted, errors_m, tmp_path: Path):
    draw_timeline(run(granted, errors_m), tmp_path / "t.png", "title")
    assert cv2.imread(str(tmp_path / "t.png")).std() > 10


def test_no_frames_are_no_timeline(tmp_path: Path):
    with pytest.raises(InputError, match="at least one frame"):
        draw_timeline([], tmp_path / "t.png")
