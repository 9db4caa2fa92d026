# SPDX-License-Identifier: Apache-2.0
"""`admn depths`: error against depth and cost, from a file of `admn rank`."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from admn_ros.baselines.measured_losses import MeasuredLosses, PatternErrors, write_losses
from admn_ros.baselines.static import some_depths
from admn_ros.benchmark.depth_curve import TOGETHER, depth_curves
from admn_ros.budget.costs import LayerCosts, ModalityCosts
from admn_ros.cli import main
from admn_ros.config import dump_config
from admn_ros.errors import InputError
from admn_ros.model.costs import layer_costs
from helpers import models

MODEL = models.one_node()
ALLOCATIONS = tuple(some_depths(MODEL.depths, (1, 2)))


def measured(allocations: tuple[tuple[int, ...], ...] = ALLOCATIONS, located: int = 10) -> MeasuredLosses:
    """Errors of one metre over the number of layers; wrong classes are those of RGB's first layer."""
    n = len(allocations)
    pattern = PatternErrors(
        damaged=(), frames=10, located=(located,) * n, error_m=tuple(located / sum(a) for a in allocations),
        labelled=(10,) * n, right=tuple(5 if a == (1, 0) else 9 for a in allocations))
    return MeasuredLosses(model="m", estimator_fingerprint="0", dataset="d", split="val", corruption="clean",
                          variant="paper", seed=0, depths=MODEL.depths, allocations=allocations, patterns=(pattern,))


def test_curves_of_each_modality_and_of_all_together() -> None:
    table = LayerCosts("milliseconds", 1000, {m: ModalityCosts(3, (500,), (2000,), (layer,))
                                              for m, layer in zip(MODEL.depths, (1000, 3000), strict=True)})
    curves = depth_curves(measured(), table)
    assert [(p.inputs, p.layers) for p in curves.points] == [
        (name, k) for name in ("rgb", "depth", TOGETHER) for k in (1, 2, 3)]
    by_place = {(p.inputs, p.layers): p for p in curves.points}
    # Fixed part and both looks are always paid.
    unit = table.amount(1000)
    assert by_place["rgb", 1].cost == pytest.approx(unit * (1 + 1 + 2 + 1))
    assert by_place["depth", 3].cost == pytest.approx(unit * (1 + 1 + 2 + 9))
    assert by_place[TOGETHER, 2].cost == pytest.approx(unit * (1 + 1 + 4 + 2 + 6))
    assert by_place["depth", 2].error_cm == pytest.approx(50)
    assert by_place[TOGETHER, 3].error_cm == pytest.approx(100 / 6)
    assert (by_place["rgb", 1].class_right, by_place["rgb", 2].class_right) == (0.5, 0.9)


def test_data_without_positions_still_have_classes() -> None:
    curves = depth_curves(measured(located=0), layer_costs(MODEL))
    assert all(p.error_cm is None and p.class_right for p in curves.points)
    with pytest.raises(InputError, match="no modality alone"):
        depth_curves(measured(((1, 2),)), layer_costs(MODEL))


def test_the_command_writes_numbers_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    dump_config(MODEL, tmp_path / "model" / "config.yaml")
    write_losses(tmp_path / "losses.json", measured())
    words = ["depths", str(tmp_path / "losses.json"), "--model", str(tmp_path / "model"),
             "--out", str(tmp_path / "out")]
    assert main([*words, "--unit", "milliseconds"]) == 2
    assert "admn profile" in capsys.readouterr().err
    assert main(words) == 0
    assert "| together | 3 | 6 | 16.7 | 90.0% |" in capsys.readouterr().out.splitlines()
    assert len(json.loads((tmp_path / "out" / "depths.json").read_text())["points"]) == 9
    assert cv2.imread(str(tmp_path / "out" / "depths.png")).std() > 5
