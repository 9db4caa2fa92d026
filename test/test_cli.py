# SPDX-License-Identifier: Apache-2.0
"""The `admn` command: subcommands that need no data of their own, and invalid input."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml

from admn_ros.cli import main
from admn_ros.config import ModelConfig, load_config
from admn_ros.sample import Modality
from admn_ros.share import share_directory
from helpers.demo_recording import DEMO_BAG


def test_a_model_is_made_inspected_and_profiled(tmp_path: Path, capsys):
    folder = tmp_path / "model"
    assert main(["new-model", str(folder), "--preset", "rgbd", "--seed", "3"]) == 0
    assert "UNTRAINED" in capsys.readouterr().out
    assert main(["inspect", str(folder)]) == 0
    output = capsys.readouterr().out
    assert "UNTRAINED" in output and "24 layers" in output and "milliseconds (measured at first use)" in output
    assert main(["profile", str(folder), "--repeats", "2", "--device", "cpu"]) == 0
    assert (folder / "costs.yaml").is_file()
    capsys.readouterr()
    assert main(["inspect", str(folder)]) == 0
    output = capsys.readouterr().out
    assert f"milliseconds; measured {date.today().isoformat()} on CPU" in output


@pytest.mark.slow
def test_a_recording_is_inspected_and_drawn(tmp_path: Path, capsys):
    bag, sheet = DEMO_BAG, tmp_path / "sheet.png"
    assert main(["inspect", str(bag)]) == 0
    output = capsys.readouterr().out
    assert "/node1/rgb/image_raw/compressed" in output and "admn_ros/msg/AudioFrame" in output
    assert "/ground_truth/pose" in output
    assert main(["sheet", str(bag), str(sheet)]) == 0
    assert sheet.stat().st_size > 10_000


@pytest.mark.parametrize(("arguments", "expected"), [
    (["new-model", "{tmp}/m", "--preset", "gpt"], "gpt"),
    (["inspect", "{tmp}/nothing"], "nothing"),
    (["profile", "{tmp}/nothing"], "nothing"),
    (["convert", "rgbd", "{tmp}/nothing", "{tmp}/bag"], "nothing"),
    (["sheet", "{tmp}/nothing", "{tmp}/a.png"], "nothing"),
])
def test_bad_input_is_one_clear_line(tmp_path: Path, capsys, arguments, expected):
    assert main([a.format(tmp=tmp_path) for a in arguments]) == 2
    output = capsys.readouterr().err
    lines = [line for line in output.splitlines() if line.strip()]
    assert len(lines) == 1 and expected in lines[0]
    assert "allowed: " in lines[0] or "required: " in lines[0]


def test_a_model_is_made_from_a_description_of_its_own(tmp_path: Path, capsys):
    config = yaml.safe_load((share_directory() / "models" / "gdtm" / "config.yaml").read_text())
    config["modalities"]["rgb"]["backbone"]["depth"] = 3
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(config))
    assert main(["new-model", str(tmp_path / "m"), "--config", str(own)]) == 0
    made = load_config(ModelConfig, tmp_path / "m" / "config.yaml")
    assert made.modalities[Modality.RGB].backbone.depth == 3
    assert not made.trained and not made.qoi_trained and not made.predicts_values and not made.calibration.hidden
    own.write_text(own.read_text().replace("kind: rgb", "kind: sonar"))
    assert main(["new-model", str(tmp_path / "m"), "--config", str(own), "--force"]) == 2
    assert "own.yaml: modalities.rgb.input" in capsys.readouterr().err


def test_an_existing_model_is_not_overwritten_unless_asked(tmp_path: Path, capsys):
    folder = str(tmp_path / "m")
    assert main(["new-model", folder, "--preset", "rgbd"]) == 0
    assert main(["new-model", folder, "--preset", "rgbd"]) == 2
    assert main(["new-model", folder, "--preset", "rgbd", "--force"]) == 0
