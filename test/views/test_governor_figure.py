# SPDX-License-Identifier: Apache-2.0
"""The picture of the governor."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from admn_ros.cli import main
from admn_ros.views.governor_figure import CONFIG, draw_governor


def test_the_command_draws_a_run_that_stays_below_the_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "governor.png"
    assert main(["governor-plot", str(path)]) == 0
    assert "highest temperature" in capsys.readouterr().out
    picture = cv2.imread(str(path))
    assert picture is not None and picture.std() > 10
    trace = draw_governor(path)
    assert max(trace.temperature_c) < CONFIG.limit_c
    assert max(trace.granted[t * 5] for t in range(271, 350)) <= 10
    assert max(trace.granted[t * 5] for t in range(446, 490)) <= CONFIG.safe_layers
