# SPDX-License-Identifier: Apache-2.0
"""`admn benchmark preprocessing`: what is timed, and the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from admn_ros.benchmark.preprocessing import SIZES, measure_preprocessing, render
from admn_ros.cli import main
from admn_ros.config import AudioInput, DepthInput, RadarInput, RgbInput
from admn_ros.sample import Modality
from helpers import models

MODEL = models.inputs_only(("north", "south"), {
    Modality.RGB: RgbInput(height=32, width=48), Modality.DEPTH: DepthInput(height=32, width=48, relief=True),
    Modality.RADAR: RadarInput(height=32, width=16), Modality.AUDIO: AudioInput(frames=16, window_s=0.28)})


def test_every_modality_and_whole_frames_are_timed() -> None:
    rounds: list[tuple[int, int]] = []
    found = measure_preprocessing(MODEL, repeats=2, on_progress=lambda done, total: rounds.append((done, total)))
    assert rounds == [(0, 2), (1, 2), (2, 2)]
    assert [t.size for t in found.times] == list(SIZES)
    assert found.inputs == 8
    for times in found.times:
        assert set(times.input_ms) == set(MODEL.modalities)
        assert all(ms > 0 for ms in times.input_ms.values())
        assert times.frame_p95_ms >= times.frame_ms > 0
        assert times.rest_ms > 0
    assert render(found).count("\n") == 1 + len(SIZES)


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "times.json"
    assert main(["benchmark", "preprocessing", "--repeats", "1", "--out", str(out)]) == 0
    assert "| 640x480 |" in capsys.readouterr().out
    written = json.loads(out.read_text())
    assert written["inputs"] == 12
    assert [times["size"] for times in written["times"]] == list(SIZES)
