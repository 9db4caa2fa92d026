# SPDX-License-Identifier: Apache-2.0
"""The same arguments give the same bytes: run after run, in one process or in two."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from admn_ros.evaluation.run import evaluate

pytestmark = pytest.mark.slow

WALL_CLOCK = ("wall_s", "frames_per_s", "times_real_time", "network_ms", "peak_memory_mb", "jobs")


def hashes(folder: Path) -> dict[str, str]:
    """Of results.json and of what it is made from. What the clock says is in files of its own."""
    files = [folder / "run.json", folder / "results.json", *sorted(folder.glob("records/*.npz"))]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(params=["dataset", "bags"])
def plan(request, make_plan, make_bag_plan, bag, write_bag, tmp_path):
    """Four pieces each: two halves of a dataset, or two bags, clean and corrupted."""
    if request.param == "dataset":
        return make_plan(policies=["allocate", "naive"], budgets=[2])
    other = write_bag(tmp_path / "other", storage="sqlite3", ticks=9, truth="map")
    changes = {"corruptions": ["clean", "room-all"], "budgets": [2, None], "seed": 3}
    return make_bag_plan(bag, other, hold_s=0.4, search_s=0.05, changes=changes)


def test_two_runs_and_two_processes_give_the_same_hashes(plan, tmp_path):
    # A process has several pieces, in any order. test_cluster.py has recordings in two processes.
    for name, jobs in (("first", 1), ("second", 1), *([("two", 2)] if plan.kind == "shards" else [])):
        evaluate(plan, tmp_path / name, jobs=jobs)
    first = hashes(tmp_path / "first")
    assert len(first) == 4
    assert all(hashes(path) == first for path in tmp_path.iterdir() if (path / "results.json").is_file())


def test_results_have_no_times_and_no_paths(make_plan, tmp_path):
    evaluate(make_plan(limit=6), tmp_path / "out")
    text = (tmp_path / "out" / "results.json").read_text()
    assert not [word for word in WALL_CLOCK if f'"{word}"' in text]
    timings = (tmp_path / "out" / "timings.json").read_text()
    assert all(f'"{word}"' in timings for word in WALL_CLOCK)
    assert str(tmp_path) not in text and json.loads(text)["complete"] is True
