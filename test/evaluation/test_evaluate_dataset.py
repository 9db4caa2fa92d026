# SPDX-License-Identifier: Apache-2.0
"""A dataset through the engine: the same to the byte, whole or not at all, and counted for real."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from admn_ros.baselines.named import policy_of
from admn_ros.budget.budget import Budget
from admn_ros.cli import main
from admn_ros.errors import InputError
from admn_ros.evaluation import contenders
from admn_ros.evaluation.records import read_columns
from admn_ros.evaluation.results_folder import read_results
from admn_ros.evaluation.run import evaluate
from admn_ros.inference.engine import Engine
from admn_ros.model.allocation import Assessment, allocate
from admn_ros.model.costs import layer_costs
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality


def hashes(folder: Path) -> dict[str, str]:
    """Of everything that must repeat."""
    files = [folder / "results.json", *sorted(folder.glob("records/*.npz"))]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def whole(make_plan, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "whole"
    evaluate(make_plan(policies=["allocate", "naive"]), folder)
    return folder


def test_every_cell_is_there_and_adds_up(whole, dataset, config):
    results = read_results(whole)
    cells = results["cells"]
    assert [(c["corruption"], c["policy"], c["budget"]["limit"]) for c in cells] == [
        (corruption, policy, limit) for corruption in ("clean", "room-all") for policy in ("allocate", "naive")
        for limit in (2, None)]
    assert list(results)[-1] == "complete"
    for cell in cells:
        assert cell["frames"]["n"] == 60 and cell["frames"]["scenes"] == 6
        assert cell["violations"] == cell["ran_unlike_listed"] == 0
        assert cell["layers"]["max"] <= (cell["budget"]["limit"] or config.layers_total)
        assert cell["layers"]["mean"] == pytest.approx(sum(cell["layers"]["per_modality"].values()), abs=1e-5)
        assert cell["spent"]["mean"] == pytest.approx(cell["layers"]["mean"])
        assert sum(map(sum, cell["classes"]["confusion"])) == cell["classes"]["n"]
        assert cell["error_cm"]["mean_interval"][0] <= cell["error_cm"]["mean"] <= cell["error_cm"]["mean_interval"][1]
        assert sum(c["n"] for c in cell["conditions"]) == 60
    clean = cells[0]
    assert clean["error_cm"]["n"] == 42   # of ten in a room, three have no car
    assert clean["qoi"]["rgb"]["n_corrupted"] == 0 and clean["qoi"]["rgb"]["auroc"] is None
    corrupted = cells[4]["qoi"]["audio"]
    assert 0 < corrupted["n_corrupted"] < corrupted["n"] and 0 <= corrupted["auroc"] <= 1


def test_figures_are_those_of_the_records(whole, config):
    results, records = read_results(whole), read_columns(whole / "records" / "room-all.npz")
    cell, v = results["cells"][4 + 0], 0
    located = np.isfinite(records["position_m"][:, 0]) & np.isfinite(records["mean_m"][:, v, 0])
    away = records["mean_m"][located, v, :2] - records["position_m"][located, :2]
    assert cell["error_cm"]["mean"] == pytest.approx(100 * np.linalg.norm(away, axis=1).mean(), abs=1e-4)
    assert cell["layers"]["mean"] == pytest.approx(records["active"][:, v].sum(axis=1).mean(), abs=1e-5)
    assert (records["spent"] <= records["granted"]).all()
    assert cell["versus_first_policy"] is None
    errors = np.linalg.norm(records["mean_m"][located, :, :2] - records["position_m"][located, None, :2], axis=2)
    naive = results["cells"][4 + 2]["versus_first_policy"]   # as many layers for each modality, 2 in all
    assert naive["error_cm_mean"] == pytest.approx(100 * (errors[:, 2] - errors[:, 0]).mean(), abs=1e-4)
    assert naive["interval"][0] <= naive["error_cm_mean"] <= naive["interval"][1]
    assert results["cells"][4 + 3]["versus_first_policy"]["error_cm_mean"] == 0   # everything is everything
    assert list(cell["coverage"]) == ["50%", "90%", "95%"]
    labelled = records["label"] >= 0
    scores = records["scores"][labelled, v]
    right = scores.argmax(axis=1) == records["label"][labelled]
    # The difference of the means is the smallest calibration error that any bins can give.
    assert cell["classes"]["calibration_error"] >= abs(scores.max(axis=1).mean() - right.mean()) - 1e-6
    assert cell["classes"]["calibration_error_interval"][0] <= cell["classes"]["calibration_error_interval"][1]
    assert records["active"].shape == (60, 4, config.layers_total)
    assert records["latent"].shape == (60, config.qoi.dim) and np.isfinite(records["latent"]).all()
    assert set(np.unique(records["kind"][records["severity"] == 0])) == {"clean"}


def test_the_engine_alone_gives_the_same(whole, dataset, model):
    """Nothing stands between the engine and the records."""
    from admn_ros.budget.budget import Budget
    from admn_ros.datasets.shard_dataset import ShardDataset

    records, engine = read_columns(whole / "records" / "clean.npz"), Engine(model, "cpu", 1)
    source = ShardDataset(dataset, "test_time")
    for index in (0, 17, 59):
        estimate = engine.infer(source[index].sample(engine.config), Budget(2, "layers"))
        assert records["mean_m"][index, 0].tolist() == estimate.mean_m.tolist()
        assert records["covariance_m2"][index, 0].tolist() == estimate.covariance_m2.tolist()


@pytest.mark.slow
def test_an_interrupted_run_is_continued_to_the_same_bytes(whole, make_plan, tmp_path):
    plan = make_plan(policies=["allocate", "naive"])

    def interrupt(done: int, total: int) -> None:
        if done > 70:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(plan, tmp_path / "cut", progress=interrupt)
    assert not (tmp_path / "cut" / "results.json").exists()
    kept = sorted(p.name for p in (tmp_path / "cut" / "parts").iterdir())
    assert kept == ["clean-00000", "clean-00001"]
    with pytest.raises(InputError, match="an evaluation; allowed: a new folder, --resume or --force"):
        evaluate(plan, tmp_path / "cut")
    with pytest.raises(InputError, match="other arguments"):
        evaluate(make_plan(seed=1), tmp_path / "cut", resume=True)
    seen: list[int] = []
    evaluate(plan, tmp_path / "cut", resume=True, progress=lambda done, total: seen.append(done))
    assert seen[0] == 60 and seen[-1] == 120
    assert hashes(tmp_path / "cut") == hashes(whole)
    assert not (tmp_path / "cut" / "parts").exists()


def test_seed_limit_and_model_matter(whole, make_plan, tmp_path, model):
    evaluate(make_plan(seed=1, limit=7, corruptions=["room-all"]), tmp_path / "few")
    few, all_of_it = (read_columns(f / "records" / "room-all.npz") for f in (tmp_path / "few", whole))
    assert few["index"].tolist() == [0, 10, 20, 30, 39, 49, 59]
    assert (few["severity"] != all_of_it["severity"][few["index"]]).any()
    assert read_results(tmp_path / "few")["settings"]["seed"] == 1
    # Only part of the frames, and yet each as in the whole.
    evaluate(make_plan(limit=7, corruptions=["room-all"]), tmp_path / "same")
    same = read_columns(tmp_path / "same" / "records" / "room-all.npz")
    assert same["mean_m"].tobytes() == all_of_it["mean_m"][same["index"], :2].tobytes()


def test_force_replaces_and_unfinished_results_are_refused(make_plan, tmp_path):
    out = tmp_path / "out"
    evaluate(make_plan(limit=2), out)
    evaluate(make_plan(limit=3), out, force=True)
    assert read_results(out)["settings"]["limit"] == 3
    text = json.loads((out / "results.json").read_text())
    del text["complete"]
    (out / "results.json").write_text(json.dumps(text))
    with pytest.raises(InputError, match="incomplete results"):
        read_results(out)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "precious").touch()
    with pytest.raises(InputError, match="files that are not an evaluation"):
        evaluate(make_plan(limit=2), tmp_path / "else", force=True)


def test_a_broken_sample_leaves_no_results(dataset, make_plan, tmp_path):
    import shutil

    broken = tmp_path / "room"
    shutil.copytree(dataset, broken)
    file = broken / "test_time" / "shard-00003" / "rgb.npy"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(InputError, match=r"rgb\.npy: found a broken array"):
        evaluate(make_plan(sources=[str(broken)]), tmp_path / "out")
    assert not (tmp_path / "out" / "results.json").exists()


# --- what was spent -----------------------------------------------------------------------------------


def test_a_policy_that_overspends_is_detected(make_plan, tmp_path, monkeypatch):
    def greedy(assessment, present, table, budget, *, requested=None):
        honest = allocate(assessment, present, table, budget, requested=requested)
        # It says that it spent what was granted.
        return replace(honest, active=dict.fromkeys(honest.active, (0, 1, 2)), nodes={})

    monkeypatch.setattr(contenders, "policy_of", lambda name, network: greedy)
    results = evaluate(make_plan(limit=4, corruptions=["clean"], budgets=[2, None]), tmp_path / "out")
    assert [c["violations"] for c in results["cells"]] == [4, 0]
    assert [c["layers"]["max"] for c in results["cells"]] == [9, 9]
    assert results["cells"][0]["spent"]["max"] <= 2


def test_prices_are_exact(model):
    from admn_ros.budget.budget import Budget

    engine = Engine(model, "cpu", 1)
    table, present = engine.costs.table("gflops"), dict.fromkeys(engine.config.modalities, 2)
    micro = table.price(engine.config.depths, present)
    assert micro == table.total(present)
    assert not table.exceeds(micro, Budget(table.amount(micro), "gflops"))
    assert table.exceeds(micro, Budget(table.amount(micro - 1), "gflops"))
    assert table.price({Modality.RGB: 0}, present) == 0


@pytest.mark.parametrize(("name", "says"), [
    ("greedy", "allocate, value, naive"), ("value", "does not predict values"),
    ("only:radar", "rgb, depth, audio"), ("static:rgb=9", "rgb=0 to rgb=3"),
    ("static:rgb=x", "rgb=0 to rgb=3"), ("static:rgb=0", "at least one layer"), ("only:", "found none"),
    ("naive:3", "details: found 3; allowed: none"),
    ("random:x", "seed: found x")])
def test_unknown_policies(config, name, says):
    with pytest.raises(InputError, match=says):
        policy_of(name, AdmnNetwork(config))


def test_policies_of_a_nested_model_run_the_first_layers(config):
    nested = config.model_copy(update={"nested": True})
    table = layer_costs(config)
    whole = dict.fromkeys(config.modalities, 2)
    scores = {m: [0.0, 1.0, 2.0] for m in config.modalities}
    assessment = Assessment(scores, dict.fromkeys(config.modalities, 1.0))
    networks = AdmnNetwork(config), AdmnNetwork(nested)
    for name in ("allocate", "naive", "random:1", "only:rgb", "static:rgb=2,depth=2"):
        chosen, first = (policy_of(name, n)(assessment, whole, table, Budget(5, "layers")) for n in networks)
        assert first.spent == chosen.spent > 0
        assert first.active == {m: tuple(range(len(layers))) for m, layers in chosen.active.items()}
        assert (first.active == chosen.active) == (name == "only:rgb")


def test_a_policy_that_can_run_nothing_gives_no_estimate(make_plan, tmp_path):
    results = evaluate(make_plan(limit=3, corruptions=["clean"], budgets=[2], policies=["static:rgb=2,depth=2"]),
                       tmp_path / "out")
    (cell,) = results["cells"]
    assert cell["frames"]["without_estimate"] == 3 and cell["layers"]["max"] == 0
    assert cell["error_cm"] is None and "no frame has both" in cell["why_null"]["error_cm"]


# --- the command --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command(dataset, model, tmp_path, capsys):
    arguments = ["evaluate", str(dataset), "--model", str(model), "--out", str(tmp_path / "out"), "--limit", "6",
                 "--budgets", "3", "inf", "--corruption", "clean", "gdtm-gaussian", "--policy", "allocate", "only:rgb"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "only:rgb" in printed.out and "error" in printed.out
    assert "mean error of the constant mean position" in printed.out
    assert "UNTRAINED" in printed.err
    assert main(arguments) == 2
    assert "--resume or --force" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0


@pytest.mark.parametrize(("arguments", "says"), [
    (["--budgets", "many"], "a number"), (["--budgets", "-1"], "budgets"),
    (["--corruption", "fog"], "--corruption: found 'fog' (str); allowed: clean, "), (["--policy", "best"], "best"),
    (["--split", "train"], "test_time"), (["--unit", "joules"], "joules"), (["--jobs", "0"], "an integer from 1"),
    (["--trace", "t.csv"], "recordings only"), (["--budgets", "2", "2"], "twice"),
    (["--unit", "watts", "--budgets", "5"], "frame_rate_hz")])
def test_bad_arguments_are_one_clear_line(dataset, model, tmp_path, capsys, arguments, says):
    assert main(["evaluate", str(dataset), "--model", str(model), "--out", str(tmp_path / "o"), *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1 and says in lines[0]
    assert any(word in lines[0] for word in ("allowed: ", "conflicts with "))
