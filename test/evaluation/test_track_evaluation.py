# SPDX-License-Identifier: Apache-2.0
"""The gain of tracking on records whose noise is known: a real evaluation, in which the estimates are replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from admn_ros.cli import main
from admn_ros.errors import InputError
from admn_ros.evaluation.records import read_columns, write_columns
from admn_ros.evaluation.run import evaluate
from admn_ros.evaluation.track_evaluation import track_results
from admn_ros.inference.tracking import TrackerConfig

STD_M = 0.1


@pytest.fixture(scope="module")
def results(make_bag_plan, write_bag, tmp_path_factory) -> Path:
    """Two drives of four seconds; estimates are the truth with white noise."""
    parent = tmp_path_factory.mktemp("tracked")
    bags = [write_bag(parent / f"drive{k}", ticks=60) for k in range(2)]
    evaluate(make_bag_plan(*bags), parent / "out")
    rewrite(parent / "out", lambda columns: None)
    return parent / "out"


def rewrite(folder: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    path = folder / "records" / "clean.npz"
    columns = read_columns(path)
    frames = len(columns["index"])
    noise = np.random.default_rng(0).normal(0, STD_M, (frames, 1, 3))
    columns["mean_m"] = columns["position_m"][:, None] + noise
    columns["covariance_m2"] = np.broadcast_to(np.eye(3) * STD_M**2, (frames, 1, 3, 3)).copy()
    columns["scores"] = np.broadcast_to(np.array([0.8, 0.1, 0.1]), (frames, 1, 3)).copy()
    change(columns)
    write_columns(path, columns)


def test_tracking_reduces_white_noise_and_keeps_the_coverage(results):
    (cell,) = track_results(results, TrackerConfig(acceleration=4.0, spread=1.0))
    assert cell["frames"] == cell["compared"] == 120 and cell["outcomes"]["started"] == 2
    assert cell["alone"]["inside_90%"] == pytest.approx(0.9, abs=0.08)
    assert cell["tracked"]["mean_cm"] < 0.85 * cell["alone"]["mean_cm"]
    assert cell["tracked"]["inside_90%"] == pytest.approx(0.9, abs=0.1)
    assert cell["speed_error_median_cm_s"] < 200, "it drives at 2 m/s"
    assert cell["filled"] is None


def test_frames_without_an_estimate_are_filled_and_those_of_class_none_are_no_target(results, tmp_path):
    def change(columns: dict[str, np.ndarray]) -> None:
        columns["mean_m"][30:33] = np.nan          # nothing ran
        columns["scores"][80:, 0] = [0.1, 0.1, 0.8]    # the car has left
        columns["position_m"][80:] = np.nan

    folder = tmp_path / "out"
    (folder / "records").mkdir(parents=True)
    for name in ("results.json", "records/clean.npz"):
        (folder / name).write_bytes((results / name).read_bytes())
    rewrite(folder, change)
    (cell,) = track_results(folder, TrackerConfig(acceleration=4.0, timeout_s=0.3))
    assert cell["filled"]["n"] == 3 and cell["filled"]["mean_cm"] < 40
    assert cell["without_truth_but_tracked"] == 4, "predictions until the timeout, then nothing"
    assert cell["outcomes"]["nothing"] == 36


def test_the_command_prints_both_and_writes_json(results, tmp_path, capsys):
    assert main(["tracking", str(results), "--acceleration", "4", "--out", str(tmp_path / "t.json")]) == 0
    printed = capsys.readouterr().out
    assert "alone" in printed and "tracked" in printed
    written = json.loads((tmp_path / "t.json").read_text())
    assert written["tracker"]["acceleration"] == 4.0 and written["cells"][0]["tracked"]["n"] == 120
    assert main(["tracking", str(results), "--gate", "1.5"]) == 2
    assert "gate" in capsys.readouterr().err


def test_frames_that_are_not_consecutive_are_refused(make_plan, tmp_path):
    evaluate(make_plan(corruptions=["clean"]), tmp_path / "out")
    with pytest.raises(InputError, match="consecutive frames"):
        track_results(tmp_path / "out", TrackerConfig())
