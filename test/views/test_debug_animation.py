# SPDX-License-Identifier: Apache-2.0
"""The moving debug picture of a recording, from the command line."""

from __future__ import annotations

import pytest
from PIL import Image

from admn_ros.cli import main
from admn_ros.config import dump_config


@pytest.mark.parametrize("suffix", ["webp", "gif"])
def test_a_recording_is_drawn_as_a_moving_picture(bag, model, deployment, tmp_path, capsys, suffix):
    dump_config(deployment, tmp_path / "sensors.yaml")
    file = tmp_path / f"a.{suffix}"
    assert main(["animate", str(bag), str(file), "--model", str(model), "--sensors", str(tmp_path / "sensors.yaml"),
                 "--budgets", "5", "1", "--period", "0.4", "--width", "320"]) == 0
    with Image.open(file) as moving:
        assert moving.width == 320 and moving.is_animated
        assert f"{moving.n_frames} pictures" in capsys.readouterr().out
        first = moving.convert("RGB").tobytes()
        assert moving.info["duration"] == 400
        moving.seek(moving.n_frames - 1)
        assert moving.convert("RGB").tobytes() != first


def test_another_kind_of_file_is_refused_at_once(tmp_path, capsys):
    assert main(["animate", "nosuch", str(tmp_path / "a.mp4"), "--model", "m", "--sensors", "s"]) == 2
    assert "a file name that ends in .webp or .gif" in capsys.readouterr().err
