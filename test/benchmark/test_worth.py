# SPDX-License-Identifier: Apache-2.0
"""One command from a model and a dataset to the table of targets, and its parts on made-up figures."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from admn_ros.benchmark.worth import decision
from admn_ros.benchmark.worth.decision import decision_ms
from admn_ros.benchmark.worth.figure import draw
from admn_ros.benchmark.worth.measures import measures
from admn_ros.benchmark.worth.plan import firsts, ladder
from admn_ros.benchmark.worth.random_costs import random_costs, with_costs
from admn_ros.benchmark.worth.results import Figure, Point, RunResult, Worth, read_worth
from admn_ros.benchmark.worth.text import render
from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import CostLedger
from admn_ros.cli import main
from admn_ros.config import dump_config
from admn_ros.errors import ConfigError, InputError
from admn_ros.inference.engine import Engine, blank_sample
from admn_ros.model.checkpoint import COSTS, create_random_model
from admn_ros.model.costs import ModelCosts
from admn_ros.model.value.allocation import allocate_by_value
from helpers import datasets, models

pytestmark = pytest.mark.timeout(600)   # a busy machine draws slowly
POLICIES = ("value", "allocate", "naive", "best_static", "oracle")
LIMITS = (1.0, 2.0)


@pytest.fixture(scope="module")
def value_model(tmp_path_factory) -> Path:
    """Random model that predicts values, with a table of milliseconds."""
    config = models.room()
    config = config.model_copy(update={"qoi": config.qoi.model_copy(update={"value_hidden": 8})})
    folder = tmp_path_factory.mktemp("worth") / "micro"
    create_random_model(config, folder, seed=3)
    dump_config(random_costs(config, 5), folder / COSTS)
    return folder


@pytest.fixture(scope="module")
def rooms(tmp_path_factory) -> Path:
    splits = {name: [datasets.noise(2, 10 * k + seed) for seed in range(6)]
              for k, name in enumerate(("val", "test_time", "test_view"))}
    return datasets.write_dataset(tmp_path_factory.mktemp("worth") / "room", splits)


@pytest.fixture(scope="module")
def command(value_model, rooms) -> list[str]:
    return ["worth", str(rooms), "--model", str(value_model), "--before", str(value_model), "--budgets", "1", "2",
            "--limit", "6", "--validation-limit", "6", "--jobs", "1"]


@pytest.fixture(scope="module")
def done(command, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("worth") / "out"
    assert main([*command, "--out", str(folder)]) == 0
    return folder


@pytest.mark.slow
def test_every_run_is_there_and_nothing_overspends(done):
    worth = read_worth(done / "worth.json")
    names = [run.name for run in worth.runs]
    assert names == [*(f"{split}-{unit}" for split in ("test_time", "test_view")
                       for unit in ("layers", "gflops", "milliseconds")),
                     "missing", "unseen", "severe", "misplaced", "costs", "before", "same_time"]
    for run in worth.runs:
        assert run.policies == {"main": POLICIES, "shift": ("value", "oracle"), "before": ("value",)}[run.role]
        assert run.corruption == {"missing": "room-missing", "unseen": "room-unseen",
                                  "severe": "room-severe"}.get(run.name, "room-all")
        for point in run.points:
            assert point.frames == 6 and point.violations == 0
            assert (point.regret is None) == (run.role == "before")
            assert (point.more_cm is None) == (point.policy == "value") == (point.more_right is None)
            if point.policy == "oracle" and point.regret is not None:
                assert point.regret.value == 0
    layers = worth.main("layers")[0]
    assert layers.limits == (1, 2)
    assert all(p.layers <= p.limit for p in layers.points)
    assert all(p.avoidable == 0 for run in worth.runs for p in run.of("value"))
    assert worth.inputs == (3, 2) and set(worth.decision_ms) == {"layers", "gflops", "milliseconds"}


@pytest.mark.slow
def test_figures_are_those_of_the_records(done, value_model):
    from admn_ros.evaluation.records import read_columns

    records = read_columns(done / "runs" / "test_time-layers" / "records" / "room-all.npz")
    run = read_worth(done / "worth.json").main("layers")[0]
    error = 100 * np.linalg.norm(records["mean_m"][..., :2] - records["position_m"][:, None, :2], axis=2)
    right = records["scores"].argmax(axis=2) == records["label"][:, None]
    table = ModelCosts.load(models.room(), value_model).table("milliseconds")
    for p, policy in enumerate(POLICIES):
        for b, point in enumerate(run.of(policy)):
            v = len(run.limits) * p + b
            both = np.isfinite(error[:, v]) & np.isfinite(error[:, b])
            assert point.error_cm.value == pytest.approx(np.nanmean(error[:, v]), abs=1e-4)
            if p:
                assert point.more_cm.value == pytest.approx((error[both, v] - error[both, b]).mean(), abs=1e-4)
                ran = np.isfinite(records["scores"][:, (v, b)]).all(axis=(1, 2))
                more = right[ran, v].mean() - right[ran, b].mean()
                assert point.more_right.value == pytest.approx(more, abs=1e-6)
            counts = records["active"][:, v].reshape(-1, 3, 3).sum(axis=2)
            prices = [table.price(dict(zip(table.modalities, k, strict=True)),
                                  dict(zip(table.modalities, n, strict=True))) for k, n in
                      zip(counts.tolist(), records["nodes"].tolist(), strict=True)]
            assert point.milliseconds == pytest.approx(np.mean(prices) * 1e-6, abs=1e-6)


@pytest.mark.slow
def test_it_is_resumed_to_the_same_figures_and_rendered_without_running(command, done, tmp_path, capsys):
    import shutil

    before = json.loads((done / "worth.json").read_text())
    half = tmp_path / "half"
    shutil.copytree(done / "runs", half / "runs")
    for name in ("test_view-gflops", "costs", "losses.json"):
        path = half / "runs" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert main([*command, "--out", str(half)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*command, "--out", str(half), "--resume"]) == 0
    after = json.loads((half / "worth.json").read_text())
    assert {**after, "decision_ms": None} == {**before, "decision_ms": None}
    (done / "worth.md").unlink()
    assert main(["worth", "x", "--model", "x", "--out", str(done), "--render"]) == 0
    assert (done / "worth.md").read_text() == render(read_worth(done / "worth.json"))
    assert (done / "worth.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_broken_file_is_refused(tmp_path, capsys):
    (tmp_path / "worth.json").write_text('{"format": "admn-worth-1"}')
    with pytest.raises(ConfigError, match=r"worth\.json"):
        read_worth(tmp_path / "worth.json")
    assert main(["worth", "x", "--model", "x", "--out", str(tmp_path), "--render"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# --- budgets and costs --------------------------------------------------------------------------------


def test_budgets_are_the_costs_of_first_layers_and_of_everything(config):
    table = ModelCosts(config, random_costs(config, 1)).table("milliseconds")
    everything = table.everything
    for number, limit in enumerate(firsts(table), start=1):
        ledger = CostLedger.open(everything, table, Budget(limit, "milliseconds"))
        names = list(table.modalities)
        fits = [ledger.affords(dict.fromkeys(names[k:k + number], 1)) for k in range(len(names) - number + 1)]
        assert all(fits)
    found = ladder(table)
    assert found == sorted(found) and len(found) == 1 + 3 + 2 + 1
    assert found[0] == table.amount(table.least(everything)) and found[-1] == table.amount(table.total(everything))


def test_a_random_table_is_seeded_and_leaves_the_model_as_it_is(value_model, tmp_path):
    config = Engine(value_model, "cpu", 1).config
    one, same, other = (random_costs(config, seed) for seed in (1, 1, 2))
    assert one == same != other
    for part in one.milliseconds.modalities.values():
        assert part.layer[0] < part.layer[1]
    copied = Engine(with_costs(value_model, one, tmp_path / "copy"), "cpu", 1)
    assert copied.costs.measured == one
    budget, inputs = Budget(2, "layers"), blank_sample(config)
    assert np.array_equal(copied.infer(inputs, budget).mean_m,
                          Engine(value_model, "cpu", 1).infer(inputs, budget).mean_m)


def test_the_shortest_of_several_calls_of_the_policy_alone_is_timed(value_model, monkeypatch):
    engine, calls, now_s = Engine(value_model, "cpu", 1), [], [0.0]

    def slow(assessment, present, table, budget, *, requested=None):
        calls.append(allocate_by_value(assessment, present, table, budget, requested=requested))
        now_s[0] += budget.limit * (1 if len(calls) % decision.REPEATS == 3 else 10)
        return calls[-1]

    monkeypatch.setattr(Engine, "policy", property(lambda engine: slow))
    monkeypatch.setattr(decision, "time", SimpleNamespace(perf_counter=lambda: now_s[0]))
    budgets = [Budget(limit, "layers") for limit in (2, 3, 7)]
    assert decision_ms(engine, [blank_sample(engine.config)], budgets) == pytest.approx(3000)
    assert len(calls) == 3 * decision.REPEATS and all(found.layers for found in calls)
    assert decision_ms(engine, [], [Budget(2, "layers")]) == 0


# --- table --------------------------------------------------------------------------------------------


def made_up(**changes: float) -> Worth:
    """Figures that meet every target; changes are those of the own policy in layers at the smallest budget."""
    point = Point(policy="value", limit=1, frames=10, error_cm=Figure(value=10, interval=(9, 11)),
                  accuracy=Figure(value=0.9), regret=Figure(value=0.05), more_cm=None, more_right=None,
                  without_estimate=0, avoidable=0, violations=0, layers=1, milliseconds=5)

    def run(split: str, unit: str) -> RunResult:
        points = []
        for policy in POLICIES:
            for limit in LIMITS:
                more = {} if policy == "value" else {
                    "more_cm": Figure(value=1, interval=(0.5, 1.5)), "more_right": Figure(value=0.01)}
                found = changes if policy == "value" and limit == 1 and unit == "layers" else {}
                found = {k: Figure(value=x) if k == "regret" else x for k, x in found.items()}
                points.append(point.model_copy(update={"policy": policy, "limit": limit, **more, **found}))
        return RunResult(name=f"{split}-{unit}", role="main", what=f"{split}, room-all", split=split,
                         corruption="room-all", unit=unit, points=tuple(points))

    runs = [run(split, unit) for split in ("test_time", "test_view") for unit in ("layers", "gflops", "milliseconds")]
    early, late = (point.model_copy(update={"limit": 5.0, "error_cm": Figure(value=x)}) for x in (20, 14))
    runs += [RunResult(name=name, role="before", what=name, split="test_time", corruption="room-all", unit="layers",
                       points=(p,)) for name, p in (("before", early), ("same_time", late))]
    return Worth(command="admn worth", model="m", dataset="d", frames=10, seed=0, decision_ms={"layers": 0.1},
                 inputs=(4, 3), device="cpu", threads=1, runs=tuple(runs))


def missed(worth: Worth) -> list[str]:
    return [m.name for m in measures(worth) if not m.met]


def test_targets_that_are_met():
    assert missed(made_up()) == []
    assert "**missed**" not in render(made_up())


@pytest.mark.parametrize(("changes", "name"), [
    ({"regret": 0.11}, "error against the oracle, test_time, by layers"),
    ({"regret": 0.21}, "error against the oracle, other rooms and poses of the nodes, 1 to 2 layers"),
    ({"avoidable": 1}, "frames without an estimate although"), ({"violations": 1}, "frames that spent more")],
    ids=["regret", "regret_unseen", "silent", "violation"])
def test_targets_that_are_missed_are_marked(changes, name):
    worth = made_up(**changes)
    assert any(found.startswith(name) for found in missed(worth))
    assert "**missed**" in render(worth)


def test_a_better_rival_is_a_miss_at_its_budget():
    worth = made_up()
    run = worth.runs[1]
    worse = tuple(p.model_copy(update={"more_cm": Figure(value=-0.4, interval=(-1, 0.2))})
                  if (p.policy, p.limit) == ("naive", 2) else p for p in run.points)
    worth = worth.model_copy(update={"runs": (worth.runs[0], run.model_copy(update={"points": worse}),
                                              *worth.runs[2:])})
    (measure,) = (m for m in measures(worth) if not m.met)
    assert measure.name == "error minus that of naive, test_time, by gflops, cm"
    assert measure.found == "1: -1.0, 2: **(+0.4)**"


def test_policies_that_choose_alike_are_equal():
    worth = made_up()
    run = worth.runs[0]
    alike = tuple(p.model_copy(update={"more_cm": Figure(value=-0.04, interval=(-0.1, 0.2))})
                  if (p.policy, p.limit) == ("naive", 2) else p for p in run.points)
    worth = worth.model_copy(update={"runs": (run.model_copy(update={"points": alike}), *worth.runs[1:])})
    found = {m.name: m.found for m in measures(worth)}
    assert missed(worth) == [] and found["error minus that of naive, test_time, by layers, cm"] == "1: -1.0, 2: 0.0"


def test_slow_decisions_and_little_gain_are_missed():
    worth = made_up().model_copy(update={"decision_ms": {"layers": 0.2, "milliseconds": 0.6}})
    assert missed(worth) == ["decision over 4 modalities x 3 nodes, median, ms"]
    late = worth.runs[-1].points[0].model_copy(update={"error_cm": Figure(value=16)})
    worth = made_up()
    worth = worth.model_copy(update={"runs": (*worth.runs[:-1], worth.runs[-1].model_copy(update={"points": (late,)}))})
    (name,) = missed(worth)
    assert name.startswith("error within 5.0 ms")


def test_a_figure_without_errors_is_refused(tmp_path):
    worth = made_up()
    draw(worth, tmp_path / "worth.png")
    assert (tmp_path / "worth.png").stat().st_size > 10_000
    with pytest.raises(InputError, match="no error by layers"):
        draw(worth.model_copy(update={"runs": worth.runs[-2:]}), tmp_path / "none.png")
