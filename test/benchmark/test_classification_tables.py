# SPDX-License-Identifier: Apache-2.0
"""Result tables of classification: simulated clips from end to end, accuracies, and unequal costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from admn_ros.benchmark.tables.config import TablesConfig, plan
from admn_ros.benchmark.tables.figure import draw
from admn_ros.benchmark.tables.results import CellResult, Costs, ErrorFigures, read_results
from admn_ros.benchmark.tables.run import RESULTS, Folders, run_cells
from admn_ros.benchmark.tables.text import NOT_RUN, STUCK, render
from admn_ros.config import load_config, parse_config
from admn_ros.errors import ConfigError
from admn_ros.model.presets import PRESETS, preset, with_depths
from admn_ros.sample import Modality
from admn_ros.simulation.clips.make import make_activities

ROOT = Path(__file__).parents[2]
EFFORT = {"epochs": 1, "rates": [1e-3]}
LONG = {"epochs": 3, "rates": [1e-3], "search_epochs": 3}


def micro(grid: list[dict[str, object]], **changes: object) -> TablesConfig:
    efforts = dict.fromkeys(("finetune", "expert", "autoencoder", "controller", "gate", "value"), EFFORT)
    return parse_config(TablesConfig, {
        "model": "micro", "kind": "mmfi_224", "task": "classification", "table": "Table 2", "batch": 4,
        "train": {"split": "train", "samples": 8, "windows": "random"}, "validation": {"split": "val", "samples": 4},
        "test": {"split": "test", "samples": 6}, "universal": [2, 4], "unequal": {"rgb": 3},
        "loss": {"nll": 0.0, "distance_per_cm": 0.0, "classification": 1.0},
        "efforts": {**efforts, "dynmm": LONG, "dynmm_fusion": LONG, "adamml": LONG}, "grid": grid, **changes}, "micro")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "micro", lambda: with_depths(
        preset("table-mmfi").model_copy(update={"sensor_nodes": ("frame01", "frame09")}),
        {Modality.RGB: 3, Modality.DEPTH: 3}))


def result(method: str, layers: int | None, accuracy: float, seed: int = 0) -> CellResult:
    errors = ErrorFigures(accuracy=accuracy, accuracy_interval=(accuracy - 0.1, accuracy + 0.1))
    costs = Costs(layers_mean=4.0, layers_max=4, gflops_mean=0.1, gflops_max=0.2, violations=0)
    return CellResult(corruption="ave-rain-noise", method=method, layers=layers, seed=seed, errors=errors, costs=costs,
                      constant_accuracy=0.04, config="c", command="", torch="", device="cpu")


@pytest.mark.slow
def test_activities_are_simulated_trained_and_tabulated(tiny: None, tmp_path: Path):
    people = (1, 7, 8)   # one each of the training, the validation and the test split
    make_activities(tmp_path / "data", 3, clips=[(p, a) for p in people for a in ("A12", "A13")])
    config = micro([
        {"corruptions": ["mmfi-gaussian"], "budgets": [4],
         "methods": ["upper_bound", "rgb_only", "scratch", "admn_ae", "value"]},
        {"corruptions": ["mmfi-gaussian"], "budgets": [8], "methods": ["naive_unequal", "admn_unequal"]}])
    run_cells(config, plan(config), Folders(tmp_path / "data", tmp_path / "work", tmp_path / "out"))
    results = read_results(tmp_path / "out" / RESULTS, config.fingerprint)
    assert set(results) == set(plan(config))
    for cell, found in results.items():
        assert 0 <= found.errors.accuracy <= 1 and found.errors.mean_cm is None
        assert found.constant_accuracy == 0.5 and found.constant_mean_cm is None
        assert found.costs is not None and found.costs.violations == 0, cell
        if cell.method.endswith("_unequal"):
            assert found.figures["spent"]["max"] <= 8 and found.costs.layers_max <= 4
    text = render(config, results)
    assert NOT_RUN not in text and "## Table 2: classification accuracy" in text and "## Table 4" in text
    assert "Table 5" not in text and "cm" not in text.split("## Costs")[0].split("## Table 2")[1]
    assert draw(results, tmp_path / "tables.png", config.task).stat().st_size > 5000


@pytest.mark.parametrize("split", ["validation", "test"])
def test_only_training_has_random_windows(tiny: None, split: str):
    with pytest.raises(ConfigError, match=f"{split}.*windows: first; random ones are for training"):
        micro([], **{split: {"split": "val", "samples": 4, "windows": "random"}})


def test_accuracies_are_percentages_with_intervals_or_deviations():
    config = load_config(TablesConfig, ROOT / "config/tables/ave.yaml")
    found = [result("naive", 6, 0.5), result("admn", 6, 0.6), result("admn", 6, 0.7, 1), result("mns", 6, 0.06),
             result("admn_unequal", 12, 0.55)]
    text = render(config, {r.cell: r for r in found})
    assert "| Naive allocation | 50.0 [40.0, 60.0] | " in text
    assert "| ADMN | 65.0 ± 7.1 | " in text
    assert f"| MNS | 6.0 [-4.0, 16.0]{STUCK} | " in text
    assert "| Constant predictor | 4.0 | 4.0 |" in text
    assert "a layer as 3 (rgb), 1 (audio)" in text and "| ADMN, unequal costs | 55.0 [45.0, 65.0] |" in text
    assert "## Table 5" in text and "## Figure 6" not in text


@pytest.mark.parametrize("name", ["mmfi", "ave"])
def test_grids_of_classification_have_the_rows_of_the_paper(name):
    config = load_config(TablesConfig, ROOT / f"config/tables/{name}.yaml")
    cells = {(c.method, c.layers) for c in plan(config)}
    for method in ("naive", "rgb_only", "scratch", "mns", "admn", "admn_ae"):
        assert {(method, b) for b in (6, 8, 12, 16)} <= cells
    assert config.fingerprint != config.model_copy(update={"unequal": {Modality.RGB: 2}}).fingerprint


def test_unequal_costs_need_their_prices_and_a_block_of_their_own(tiny: None):
    block = {"corruptions": ["mmfi-gaussian"], "budgets": [8]}
    with pytest.raises(ConfigError, match="block of their own"):
        plan(micro([{**block, "methods": ["naive", "admn_unequal"]}]))
    with pytest.raises(ConfigError, match="unequal"):
        plan(micro([{**block, "methods": ["admn_unequal"]}], unequal={}))
    with pytest.raises(ConfigError, match="13"):
        plan(micro([{**block, "budgets": [13], "methods": ["admn_unequal"]}]))
