# SPDX-License-Identifier: Apache-2.0
"""`metrics.json` of a model folder, and the cost table of results in milliseconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from admn_ros.budget.costs import MeasuredCosts
from admn_ros.cli import main
from admn_ros.config import parse_config
from admn_ros.evaluation.model_metrics import read_metrics
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.run import evaluate
from admn_ros.model.checkpoint import load_model, save_model

SHIPPED = sorted(p for p in (Path(__file__).parents[2] / "models").iterdir() if p.is_dir())


def test_an_evaluation_leaves_its_figures_with_the_model(dataset: Path, model: Path, tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = shutil.copytree(model, tmp_path / "model"), tmp_path / "out"
    assert main(["inspect", str(folder)]) == 0
    assert "--save-metrics" in capsys.readouterr().out
    assert main(["evaluate", str(dataset), "--model", str(folder), "--out", str(out), "--limit", "8", "--budgets", "2",
                 "inf", "--save-metrics", "--no-report"]) == 0
    assert str(folder / "metrics.json") in capsys.readouterr().out
    results, metrics = json.loads((out / "results.json").read_text()), read_metrics(folder)
    assert metrics is not None
    assert [f["error_cm"]["mean"] for f in metrics["figures"]] == [c["error_cm"]["mean"] for c in results["cells"]]
    assert main(["inspect", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert f"clean, allocate, 2 layers: error {metrics['figures'][0]['error_cm']['mean']:.1f} cm" in shown
    assert "clean, allocate, all layers: " in shown
    # Other weights do not inherit them.
    network = load_model(folder)
    network.fusion.encoder.norm.bias.data += 1.0
    kept = (folder / "metrics.json").read_bytes()
    save_model(network, folder)
    assert not (folder / "metrics.json").exists()
    (folder / "metrics.json").write_bytes(kept)
    assert read_metrics(folder) is None


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_model_has_metrics_of_its_weights(folder: Path) -> None:
    metrics = read_metrics(folder)
    assert metrics is not None
    assert all(figures["violations"] == 0 for figures in metrics["figures"])


def test_results_in_milliseconds_have_the_cost_table(make_plan: Callable[..., EvaluationPlan], tmp_path: Path) -> None:
    plan = make_plan(limit=4, corruptions=["clean"], budgets=[1e6, None], unit="milliseconds")
    results = evaluate(plan, tmp_path / "out")
    costs = parse_config(MeasuredCosts, results["costs"], "costs")
    assert costs.milliseconds.fixed > 0
    assert [cell["budget"]["unit"] for cell in results["cells"]] == ["milliseconds", "milliseconds"]
    assert 0 < results["cells"][0]["spent"]["max"] <= 1e6
    assert evaluate(plan, tmp_path / "out", resume=True) == results
    assert "costs" not in evaluate(make_plan(limit=4, corruptions=["clean"]), tmp_path / "layers")
