# SPDX-License-Identifier: Apache-2.0
"""The segmentation study: a micro study from end to end with its page and pictures, and the choice of shown frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from admn_ros.benchmark.dynmm.study import read_results
from admn_ros.benchmark.segmentation.config import SegmentationStudy
from admn_ros.benchmark.segmentation.decisions import chosen_frames
from admn_ros.benchmark.segmentation.networks import SegmentationNetworks
from admn_ros.benchmark.segmentation.results import FILE, SegmentationResults, SegmentationTrial
from admn_ros.benchmark.segmentation.run import MeasuredPixels
from admn_ros.benchmark.segmentation.text import render
from admn_ros.cli import main
from admn_ros.config import load_config, parse_config
from admn_ros.errors import ConfigError
from admn_ros.files import read_json
from admn_ros.recordings import shards
from admn_ros.scoring.segmentation import PixelScores
from helpers import datasets

ROOT = Path(__file__).parents[2]
EFFORT = {"epochs": 1, "rates": [1e-3]}


def settings(**changes: Any) -> dict[str, Any]:
    return {"corruption": "gdtm-lowlight", "train": {"split": "train", "samples": 8},
            "validation": {"split": "val", "samples": 4}, "test": {"split": "test_view", "samples": 12}, "batch": 4,
            "prices": [0.0, 100.0], "price": 100.0, "seeds": [0], "pretrain": EFFORT,
            "gate": {**EFFORT, "epochs": 3, "rates": [0.1]}, "stem": 4, "widths": [4, 4, 4, 4], "decoder": 4, **changes}


def rooms(folder: Path) -> Path:
    """Write rooms of one frame at two nodes with random masks."""
    matrix = [[20.0, 0, 11.5], [0, 20.0, 11.5], [0, 0, 1]]
    cameras = {"rgb_matrix": matrix, "depth_matrix": matrix, "rotation": np.eye(3).tolist(), "translation_m": [0, 0, 0]}
    shards.begin(folder, {"targets": ["car"], "audio_rate_hz": 16000, "sensor_nodes": ["node1", "node2"],
                          "mask_classes": ["floor", "wall"]})
    names = {split: [f"shard-{k:05d}" for k in range(count)]
             for split, count in {"train": 4, "val": 2, "test_view": 6}.items()}
    for seed, (split, name) in enumerate((s, n) for s, found in names.items() for n in found):
        arrays = datasets.noise(1, seed)
        arrays["mask"] = np.random.default_rng(seed).integers(0, 2, (1, 2, 24, 24), dtype=np.uint8)
        shards.write(folder, split, name, arrays, {"node_poses": datasets.POSES, "cameras": cameras})
    shards.finish(folder, names)
    return folder


@pytest.mark.parametrize(("changes", "found"), [
    ({"prices": [1.0, 0.0], "price": 1.0}, "ascending"), ({"price": 7.0}, "price"),
    ({"corruption": "fog"}, "corruption"), ({"model": "table"}, "RGB and depth"), ({"source": "tapes"}, "source")],
    ids=["prices", "price", "corruption", "model", "source"])
def test_a_study_that_cannot_be_run_is_refused(changes: dict[str, Any], found: str):
    with pytest.raises(ConfigError, match=found):
        parse_config(SegmentationStudy, settings(**changes), "micro")


def test_the_study_of_the_repository_has_six_prices_or_more_and_three_seeds():
    study = load_config(SegmentationStudy, ROOT / "config/segmentation.yaml")
    assert len(study.prices) >= 6 and study.prices[0] == 0 and len(study.seeds) == 3
    assert study.test.split not in (study.train.split, study.validation.split)


@pytest.mark.slow
def test_a_study_runs_from_end_to_end_and_trains_nothing_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config, out = tmp_path / "study.yaml", tmp_path / "out"
    config.write_text(json.dumps(settings()), encoding="utf-8")
    command = ["dynmm", "segmentation", str(config), "--data", str(rooms(tmp_path / "data")), "--work",
               str(tmp_path / "work"), "--out", str(out), "--device", "cpu", "--threads", "1"]
    assert main(command) == 0
    assert "static2" not in capsys.readouterr().err
    first = read_results(SegmentationResults, out / FILE)
    dear = first.of("joint", 100.0)
    assert dear[0].shares[0] == 1.0, "at this price no image gets depth"
    assert dear[0].collapsed == 0 and dear[0].interval is not None
    assert {t.kind for t in first.trials} == {"static", "one_stage", "gate_only", "joint"}
    assert {t.blocks for t in first.of("static")} == {0, 4}
    for name in ("segmentation.png", "segmentation_decisions.png"):
        assert (out / name).stat().st_size > 5000
    text = (out / "segmentation.md").read_text(encoding="utf-8")
    assert "1 of 1 to 0 blocks" in text and str(tmp_path) not in text
    trained = {p: p.stat().st_mtime_ns for p in (tmp_path / "work").rglob("weights.safetensors")}
    assert main(command) == 0
    assert read_results(SegmentationResults, out / FILE) == first
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "work").rglob("weights.safetensors")} == trained


@pytest.mark.slow
def test_the_rate_is_chosen_by_the_miou_of_the_validation_split(tmp_path: Path):
    # Two epochs, because the first one warms up.
    effort = {"epochs": 2, "rates": [1e-9, 0.01], "search_epochs": 2}
    study = parse_config(SegmentationStudy, settings(pretrain=effort), "micro")
    networks = SegmentationNetworks(study, rooms(tmp_path / "data"), tmp_path / "work")
    networks.static(0, 0)
    scores = read_json(next((tmp_path / "work").rglob("static0-s0.json")))
    best = min(scores, key=lambda key: scores[key][1])
    rate = read_json(next((tmp_path / "work").rglob("static0-s0/done.json")))["learning_rate"]
    assert f"{rate:g}-0" == best and all(0 <= error <= 1 for _, error, _ in scores.values())


def test_a_dataset_without_masks_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = datasets.write_dataset(tmp_path / "data", {"test_view": [datasets.noise(2, 1)]})
    (tmp_path / "study.yaml").write_text(json.dumps(settings()), encoding="utf-8")
    assert main(["dynmm", "segmentation", str(tmp_path / "study.yaml"), "--data", str(data), "--work",
                 str(tmp_path / "work"), "--out", str(tmp_path / "out")]) == 2
    assert "--masks" in capsys.readouterr().err


def measured(choice: list[int], confidence: list[float], scene: list[int]) -> MeasuredPixels:
    return MeasuredPixels(PixelScores(2), np.array(choice), np.array(confidence), ("none",) * len(choice),
                          np.array(scene))


def test_shown_frames_are_those_of_which_the_gate_is_most_sure_from_different_rooms():
    found = measured([0, 4, 0, 4, 2, 0], [0.9, 0.6, 0.8, 0.7, 0.99, 0.5], [0, 0, 0, 1, 1, 1])
    assert chosen_frames(found, 2) == ([0, 5], [3, 1])
    assert chosen_frames(measured([3, 3], [0.5, 0.6], [0, 1]), 1) == ([1], [1])


def test_the_page_averages_over_seeds():
    trials = [SegmentationTrial(kind=kind, blocks=4 if kind == "static" else None,
                                price=None if kind == "static" else 0.1, seed=s, miou=0.5 + 0.1 * s, mmacs=20.0,
                                class_iou={"floor": 0.5}, shares=() if kind == "static" else (0.5, 0, 0, 0, 0.5),
                                miou_by_damage={}) for kind in ("static", "gate_only", "joint") for s in (0, 1)]
    page = render(SegmentationResults(
        config="c", command="admn", notes="", corruption="gdtm-lowlight", test="test_view", samples=(8, 12),
        mmacs_by_blocks=(14, 17, 19, 21, 22), gate_mmacs=0.4, price=0.1, trials=tuple(trials)))
    assert page.count("55.0 ± 7.1") == 3
