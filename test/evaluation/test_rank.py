# SPDX-License-Identifier: Apache-2.0
"""`admn rank`, and the policies that its file makes in an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from admn_ros.baselines.measured_losses import read_losses
from admn_ros.baselines.orders import every_other
from admn_ros.baselines.static import some_depths
from admn_ros.cli import main
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.rank import rank_allocations
from admn_ros.evaluation.run import evaluate
from admn_ros.inference.engine import Engine
from admn_ros.sample import SampleBatch
from helpers.models import AUDIO, DEPTH, RGB


@pytest.fixture(scope="module")
def file(dataset: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rank") / "losses.json"
    assert main(["rank", str(dataset), "--split", "test_time", "--model", str(model), "--layers", "1", "--out",
                 str(path)]) == 0
    return path


def test_errors_are_those_of_the_network(dataset, model):
    """Every allocation, frame by frame with the plain network, on clean frames."""
    engine, limit = Engine(model, "cpu", 1), 7
    plan = EvaluationPlan(sources=(str(dataset),), model=str(model), limit=limit)
    measured = rank_allocations(plan, (1, 2))
    (pattern,) = measured.patterns
    assert pattern.damaged == () and pattern.frames == limit
    assert measured.allocations == tuple(some_depths(engine.config.depths, (1, 2)))
    source, expected = ShardDataset(dataset, "test_time"), np.zeros((4, len(measured.allocations)))
    for index in (0, 10, 20, 30, 39, 49, 59):
        sample = source[index].sample(engine.config)
        for place, counts in enumerate(measured.allocations):
            active = {m: every_other(3, k) for m, k in zip((RGB, DEPTH, AUDIO), counts, strict=True)}
            output = engine.network.estimate(SampleBatch.stack([sample]), active)
            away = np.linalg.norm(output.mean_m[0].detach().numpy() - np.array(sample.target.position_m[:2]))
            found = (1, away) if np.isfinite(away) else (0, 0.0)
            right = int(output.class_logits.argmax()) == sample.target.label
            expected[:, place] += (*found, 1, right)
    np.testing.assert_allclose(pattern.sums, expected, rtol=1e-4)


def test_the_command_divides_the_frames_by_damage_and_repeats(file, dataset, model, tmp_path, capsys):
    measured = read_losses(file, Engine(model, "cpu", 1).config)
    assert measured.frames == 60 and len(measured.patterns) > 3 and measured.corruption == "room-all"
    assert len(measured.allocations) == 3**3 - 1
    assert main(["rank", str(dataset), "--split", "test_time", "--model", str(model), "--layers", "1", "--out",
                 str(tmp_path / "again.json")]) == 0
    assert (tmp_path / "again.json").read_bytes() == file.read_bytes()
    assert "26 allocations on 60 frames" in capsys.readouterr().out


def test_an_evaluation_has_the_regret_against_the_oracle(file, make_plan, tmp_path):
    policies = ["naive", f"oracle:{file}", f"best_static:{file}", "static:rgb=3"]
    results = evaluate(make_plan(policies=policies, budgets=[1, 3], corruptions=["room-all"]), tmp_path / "out")
    cells = {(cell["policy"], cell["budget"]["limit"]): cell for cell in results["cells"]}
    assert str(file.parent) not in json.dumps(results)
    assert results["settings"]["policies"] == ["naive", "oracle:losses.json", "best_static:losses.json",
                                               "static:rgb=3"]
    assert results["settings"]["policy_files"][0]["name"] == "losses.json"
    for budget in (1, 3):
        oracle = cells["oracle:losses.json", budget]
        assert oracle["regret"]["share"] == 0 and oracle["regret"]["interval"] == [0, 0]
        assert not any(cells[name, budget]["violations"] for name in results["settings"]["policies"])
        naive = cells["naive", budget]
        assert naive["error_cm"]["n"] == oracle["error_cm"]["n"] == naive["regret"]["n"]
        share = naive["error_cm"]["mean"] / oracle["error_cm"]["mean"] - 1
        assert naive["regret"]["share"] == pytest.approx(share, abs=1e-5)
        low, high = naive["regret"]["interval"]
        assert low <= share <= high and low < high
    assert cells["static:rgb=3", 1]["regret"] is None
    # On the frames and the corruption that the file was measured on, the oracle is at least as good as the constant.
    for budget in (1, 3):
        assert cells["best_static:losses.json", budget]["regret"]["share"] >= -1e-6


def test_the_oracle_runs_the_best_allocation_of_each_pattern(file, make_plan, model, tmp_path):
    from admn_ros.evaluation.records import read_columns

    measured = read_losses(file, Engine(model, "cpu", 1).config)
    evaluate(make_plan(policies=[f"oracle:{file}"], budgets=[1], corruptions=["room-all"]), tmp_path / "out")
    columns = read_columns(tmp_path / "out" / "records" / "room-all.npz")
    layers = columns["active"][:, 0].reshape(-1, 3, 3).sum(axis=2)
    modalities = np.array([RGB, DEPTH, AUDIO])
    for kinds, nodes, ran in zip(columns["kind"], columns["nodes"], layers, strict=True):
        available = set(modalities[nodes > 0])
        losses = measured.cell_losses(set(modalities[kinds != "clean"]), available)
        best = min(loss for counts, loss in losses.items() if sum(counts) == 1)
        assert losses[tuple(ran.tolist())] == best
    # An allocation counts on the frames in which all of its modalities have a reading.
    there = columns["nodes"] > 0
    assert not there.all(), "the corruption takes whole modalities away"
    for pattern in measured.patterns:
        damaged = [m in pattern.damaged for m in modalities]
        rows = ((columns["kind"] != "clean") == damaged).all(axis=1)
        assert pattern.frames == rows.sum()
        for counts, labelled in zip(measured.allocations, pattern.labelled, strict=True):
            assert labelled == there[rows][:, np.array(counts) > 0].all(axis=1).sum()


def test_report_and_table_show_the_regret(file, dataset, model, tmp_path, capsys):
    assert main(["evaluate", str(dataset), "--model", str(model), "--out", str(tmp_path / "out"), "--limit", "10",
                 "--budgets", "1", "--corruption", "room-all", "--policy", "naive", f"oracle:{file}"]) == 0
    printed = capsys.readouterr().out
    assert "mean error above that of oracle:losses.json" in printed and "+0.0 %" in printed
    assert "error above oracle" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("arguments", "says"), [
    (["--layers", "0"], "--layers"), (["--split", "val"], "val"),
    (["--corruption", "fog"], "--corruption: found 'fog' (str); allowed: clean, "),
    (["--model", "none"], "none"), (["--out", "."], "--out: found ., a folder; allowed: a JSON file")])
def test_bad_arguments_are_one_clear_line(dataset, model, tmp_path, capsys, arguments, says):
    assert main(["rank", str(dataset), "--model", str(model), "--split", "test_time", "--out", str(tmp_path / "f.json"),
                 *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1 and says in lines[0]


def test_two_files_of_one_name_are_refused(make_plan):
    from admn_ros.errors import ConfigError

    with pytest.raises(ConfigError, match="two files of the same name"):
        make_plan(policies=["oracle:a/x.json", "oracle:b/x.json"])
