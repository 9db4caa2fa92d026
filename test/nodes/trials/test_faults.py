# SPDX-License-Identifier: Apache-2.0
"""The table of faults, over real DDS and with the node in a process of its own: every row must pass.

Nothing here depends on speed: a fault lasts until the node has noticed it, and a gap may be as long as patience.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from admn_ros.nodes.trials import faults
from admn_ros.nodes.trials.fault_result import FaultResult
from admn_ros.sample import Modality

PER_MODALITY = ("stops", "returns", "lags 300 ms", "doubles its rate", "sends NaN", "changes its encoding",
                "sends an unknown encoding", "jumps back an hour")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # all rows are one run, in the first test
SENT_NAN = {"rgb": True, "depth": False, "radar": False, "audio": True}  # whether it is refused


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> dict[str, dict[str, object]]:
    """Results by name, from one run of the command."""
    folder = tmp_path_factory.mktemp("faults")
    sensors = folder / "sensors.yaml"
    sensors.write_text(yaml.safe_dump({
        "sensors": {n: {str(m): {"topic": f"/{n}/{m}"} for m in Modality} for n in ("left", "right")},
        "sync": {"silent_s": 0.5, "modalities": {
            "rgb": {"tolerance_s": 0.034, "hold_s": 0.2, "wait_s": 0.04},
            "depth": {"tolerance_s": 0.034, "hold_s": 0.2, "wait_s": 0.04},
            "audio": {"tolerance_s": 0.07, "hold_s": 0.2, "wait_s": 0.0},
            "radar": {"tolerance_s": 0.034, "hold_s": 0.28, "wait_s": 0.0}}},
        "budget": {"limit": 8, "unit": "layers"},
    }))
    code = faults.main(["--out", str(folder), "--model", str(model_folder), "--sensors", str(sensors),
                        "--images", "64x48", "--fault-seconds", "0.4", "--flood-seconds", "4", "--gap-seconds", "60",
                        "--patience-seconds", "60", "--threads", "1"])
    written = json.loads((folder / "faults.json").read_text())
    assert (folder / "faults.md").read_text().count("| passed |") == len(written["rows"]) or code == 1
    return {row["fault"]: row for row in written["rows"]}


def passed(row: dict[str, object]) -> dict[str, object]:
    assert row["verdict"] == "passed", row
    assert row["violations"] == 0 and row["frames_out"] >= 3
    return row


@pytest.mark.parametrize("fault", PER_MODALITY)
@pytest.mark.parametrize("modality", [str(m) for m in Modality])
def test_the_node_survives_a_fault_of_a_modality(table, modality, fault):
    if modality == "radar":
        fault = fault.replace("encoding", "byte order") if fault.startswith("changes") else fault
    row = passed(table[f"{modality} {fault}"])
    if fault in ("stops", "jumps back an hour", "sends an unknown encoding"):
        assert row["noticed_s"] > 0.0
    if fault != "stops":
        assert row["recovery_s"] > 0.0
    refuses = fault == "sends an unknown encoding" or (fault == "sends NaN" and SENT_NAN[modality])
    assert (row["refused"] > 0) == refuses


def test_without_sensors_inference_becomes_an_error_that_says_why(table):
    row = passed(table["all sensors stop and return"])
    assert row["noticed_s"] > 0.0 and row["recovery_s"] > 0.0
    assert "all 8 inputs are silent" in row["outcome"]


def test_clocks_that_differ_are_named(table):
    for row in ("rgb is 37 s ahead (TAI)", "depth is 37 s ahead (TAI)", "all sensors are an hour behind"):
        assert passed(table[row])["noticed_s"] > 0.0 and table[row]["recovery_s"] > 0.0


def test_a_budget_that_changes_at_every_frame_is_never_exceeded(table):
    row = passed(table["the budget changes at every frame between one layer and all"])
    assert int(row["outcome"].split()[0]) >= 10


def test_of_power_managers_that_disagree_the_lower_budget_holds(table):
    row = passed(table["two power managers of equal priority disagree, a third one sends NaN"])
    assert row["noticed_s"] > 0.0 and row["recovery_s"] > 0.0


def test_under_a_flood_older_frames_are_dropped_and_memory_is_bounded(table):
    row = passed(next(r for name, r in table.items() if "3x their rate" in name))
    assert "dropped" in row["outcome"]


def test_a_governor_that_dies_is_replaced_by_the_default_and_a_new_one_is_followed(table):
    row = passed(table["the governor is killed and started again"])
    assert row["noticed_s"] > 0.0 and row["recovery_s"] > 0.0


def test_a_node_that_is_killed_comes_back(table):
    row = passed(table["the perception node is killed and started again"])
    assert row["recovery_s"] > 0.0


def test_a_failed_fault_names_its_failures():
    result = FaultResult("rgb stops", failures=["no pose", "a gap of 3.00 s"])
    assert result.verdict == "FAILED: no pose; a gap of 3.00 s"
    assert "| FAILED: no pose; a gap of 3.00 s |" in faults.markdown([result])


def test_a_missing_model_is_one_clear_line(capsys):
    assert faults.main(["--model", "nowhere/at/all"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("faults: ") and "allowed" in message and message.count("\n") == 1
