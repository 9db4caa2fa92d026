# SPDX-License-Identifier: Apache-2.0
"""DynMM's experiments: a micro sweep and ablation from end to end, resuming, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from admn_ros.benchmark.dynmm.config import DynmmConfig
from admn_ros.benchmark.dynmm.decisions import chosen_frames, draw_decisions
from admn_ros.benchmark.dynmm.figure import draw
from admn_ros.benchmark.dynmm.measure import Measured
from admn_ros.benchmark.dynmm.results import FILE, DynmmResults, Trial
from admn_ros.benchmark.dynmm.run import Networks, run_ablation, run_sweep
from admn_ros.benchmark.dynmm.study import read_results
from admn_ros.benchmark.dynmm.text import render
from admn_ros.cli import main
from admn_ros.config import load_config, parse_config
from admn_ros.errors import ConfigError, InputError
from admn_ros.model.checkpoint import create_random_model
from admn_ros.model.presets import PRESETS, with_depths
from admn_ros.sample import Modality
from helpers import datasets, models

ROOT = Path(__file__).parents[2]
EFFORT = {"epochs": 1, "rates": [1e-3]}


def settings(**changes: Any) -> dict[str, Any]:
    return {"model": "micro", "corruption": "gdtm-gaussian", "train": {"split": "train", "samples": 8},
            "validation": {"split": "val", "samples": 6}, "test": {"split": "test_time", "samples": 6}, "batch": 4,
            "experts": [{"depth": 1}, {"rgb": 2, "depth": 2}], "prices": [0.0, 100.0], "price": 100.0,
            "seeds": [0], "expert": EFFORT, "gate": {**EFFORT, "epochs": 4, "rates": [3e-2]}, **changes}


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A dataset, and a preset of the size of the tests."""
    monkeypatch.setitem(PRESETS, "micro", models.one_node)
    return datasets.write_three_splits(tmp_path / "data")


def trial(kind: str, price: float | None, seed: int, shares: tuple[float, ...], error_cm: float = 20.0) -> Trial:
    return Trial.model_validate({"kind": kind, "expert": None if shares else "rgb 2 + depth 2", "price": price,
                                 "seed": seed, "error_cm": error_cm, "accuracy": 0.5, "gflops": 0.01, "cost": 1.0,
                                 "shares": shares, "shares_by_damage": {}})


def results(*trials: Trial) -> DynmmResults:
    return DynmmResults(config="c", command="admn dynmm", notes="", model="micro", corruption="gdtm-gaussian",
                        samples=(8, 6), experts=("depth 1", "rgb 2 + depth 2"), costs=(1.0, 4.0), price=100.0,
                        constant_cm=100.0, trials=trials)


@pytest.mark.parametrize(("changes", "found"), [
    ({"prices": [1.0, 0.0], "price": 1.0}, "ascending"), ({"price": 7.0}, "price"),
    ({"experts": [{"depth": 1}, {"audio": 2}]}, "experts"), ({"corruption": "fog"}, "corruption"),
    ({"model": "gpt"}, "model")], ids=["prices", "price", "experts", "corruption", "model"])
def test_an_experiment_that_cannot_be_run_is_refused(monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any],
                                                     found: str):
    monkeypatch.setitem(PRESETS, "micro", models.one_node)
    with pytest.raises(ConfigError, match=found):
        parse_config(DynmmConfig, settings(**changes), "micro")


def test_the_configuration_of_the_repository_has_six_prices_or_more_and_three_seeds():
    config = load_config(DynmmConfig, ROOT / "config/dynmm.yaml")
    assert len(config.prices) >= 6 and config.prices[0] == 0 and len(config.seeds) == 3
    other = config.model_copy(update={"prices": (0.0, 1.0), "seeds": (5,)})
    assert other.fingerprint == config.fingerprint, "trained networks are kept"
    assert config.model_copy(update={"batch": 8}).fingerprint != config.fingerprint


@pytest.mark.slow
def test_sweep_and_ablation_run_and_resume_to_the_same_results(data: Path, tmp_path: Path):
    config = parse_config(DynmmConfig, settings(), "micro")
    out, steps = tmp_path / "out", []
    networks = Networks.open(config, data, tmp_path / "work", on_step=lambda what, at, of: steps.append(what))
    swept = run_sweep(networks, out, "admn dynmm")
    free, dear = swept.of("joint", 0.0)[0], swept.of("joint", 100.0)[0]
    assert dear.shares == (1.0, 0.0) and dear.cost == 1.0, "at this price the cheapest expert answers every frame"
    assert free.cost >= dear.cost and swept.costs[0] == 1 < swept.costs[1]
    whole = run_ablation(networks, out, "admn dynmm")
    assert len(whole.of("one_stage")) == len(whole.of("gate_only")) == 1
    assert len(whole.of("joint")) == len(whole.of("expert")) == 2
    assert read_results(DynmmResults, out / FILE) == whole
    trained = len(steps)
    assert run_ablation(networks, out, "admn dynmm") == whole
    assert len(steps) == trained, "nothing is trained twice"
    assert set(whole.trials[0].error_by_damage_cm) == set(free.shares_by_damage)
    draw(whole, tmp_path / "sweep.png")
    network = networks.strategies.gated("joint", 0.0, 0)
    draw_decisions(network, networks.measured(network), networks, tmp_path / "decisions.png")
    for name in ("sweep.png", "decisions.png"):
        assert (tmp_path / name).stat().st_size > 5000


@pytest.mark.slow
def test_experts_start_from_the_encoders_of_a_model(data: Path, tmp_path: Path):
    known = create_random_model(models.one_node(), tmp_path / "model", seed=7).backbones.state_dict()
    still = {**EFFORT, "rates": [1e-12]}
    config = parse_config(DynmmConfig, settings(encoders=str(tmp_path / "model"), expert=still, gate=still), "micro")
    networks = Networks.open(config, data, tmp_path / "work")
    gated = networks.strategies.gated("one_stage", 0.0, 0)
    for network in (networks.strategies.alone(1, 0).network, gated.expert(0), gated.expert(1)):
        for name, value in network.backbones.state_dict().items():
            torch.testing.assert_close(value, known[name], rtol=0, atol=1e-6)
    create_random_model(with_depths(models.one_node(), {Modality.RGB: 1}), tmp_path / "model", seed=7, force=True)
    with pytest.raises(InputError, match="encoders"):
        Networks.open(config, data, tmp_path / "again").strategies.alone(1, 0)


def test_a_network_at_the_constant_predictor_is_marked():
    page = render(results(trial("expert", None, 0, (), 96.0)))
    assert "96.0†" in page
    assert "†" not in render(results(trial("expert", None, 0, (), 94.0))).partition("## ")[2]


def test_the_page_says_which_strategy_collapsed():
    page = render(results(*(trial("expert", None, s, ()) for s in (0, 1)),
                          *(trial("one_stage", 100.0, s, (1.0, 0.0)) for s in (0, 1)),
                          *(trial("gate_only", 100.0, s, (0.5, 0.5), 10.0 + s) for s in (0, 1)),
                          *(trial("joint", 100.0, s, (0.005, 0.995) if s else (0.5, 0.5)) for s in (0, 1))))
    row = {line.split("|")[1].split(":")[0].strip(): line for line in page.splitlines() if line.count("|") == 7}
    assert "2 of 2 to depth 1" in row["one stage"]
    rows = [line for line in page.splitlines() if line.startswith("| two stages")]
    assert "| no |" in rows[0] and "10.5 ± 0.7" in rows[0] and "1 of 2 to rgb 2 + depth 2" in rows[1]


def test_shown_frames_have_a_car_and_the_gate_is_most_sure_of_them():
    error_cm = np.array([5.0, np.nan, 7.0, 30.0, 8.0])
    found = Measured(error_cm, np.ones(5), np.ones(5), np.array([0, 0, 0, 2, 2]),
                     np.array([0.7, 0.9, 0.8, 0.6, 0.5]), ("none",) * 5, np.array([0, 0, 1, 0, 1]))
    assert chosen_frames(found, (1.0, 2.0, 3.0), 2) == ([2, 0], [3, 4])
    assert chosen_frames(found, (3.0, 2.0, 1.0), 1) == ([3], [2]), "cheap is what costs less, not what comes first"
    with pytest.raises(InputError, match="car"):
        chosen_frames(Measured(*(np.full(1, np.nan),) * 3, np.zeros(1, int), np.ones(1), ("none",), np.zeros(1, int)),
                      (1.0,))


def test_nothing_to_draw_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(InputError, match="two"):
        draw(results(), tmp_path / "sweep.png")
    assert main(["dynmm", "sweep", str(tmp_path / "no.yaml"), "--data", "x", "--work", "y", "--out", "z"]) == 2
    assert "no.yaml" in capsys.readouterr().err
