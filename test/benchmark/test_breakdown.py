# SPDX-License-Identifier: Apache-2.0
"""Parts of the time of a frame."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from admn_ros.cli import main
from admn_ros.model.checkpoint import create_random_model
from helpers import models


def test_the_parts_of_a_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create_random_model(models.images(), tmp_path / "micro", seed=1)
    threads = torch.get_num_threads()
    command = ["benchmark", "breakdown", "--model", str(tmp_path / "micro"), "--layers", "1", "5", "--repeats", "3"]
    assert not main(command)
    torch.set_num_threads(threads)
    one, five = ([float(cell.strip(" %")) for cell in line.strip("|").split("|")]
                 for line in capsys.readouterr().out.splitlines()[2:])
    for layers, frame, *parts, rest in (one, five):
        assert layers in (1, 5) and min(parts) > 0
        assert sum(parts) == pytest.approx(frame, abs=0.1)
        assert rest == pytest.approx(100 * (parts[3] + parts[4]) / frame, abs=2)
