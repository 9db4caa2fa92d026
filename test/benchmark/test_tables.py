# SPDX-License-Identifier: Apache-2.0
"""Result tables: the plan of cells, a micro grid from end to end, resuming, and rendering what is there."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from admn_ros.benchmark.tables.config import TITLES, UNEQUAL, Cell, Effort, TablesConfig, only, plan
from admn_ros.benchmark.tables.figure import draw
from admn_ros.benchmark.tables.left import describe_left
from admn_ros.benchmark.tables.results import CellResult, Costs, ErrorFigures, as_json, constant_cm, read_results
from admn_ros.benchmark.tables.run import RESULTS, Folders, missing, run_cells, run_on_cluster
from admn_ros.benchmark.tables.text import NOT_RUN, STUCK, render
from admn_ros.benchmark.tables.training import TrainingCost
from admn_ros.cli import main
from admn_ros.config import load_config, parse_config
from admn_ros.errors import ConfigError, InputError
from admn_ros.evaluation.records import read_columns
from admn_ros.files import write_json
from admn_ros.model.presets import PRESETS, preset
from helpers import datasets, models

ROOT = Path(__file__).parents[2]
EFFORT = {"epochs": 1, "rates": [1e-3]}
LEARNED = ["admn", "admn_ae", "admn_task", "straight_through", "progressive", "universal", "neuralsort", "mns", "dynmm",
           "dynmm_strict", "dynmm_fusion", "dynmm_fusion_strict", "adamml"]
FIXED = ["upper_bound", "naive", "rgb_only", "depth_only", "static", "scratch", "removal_layerdrop", "removal_plain"]


def micro_config(grid: list[dict[str, object]]) -> TablesConfig:
    long = {**EFFORT, "epochs": 3, "prices": [0.0, 1.0], "search_epochs": 3}
    efforts = dict.fromkeys(("finetune", "expert", "autoencoder", "controller", "gate"), EFFORT)
    return parse_config(TablesConfig, {
        "model": "micro", "data": "admn simulate", "train": {"split": "train", "samples": 8}, "universal": [2, 4],
        "validation": {"split": "val", "samples": 6}, "test": {"split": "test_time", "samples": 6}, "batch": 4,
        "efforts": {**efforts, "controller": {**EFFORT, "rates": [1e-3, 1e-2], "search_epochs": 1},
                    "dynmm": long, "dynmm_fusion": long, "adamml": long}, "grid": grid}, "micro")


@pytest.fixture
def micro(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Folders:
    """A dataset, and a preset of the size of the tests."""
    monkeypatch.setitem(PRESETS, "micro", models.one_node)
    data = datasets.write_three_splits(tmp_path / "data")
    return Folders(data, tmp_path / "work", tmp_path / "out")


def result(method: str, layers: int | None, seed: int, mean_cm: float,
           corruption: str = "room-gaussian") -> CellResult:
    errors = ErrorFigures(mean_cm=mean_cm, median_cm=mean_cm, p95_cm=2 * mean_cm, accuracy=0.5)
    costs = Costs(layers_mean=4.0, layers_max=layers or 24, gflops_mean=0.1, gflops_max=0.2, violations=0)
    return CellResult(corruption=corruption, method=method, layers=layers, seed=seed, errors=errors,
                      constant_mean_cm=100.0, constant_median_cm=110.0, costs=costs, config="c", command="",
                      torch="", device="cpu")


def test_grids_of_the_repository_begin_with_the_main_claims():
    for name in ("small", "rgbd", "full"):
        config = load_config(TablesConfig, ROOT / f"config/tables/{name}.yaml")
        cells = plan(config)
        assert len(set(cells)) == len(cells) == len({c.name for c in cells})
        assert cells[0].method == "upper_bound" and "gaussian" in cells[0].corruption
    full = {(c.corruption, c.method, c.layers, c.seed) for c in cells}
    for method in ("admn", "admn_ae", "mns", "dynmm", "universal"):
        for budget in (6, 8, 12, 16):
            assert all(("gdtm-blur", method, budget, seed) in full for seed in (0, 1, 2))
    for method in ("dynmm_fusion", "dynmm_fusion_strict"):
        assert ("gdtm-blur", method, 6, 0) in full, "below 12 layers the gate also chooses the depth of RGB"
    assert {c.method for c in cells} == set(TITLES) - {"radar_only", "audio_only", *UNEQUAL}


def test_the_grid_of_rgb_and_depth_has_the_methods_of_the_full_one():
    cells = {name: plan(load_config(TablesConfig, ROOT / f"config/tables/{name}.yaml")) for name in ("rgbd", "full")}
    assert {c.method for c in cells["rgbd"]} == {c.method for c in cells["full"]}
    for corruption in ("room-gaussian-rgbd", "gdtm-lowlight", "gdtm-blur"):
        for budget in (6, 12):
            assert {c.method for c in cells["rgbd"] if (c.corruption, c.layers) == (corruption, budget)} == {
                c.method for c in cells["full"] if (c.corruption, c.layers) == ("gdtm-gaussian", budget)}


def test_a_grid_that_cannot_be_run_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(PRESETS, "micro", models.one_node)
    block = {"corruptions": ["gdtm-gaussian"], "methods": ["admn"]}
    with pytest.raises(ConfigError, match="7"):
        plan(micro_config([{**block, "budgets": [7]}]))
    with pytest.raises(ConfigError, match="budgets"):
        micro_config([block])
    with pytest.raises(ConfigError, match="fog"):
        micro_config([{**block, "budgets": [4], "corruptions": ["fog"]}])
    with pytest.raises(ConfigError, match="lowlight"):
        only(plan(micro_config([{**block, "budgets": [4]}])), ["lowlight"])


def test_the_fingerprint_follows_the_effort_and_not_the_grid(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(PRESETS, "micro", models.one_node)
    config = micro_config([{"corruptions": ["gdtm-gaussian"], "methods": ["upper_bound"]}])
    wider = config.model_copy(update={"grid": (*config.grid, config.grid[0])})
    assert wider.model_copy(update={"notes": "little"}).fingerprint == config.fingerprint
    assert config.model_copy(update={"batch": 8}).fingerprint != config.fingerprint


@pytest.mark.slow
def test_every_method_runs_and_keeps_to_its_budget(micro: Folders):
    config = micro_config([{"corruptions": ["gdtm-gaussian"], "budgets": [4], "methods": FIXED + LEARNED}])
    run_cells(config, plan(config), micro, command="admn tables")
    results = read_results(micro.out / RESULTS, config.fingerprint)
    assert {c.method for c in results} == {*FIXED, *LEARNED}
    for cell, found in results.items():
        if cell.method.startswith("removal"):
            assert set(found.removed) == {"rgb", "depth", "all"} and set(found.removed["all"]) == {0, 1, 2}
            continue
        assert found.costs is not None
        if cell.method not in ("dynmm", "dynmm_fusion"):
            assert found.costs.violations == 0, cell
        if cell.method in ("admn", "naive", "universal"):
            assert found.costs.layers_mean == found.costs.layers_max == 4
    assert results[Cell("gdtm-gaussian", "upper_bound", None, 0)].costs.layers_max == 6
    text = render(config, results)
    assert NOT_RUN not in text and text.splitlines()[2:6] == ["```", "admn simulate", "admn tables", "```"]
    assert draw(results, micro.out / "tables.png").stat().st_size > 5000


@pytest.mark.slow
def test_an_interrupted_grid_resumes_to_the_same_results(micro: Folders):
    config = micro_config([{"corruptions": ["gdtm-gaussian"], "budgets": [4], "methods": ["naive", "admn", "mns"]}])
    cells = plan(config)
    run_cells(config, cells, micro)
    whole = read_results(micro.out / RESULTS)

    again = Folders(micro.data, micro.work.with_name("work2"), micro.out.with_name("out2"))
    steps = 0

    def stop(what: str, at: int, of: int) -> None:
        nonlocal steps
        steps += 1
        if steps in (2, 6, 15):
            raise KeyboardInterrupt

    attempts = 0
    while missing(config, cells, again.out):
        attempts += 1
        try:
            run_cells(config, cells, again, on_step=stop)
        except KeyboardInterrupt:
            continue
    assert attempts == 4
    resumed = read_results(again.out / RESULTS)
    for cell, found in whole.items():
        assert resumed[cell].errors == found.errors and resumed[cell].costs == found.costs


@pytest.mark.slow
def test_corruptions_share_the_clean_epochs(micro: Folders):
    config = micro_config([{"corruptions": ["gdtm-gaussian", "gdtm-blur"], "budgets": [4], "methods": ["scratch"]}])
    effort = Effort(epochs=3, clean_epochs=2, rates=(1e-3,))
    efforts = config.efforts.model_copy(update={"expert": effort})
    shared = config.model_copy(update={"efforts": efforts, "shared_clean": True})
    trained: list[str] = []
    run_cells(shared, plan(shared), micro, on_step=lambda what, at, of: trained.append(what) if at == of else None)
    name = "expert-rgb2-depth2"
    assert [what for what, _ in groupby(trained) if "expert" in what] == [f"{name}, clean", name, name]
    assert len(read_results(micro.out / RESULTS, shared.fingerprint)) == 2
    assert config.fingerprint != shared.fingerprint
    several = effort.model_copy(update={"rates": (1e-3, 2e-3)})
    with pytest.raises(ValidationError, match="shared_clean takes one learning rate, not 2"):
        TablesConfig.model_validate(shared.model_dump() | {"efforts": {**efforts.model_dump(), "expert": several}})
    with pytest.raises(ConfigError, match="--scheduler: conflicts with shared_clean"):
        run_on_cluster(shared, plan(shared), micro, "localhost:1")


def test_results_of_another_configuration_do_not_count(micro: Folders):
    config = micro_config([{"corruptions": ["gdtm-gaussian"], "methods": ["upper_bound"]}])
    (micro.out / RESULTS).mkdir(parents=True)
    write_json(micro.out / RESULTS / "x.json", as_json(result("upper_bound", None, 0, 20.0)))
    assert missing(config, plan(config), micro.out) == plan(config)
    (micro.out / RESULTS / "y.json").write_text("{}")
    with pytest.raises(InputError, match=r"y\.json"):
        missing(config, plan(config), micro.out)


def test_rendering_marks_missing_cells_and_failed_trainings():
    config = load_config(TablesConfig, ROOT / "config/tables/small.yaml")
    cells = [("upper_bound", None, 0, 10.0), ("admn", 6, 0, 20.0), ("admn", 6, 1, 22.0), ("mns", 6, 0, 99.0)]
    results = {r.cell: r for r in (result(*c) for c in cells)}
    text = render(config, results)
    assert "| ADMN | 21.0 ± 1.4 | " in text
    assert f"| MNS | 99.0{STUCK} | " in text
    assert f"| ADMN_AE | {NOT_RUN} | " in text
    assert "| Upper bound | 10.0 | 10.0 |" in text and "| Constant predictor | 100.0 |" in text
    assert NOT_RUN in render(config, {})


def test_what_was_not_run_is_named_with_its_core_hours():
    config = load_config(TablesConfig, ROOT / "config/tables/small.yaml")
    model = preset(config.model)
    methods = ("naive", "scratch", "mns", "admn")
    cells = [Cell("room-gaussian", method, 6, seed) for method in methods for seed in (0, 1)]
    measured = {"naive": (7200.0, None), "scratch": (3600.0, None), "admn": (1800.0, 1)}
    results = {}
    for method, (seconds, threads) in measured.items():
        cost = TrainingCost(learning_rate=1e-3, price=0.0, seconds=seconds, search_seconds=0.0)
        found = result(method, 6, 0, 20.0).model_copy(update={"training": cost, "threads": threads})
        results[found.cell] = found
    lines = describe_left(cells, results, model, lambda name: name)
    table = {line.split(" | ")[1]: line.split(" | ")[2:] for line in lines if line.startswith("| room-gaussian")}
    assert table["Stage 1"] == ["shared", "4.0 |"], "two threads where the number is not known"
    assert table["ADMN"] == ["1", "0.5 |"]
    # MNS: 6 layers of RGB, 6 of radar, and 3 + 3, which Naive Scratch of another seed shares; 2 core-hours each.
    assert table["Networks of the baselines"] == ["shared", "6.0 |"]
    assert table["MNS"] == ["2", "? |"] and table["Naive allocation"] == ["1", "none of its own |"]
    assert lines[-1] == "5 cells, 10.5 core-hours and 2 trainings of unknown length."
    assert describe_left(cells[:1], results, model, str) == []


def test_every_seed_and_every_training_is_shown():
    config = load_config(TablesConfig, ROOT / "config/tables/small.yaml")
    cost = TrainingCost(learning_rate=1e-3, price=0.0, seconds=50.0, search_seconds=7.0)
    found = [result(method, layers, seed, cm).model_copy(update={"training": cost}) for method, layers, seed, cm in (
        ("admn", 6, 0, 20.0), ("admn", 6, 2, 22.0), ("universal", 6, 0, 21.0), ("universal", 12, 0, 19.0),
        ("naive", 6, 0, 30.0))]
    text = render(config, {r.cell: r for r in found})
    assert "| cm | layers | seed 0 | seed 2 |" in text and "| ADMN | 6 | 20.0 | 22.0 |" in text
    rows = text[text.index("## Trainings"):text.index("## Figure 6")].splitlines()
    effort = config.efforts.controller
    assert [row for row in rows if row.startswith(("| ADMN", "| Naive"))] == [
        f"| ADMN | 6 | {len(effort.rates)} | {effort.search_epochs} | {effort.epochs} | 2 | 7 | 100 |",
        f"| ADMN, universal controller | all | {len(effort.rates)} | {effort.search_epochs} | {effort.epochs} | 1 | 7 "
        "| 50 |"]


def test_the_json_of_a_cell_is_read_back(tmp_path: Path):
    before = result("admn", 6, 0, 20.0)
    write_json(tmp_path / "a.json", as_json(before))
    assert read_results(tmp_path) == {before.cell: before}
    assert "removed" in json.loads((tmp_path / "a.json").read_text())


def test_the_constant_predictor_answers_one_position():
    truth = np.array([[1.0, 1, 5], [1.0, 3, 5], [np.nan] * 3])
    assert constant_cm(torch.tensor([1.0, 0.0], dtype=torch.float64), {"position_m": truth}) == (200.0, 200.0)


@pytest.mark.parametrize(("name", "folder", "least"), [
    ("small", "docs/results", 130), ("rgbd", "docs/results/rgbd", 46)])
def test_the_committed_results_belong_to_the_configuration_of_the_repository(name: str, folder: str, least: int):
    config = load_config(TablesConfig, ROOT / f"config/tables/{name}.yaml")
    found = read_results(ROOT / folder / RESULTS, config.fingerprint)
    assert len(found) >= least and set(found) <= set(plan(config))
    for result in found.values():
        assert (result.errors.mean_interval_cm is not None) == (result.format == "admn-table-cell-2") or \
            result.method.startswith("removal")


def test_a_cell_has_the_figures_of_an_evaluation(micro: Folders):
    config = micro_config([{"corruptions": ["gdtm-gaussian"], "budgets": [4], "methods": ["naive", "mns"]}])
    run_cells(config, plan(config), micro)
    for found in read_results(micro.out / RESULTS).values():
        assert found.format == "admn-table-cell-2"
        low, high = found.errors.mean_interval_cm
        assert low <= found.errors.mean_cm <= high and found.figures["frames"]["scenes"] == 6
        assert found.figures["error_cm"]["mean"] == pytest.approx(found.errors.mean_cm, abs=1e-3)
        assert found.figures["ran_unlike_listed"] == 0 and found.figures["violations"] == found.costs.violations
        columns = read_columns(micro.work / config.fingerprint / "gdtm-gaussian/records" / f"{found.cell.name}.npz")
        assert columns["active"].sum(axis=2).max() == found.costs.layers_max


def test_the_command_lists_renders_and_names_missing_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    grid = str(ROOT / "config/tables/small.yaml")
    assert main(["tables", grid, "--out", str(tmp_path), "--only", "gaussian-admn-L06", "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[0] == "room-gaussian-admn-L06-s0  not run" and len(listed) == 3
    there = ["tables", grid, "--out", str(ROOT / "docs/results"), "--only", "room-gaussian-admn-L06-s0", "--list"]
    assert main(there) == 0 and capsys.readouterr().out == "room-gaussian-admn-L06-s0  done\n"
    assert main(["tables", grid, "--out", str(tmp_path)]) == 2
    assert "--data" in capsys.readouterr().err
    assert main(["tables", grid, "--out", str(tmp_path), "--render"]) == 0
    assert NOT_RUN in (tmp_path / "tables.md").read_text()
