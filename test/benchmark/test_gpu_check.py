# SPDX-License-Identifier: Apache-2.0
"""The acceptance on a GPU, as far as it goes on a CPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from admn_ros.benchmark.gpu_check import __main__ as gpu_check
from admn_ros.benchmark.gpu_check import checks
from admn_ros.benchmark.gpu_check.checks import TARGETS, Outcome
from admn_ros.benchmark.latency.plan import LatencyPlan
from admn_ros.benchmark.latency.results import Latencies, Timing
from admn_ros.errors import AdmnError


def latencies(median_ms: float, device: str = "cuda") -> Latencies:
    timings = tuple(Timing(model=t.model, precision="bfloat16", nodes=3, batch=1, layers=t.layers, contender=contender,
                           runs=3, median_ms=time, p95_ms=time, shortest_ms=time)
                    for t in TARGETS for contender, time in (("engine (torch)", median_ms), ("static", 0.1)))
    plan = LatencyPlan.model_validate({"device": device})
    return Latencies(device="GPU", torch="2", plans=(plan,), timings=timings, startups=())


def test_targets_are_for_engines_on_a_gpu() -> None:
    assert {o.state for o in checks.targets(latencies(1.0))} == {"passed"}
    assert {o.state for o in checks.targets(latencies(9.0))} == {"failed"}
    assert [o.state for o in checks.targets(latencies(1.3))] == ["passed", "failed", *["passed"] * 3]
    assert {o.state for o in checks.targets(latencies(1.0, "cpu"))} == {"not run"}


def test_every_file_with_tests_for_a_gpu_is_found() -> None:
    root = Path(__file__).resolve().parents[1]
    marked = {p.name for p in root.rglob("test_*.py") if checks.MARK.search(p.read_text(encoding="utf-8"))}
    assert {"test_engine_cuda.py", "test_training_cuda.py", "test_stage_trials.py"} <= marked
    assert "test_latency.py" not in marked


def test_an_error_in_a_part_is_a_failed_check() -> None:
    def part() -> Iterator[Outcome]:
        yield Outcome(name="first", state="passed", detail="")
        raise AdmnError("no memory")

    assert [(o.name, o.state, o.detail) for o in checks.guarded("part", part)] == [
        ("first", "passed", ""), ("part", "failed", "no memory")]


@pytest.mark.slow
@pytest.mark.nightly
def test_it_runs_without_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main(["--device", "cpu", "--out", str(tmp_path / "check.json")]) == 0
    report = json.loads((tmp_path / "check.json").read_text())
    states = {o["name"]: o["state"] for o in report["outcomes"]}
    assert report["state"] == "incomplete"
    assert states["tests"] == "not run" and states["latency"] == "passed"
    assert states["calibration, bfloat16"] == states["pretrain, float32"] == "passed"
    assert report["latencies"]["timings"]
    assert capsys.readouterr().out.strip().endswith("check.json")
