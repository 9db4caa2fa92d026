# SPDX-License-Identifier: Apache-2.0
"""Two evaluations compared: what got worse is found, and a team's CI hears of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.cli import main
from admn_ros.errors import InputError
from admn_ros.evaluation.report.compare import METRICS, Tolerance, compare, read_tolerances
from admn_ros.evaluation.report.data import read_evaluation
from admn_ros.evaluation.run import evaluate
from admn_ros.scoring.bootstrap import SceneBootstrap

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def changed(folder: Path, to: Path, **figures: float | None) -> Path:
    """A copy in which figures of the first cell are others: `error_mean=12.0`."""
    shutil.copytree(folder, to)
    results = json.loads((to / "results.json").read_text())
    cell = results["cells"][0]
    for name, value in figures.items():
        part, _, key = name.rpartition("__")
        if part:
            cell[part][key] = value
        else:
            cell[key] = value
    (to / "results.json").write_text(json.dumps(results))
    return to


def test_the_same_is_no_worse(evaluated, capsys):
    assert main(["report", "compare", str(evaluated), str(evaluated)]) == 0
    output = capsys.readouterr().out
    assert "0 worse than tolerated" in output and "the model is the same" in output and "WORSE" not in output
    assert "error.mean" in output and "violations" not in output
    assert main(["report", "compare", str(evaluated), str(evaluated), "--all"]) == 0
    assert "violations" in capsys.readouterr().out


def test_worse_is_exit_code_1(evaluated, tmp_path, capsys):
    mean = json.loads((evaluated / "results.json").read_text())["cells"][0]["error_cm"]["mean"]
    worse = changed(evaluated, tmp_path / "worse", error_cm__mean=mean + 1.5)
    arguments = ["report", "compare", str(evaluated), str(worse)]
    assert main([*arguments, "--out", str(tmp_path / "new" / "out")]) == 1
    assert "WORSE" in capsys.readouterr().out
    written = json.loads((tmp_path / "new" / "out" / "compare.json").read_text())
    bad = [change for change in written["changes"] if change["verdict"] == "WORSE"]
    assert written["regressed"] and len(bad) == 1
    assert (bad[0]["metric"], bad[0]["difference"], bad[0]["tolerance"]) == ("error.mean", pytest.approx(1.5), "1")
    assert main([*arguments, "--tolerance", "error.mean=1.6"]) == 0
    assert main([*arguments, "--tolerance", "error.mean=50%", "nll=3"]) == 0
    assert main([*arguments, "--tolerance", "error.mean=0.1%"]) == 1
    assert main(["report", "compare", str(worse), str(evaluated)]) == 0   # the other way round it got better
    assert "better" in capsys.readouterr().out


def test_a_lost_metric_is_worse_and_a_new_one_is_not(evaluated, tmp_path, capsys):
    gone = changed(evaluated, tmp_path / "gone", classes=None)
    assert main(["report", "compare", str(evaluated), str(gone)]) == 1
    assert "LOST" in capsys.readouterr().out
    assert main(["report", "compare", str(gone), str(evaluated)]) == 0
    assert "new" in capsys.readouterr().out


def test_one_frame_over_budget_is_too_many(evaluated, tmp_path):
    over = changed(evaluated, tmp_path / "over", violations=1)
    assert main(["report", "compare", str(evaluated), str(over)]) == 1


def test_unshared_cells_are_listed(evaluated, make_plan, tmp_path, capsys):
    evaluate(make_plan(budgets=[2, 3], corruptions=["clean", "gdtm-gaussian"], limit=30), tmp_path / "other")
    assert main(["report", "compare", str(evaluated), str(tmp_path / "other")]) == 0
    output = capsys.readouterr().out
    assert "only in the old evaluation: room-all, naive, no limit" in output
    assert "only in the new evaluation: gdtm-gaussian, allocate, 3 layers" in output


def test_different_frames_have_no_interval(evaluated, make_plan, tmp_path):
    evaluate(make_plan(budgets=[2], corruptions=["clean"], limit=12), tmp_path / "other")
    found = compare(read_evaluation(evaluated), read_evaluation(tmp_path / "other"), read_tolerances([]))
    assert "the frames differ" in found.notes and "limit: 30 and 12" in found.notes
    assert all(change.interval is None for change in found.changes)


def test_intervals_are_of_the_difference_frame_by_frame(evaluated):
    """The naive policy's cells under the first one's name: the known comparison of the results must come out."""
    old = read_evaluation(evaluated)
    results = json.loads((evaluated / "results.json").read_text())
    naive = [cell for cell in results["cells"] if cell["policy"] == "naive"]
    half = len(old.budgets)
    renamed = [{**cell, "policy": "allocate"} for cell in naive]
    records = {name: {key: (column[:, half:] if column.ndim > 1 and column.shape[1] == 2 * half else column)
                      for key, column in columns.items()} for name, columns in old.records.items()}
    new = type(old)({**results, "cells": renamed, "settings": {**results["settings"], "policies": ["allocate"]}},
                    old.timings, records, old.times, "")
    found = {(c.corruption, c.budget, c.metric): c for c in compare(old, new, read_tolerances([])).changes}
    for cell in naive:
        versus, limit = cell["versus_first_policy"], cell["budget"]["limit"]
        change = found[cell["corruption"], "no limit" if limit is None else f"{limit:g} layers", "error.mean"]
        assert change.interval == pytest.approx(versus["interval"], abs=1e-5)
        assert change.difference == pytest.approx(versus["error_cm_mean"], abs=1e-5)
        p95 = found[change.corruption, change.budget, "error.p95"]
        assert p95.interval is not None and p95.interval[0] <= p95.interval[1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.95]))
def test_a_shift_of_all_values_has_an_exact_interval(seed, share):
    rng = np.random.default_rng(seed)
    values, scene = rng.normal(size=60), np.repeat(np.arange(6), 10)
    bootstrap = SceneBootstrap(6, 1, 100)
    assert bootstrap.of_quantile_change(values, scene, values + 3, scene, share) == pytest.approx((3, 3))
    assert bootstrap.of_quantile_change(values[:20], scene[:20], values[:20], scene[:20], share) is None


@pytest.mark.parametrize(("texts", "expected"), [
    (["speed=1"], "error.mean, error.median"), (["nll"], "a number"), (["nll=much"], "a number"),
    (["nll=-1"], "at least 0"), (["nll=inf"], "at least 0")])
def test_invalid_tolerances_are_refused(texts, expected):
    with pytest.raises(InputError, match=expected):
        read_tolerances(texts)


def test_tolerances():
    found = read_tolerances(["nll=5%", "layers=2"])
    assert found["nll"] == Tolerance(0.05, True) and found["layers"] == Tolerance(2.0)
    assert found["nll"].allows(0.1, -2.0) and not found["nll"].allows(0.11, -2.0)
    assert {name: tolerance.value for name, tolerance in read_tolerances([]).items()} == {
        name: metric.tolerance for name, metric in METRICS.items()}
    coverage = METRICS["coverage"]
    assert coverage.worse(0.9, 0.99) == pytest.approx(0.09) and coverage.worse(0.7, 0.9) == pytest.approx(-0.2)


def test_wrong_input_is_exit_code_2(evaluated, make_plan, tmp_path, capsys):
    assert main(["report", "compare", str(evaluated), str(tmp_path)]) == 2
    evaluate(make_plan(budgets=[3], corruptions=["clean"], limit=2), tmp_path / "other")
    assert main(["report", "compare", str(evaluated), str(tmp_path / "other")]) == 2
    output = capsys.readouterr().err
    assert "in common" in output and len(output.splitlines()) == 2
    broken = shutil.copytree(evaluated, tmp_path / "broken")
    (broken / "records" / "clean.npz").write_bytes(b"PK")
    assert main(["report", "compare", str(evaluated), str(broken)]) == 2
    (tmp_path / "file").touch()
    assert main(["report", "compare", str(evaluated), str(evaluated), "--out", str(tmp_path / "file")]) == 2
