# SPDX-License-Identifier: Apache-2.0
"""The debug picture of a recording's instant, from the command line."""

from __future__ import annotations

import cv2
import pytest

from admn_ros.cli import main
from admn_ros.config import dump_config
from admn_ros.views.debug_picture import HEIGHT, WIDTH


def test_an_instant_of_a_bag_is_drawn(bag, model, deployment, tmp_path, capsys):
    dump_config(deployment, tmp_path / "sensors.yaml")
    where = ["--model", str(model), "--sensors", str(tmp_path / "sensors.yaml")]
    assert main(["debug-image", str(bag), str(tmp_path / "d.png"), *where, "--budget", "5", "--at", "0.8"]) == 0
    assert "spent 5 layers, 5 layers" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "d.png")).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(("arguments", "expected"), [
    (["d.png", "--at", "99"], "--at: found 99"), (["d.jpeg", "--at", "0.5"], ".png")])
def test_invalid_requests_are_refused_in_one_line(bag, model, deployment, tmp_path, capsys, arguments, expected):
    dump_config(deployment, tmp_path / "sensors.yaml")
    assert main(["debug-image", str(bag), str(tmp_path / arguments[0]), *arguments[1:], "--model", str(model),
                 "--sensors", str(tmp_path / "sensors.yaml")]) == 2
    assert expected in capsys.readouterr().err
