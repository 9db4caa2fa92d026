# SPDX-License-Identifier: Apache-2.0
"""The acceptance on a GPU, as far as it goes on a CPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from admn_ros.benchmark.gpu_check import __main__ as gpu_check
from admn_ros.benchmark.gpu_check import checks
from admn_ros.benchmark.gpu_check.accuracy import BUDGETS, compare, mean_errors_cm
from admn_ros.benchmark.gpu_check.outcome import Outcome
from admn_ros.benchmark.gpu_check.targets import REFERENCE, TARGETS, check_targets
from admn_ros.benchmark.latency.contenders import CONTENDERS, ONE_BY_ONE, TOGETHER
from admn_ros.benchmark.latency.plan import LatencyPlan
from admn_ros.benchmark.latency.results import Latencies, MixedTiming, Timing
from admn_ros.errors import AdmnError


def latencies(engine_ms: float, device: str = "cuda", *, plain_ms: float = 60.0, together_ms: float = 1.0) -> Latencies:
    def times(precision: str, contender: str, median_ms: float, batch: int = 1) -> dict[str, Any]:
        return {"precision": precision, "contender": contender, "nodes": 3, "batch": batch, "runs": 3,
                "median_ms": median_ms, "p95_ms": median_ms, "shortest_ms": median_ms}

    alone = [times("bfloat16", ONE_BY_ONE, engine_ms), times("float32", REFERENCE, plain_ms),
             times("bfloat16", "static", 0.1)]
    several = [times("bfloat16", ONE_BY_ONE, 8.0, 8), times("bfloat16", TOGETHER, together_ms, 8)]
    return Latencies(
        device="GPU", torch="2", plans=(LatencyPlan.model_validate({"device": device}),), startups=(),
        timings=tuple(Timing(model=t.model, layers=t.layers, **each) for t in TARGETS for each in alone),
        mixed=tuple(MixedTiming(model=m, layers=(1, 2), **each) for m in ("base", "gdtm") for each in several))


def test_contenders_of_the_targets_exist() -> None:
    assert {ONE_BY_ONE, TOGETHER, REFERENCE} <= set(CONTENDERS)


def states(found: Latencies, part: str) -> list[str]:
    return [o.state for o in check_targets(found) if part in o.name]


def test_targets_are_for_engines_on_a_gpu() -> None:
    assert {o.state for o in check_targets(latencies(1.0))} == {"passed"}
    assert {o.state for o in check_targets(latencies(1.0, "cpu"))} == {"not run"}
    assert states(latencies(9.0), "at most") == ["failed"] * 5
    assert states(latencies(1.3), "at most") == ["passed", "failed", *["passed"] * 3]
    assert states(latencies(1.0, plain_ms=5.9), "plain PyTorch") == ["failed"] * 5
    assert states(latencies(1.0, together_ms=3.0), "together") == ["failed"] * 2


def test_an_error_that_grows_with_the_precision_is_a_failed_check() -> None:
    expected = {1.0: 10.0, 4.0: 7.0}
    assert compare("error", {1.0: 10.05, 4.0: 6.9}, expected, 1.01).state == "passed"
    worse = compare("error", {1.0: 10.2, 4.0: 6.9}, expected, 1.01)
    assert (worse.state, worse.detail) == (
        "failed", "10.200 cm at 1 layers (CPU 10.000), 6.900 cm at 4 layers (CPU 7.000)")


@pytest.mark.slow
@pytest.mark.nightly
def test_errors_are_those_of_the_bundled_recording() -> None:
    found = mean_errors_cm("cpu", "float32", frames=8)
    assert set(found) == set(BUDGETS) and all(0 < error < 50 for error in found.values())


def test_every_file_with_tests_for_a_gpu_is_found() -> None:
    root = Path(__file__).resolve().parents[1]
    marked = {p.name for p in root.rglob("test_*.py") if checks.MARK.search(p.read_text(encoding="utf-8"))}
    assert {"test_engine_cuda.py", "test_graph_network_cuda.py", "test_training_cuda.py",
            "test_stage_trials.py"} <= marked
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
