# SPDX-License-Identifier: Apache-2.0
"""Cost of an evaluation against its recordings and processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from admn_ros.benchmark.scale import Scale, ScaleRun, read_scale, render
from admn_ros.cli import main


def test_the_table_has_a_row_for_each_number_of_processes():
    runs = tuple(ScaleRun(pool=pool, bags=bags, workers=workers, frames=15 * bags, seconds=bags / workers)
                 for pool in ("jobs", "scheduler") for workers in (1, 2) for bags in (1, 10))
    lines = render(Scale(command="", cores=2, bag_s=1.0, runs=runs)).splitlines()
    assert lines[0] == "| processes | 1 bag | 10 bags |" and len(lines) == 6
    assert lines[3] == "| `--jobs 2` | 0.5 s, 30 frames/s | 5.0 s, 30 frames/s |"
    assert lines[5].startswith("| `--scheduler`, 2 workers | 0.5 s")


@pytest.mark.slow
@pytest.mark.parametrize(("pool", "workers"), [
    ("jobs", 1), pytest.param("jobs", 2, marks=pytest.mark.nightly),
    pytest.param("scheduler", 2, marks=pytest.mark.nightly)])
def test_the_command_measures_and_writes_json(pool: str, workers: int, tmp_path: Path, capsys):
    if pool == "scheduler":
        pytest.importorskip("distributed", reason='needs Dask: pip install "admn_ros[cluster]"')
    file = tmp_path / "scale.json"
    assert main(["benchmark", "scale", "--bags", "1", "2", "--workers", str(workers), "--bag-s", "0.4", "--pools", pool,
                 "--out", str(file)]) == 0
    found = read_scale(file)
    assert [(run.pool, run.bags, run.workers) for run in found.runs] == [(pool, 1, workers), (pool, 2, workers)]
    assert found.runs[1].frames == 2 * found.runs[0].frames >= 4
    assert capsys.readouterr().out == f"{render(found)}\n{file}\n"
