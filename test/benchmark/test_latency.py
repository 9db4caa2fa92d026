# SPDX-License-Identifier: Apache-2.0
"""The latency benchmark: every contender computes what it claims to, and the results survive their files."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from admn_ros.benchmark.latency.case import Case
from admn_ros.benchmark.latency.contenders import CONTENDERS, OF_MIXED_BATCHES, ONE_BY_ONE, TOGETHER
from admn_ros.benchmark.latency.plan import LatencyPlan, plans_for
from admn_ros.benchmark.latency.results import (
    FIGURE,
    FILE,
    TABLE,
    Latencies,
    MixedTiming,
    Startup,
    Timing,
    fit_lines,
    read_latencies,
)
from admn_ros.benchmark.latency.run import measure_latencies
from admn_ros.benchmark.latency.static_network import StaticNetwork
from admn_ros.benchmark.latency.subject import subject
from admn_ros.benchmark.latency.text import render
from admn_ros.cli import main
from admn_ros.errors import InputError
from admn_ros.inference.engine import Engine
from admn_ros.inference.runtime import ENGINES
from admn_ros.model.checkpoint import create_random_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.prepared.backbone import PreparedBackbone
from admn_ros.sample import Modality
from helpers import models

LAYERS = (1, 3, 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "micro"
    create_random_model(models.images(), path, seed=1)
    return path


@pytest.fixture
def network() -> AdmnNetwork:
    return AdmnNetwork(models.images()).eval()


def case(network: AdmnNetwork, layers: int = 3, batch: int = 2, nodes: int = 1) -> Case:
    return Case.of({"torch": Engine.of(network)}, [layers] * batch, nodes=nodes, precision="float32", seed=0)


def test_the_frames_of_a_case_have_its_layers_and_sensor_nodes(network: AdmnNetwork) -> None:
    found = case(network, layers=3, batch=2, nodes=1)
    assert [sum(map(len, chosen.values())) for chosen in found.chosen] == [3, 3]
    for sample in found.samples:
        assert all(present.tolist() == [True, False] for present in sample.present.values())
    assert not torch.equal(found.samples[0].inputs[Modality.RGB], found.samples[1].inputs[Modality.RGB])


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_static_network_gives_the_estimates_of_the_reference(network: AdmnNetwork, nodes: int) -> None:
    found = case(network, batch=3, nodes=nodes)
    static = StaticNetwork(network, found.chosen[0], nodes, torch.float32)
    with torch.no_grad():
        for ours, theirs in zip(static(found.batch), network.estimate(found.batch, found.chosen[0]), strict=True):
            torch.testing.assert_close(ours, theirs)


def executed(network: AdmnNetwork, found: Case, contender: str) -> int:
    """Return the number of rows times backbone layers that a contender computes."""
    work = CONTENDERS[contender](found)
    assert work is not None
    rows: list[int] = []
    layers = {block for m in network.config.modalities for block in network.backbone(m).blocks}

    def before(module: nn.Module, _: object) -> None:
        if isinstance(module, PreparedBackbone):  # an engine's own form of a backbone
            layers.update(module.blocks)

    def after(module: nn.Module, inputs: tuple[torch.Tensor, ...], _: object) -> None:
        if module in layers:
            rows.append(len(inputs[0]))

    hooks = [register_module_forward_pre_hook(before), register_module_forward_hook(after)]
    work()
    for hook in hooks:
        hook.remove()
    return sum(rows)


def test_masked_execution_runs_every_layer_and_the_others_only_theirs(network: AdmnNetwork) -> None:
    found = case(network, layers=3, batch=2, nodes=1)
    assert executed(network, found, "masked") == 2 * sum(network.config.depths.values())
    assert executed(network, found, "reference") == 2 * 3
    assert executed(network, found, ONE_BY_ONE) == executed(network, found, TOGETHER) == 2 * 3


def test_frames_of_a_mixed_batch_have_their_own_budgets(network: AdmnNetwork) -> None:
    found = Case.of({"torch": Engine.of(network)}, [1, 5, 2], nodes=2, precision="float32", seed=0)
    assert [sum(map(len, chosen.values())) for chosen in found.chosen] == [1, 5, 2]
    rows = 2 * (1 + 5 + 2)
    assert executed(network, found, ONE_BY_ONE) == executed(network, found, TOGETHER) == rows
    assert executed(network, found, "masked") == 2 * 3 * sum(network.config.depths.values())


def timings(times: Mapping[int, float], threads: int = 1) -> tuple[Timing, ...]:
    return tuple(Timing(model="m", precision="float32", nodes=1, batch=1, threads=threads, layers=n, contender="static",
                        runs=3, median_ms=t, p95_ms=t, shortest_ms=t) for n, t in times.items())


def test_lines_through_the_medians() -> None:
    line, = fit_lines(timings({1: 3.0, 2: 5.0, 4: 9.0}))
    assert (line.fixed_ms, line.per_layer_ms, line.r_squared) == pytest.approx((1.0, 2.0, 1.0))
    bent, = fit_lines(timings({1: 1.0, 2: 9.0, 3: 1.0}))
    assert bent.r_squared == pytest.approx(0.0, abs=1e-9)
    assert not fit_lines(timings({1: 3.0, 2: 5.0}))
    assert not fit_lines(timings({1: 3.0, 2: 5.0}) + timings({1: 2.0, 2: 3.0}, threads=2))


def test_plans_of_devices() -> None:
    assert {p.precisions for p in plans_for("cuda")} == {("float32", "bfloat16")}
    assert {p.precisions for p in plans_for("cpu")} <= {("float32",), ("float32", "bfloat16")}
    assert [p.models for p in plans_for("cpu", quick=True)] == [("gdtm",)]


@pytest.mark.parametrize(("change", "error"), [
    ({"nodes": (3,)}, "nodes: found 3; allowed: at most 2"), ({"layers": (9,)}, "layers: found 9; allowed: at most 8")])
def test_what_a_model_does_not_have_is_an_error(folder: Path, change: dict[str, tuple[int, ...]], error: str) -> None:
    plan = LatencyPlan(models=(str(folder),), nodes=(1,)).model_copy(update=change)
    with pytest.raises(InputError, match=error):
        measure_latencies([plan])


@pytest.mark.slow
@pytest.mark.timeout(600)  # an export, and a process for each engine
def test_the_command_writes_json_table_and_figure(folder: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    assert not main(["benchmark", "latency", "--out", str(tmp_path), "--models", str(folder), "--device", "cpu",
                     "--layers", *map(str, LAYERS), "--batches", "1", "2", "--nodes", "2", "--threads", "1",
                     "--precisions", "float32", "bfloat16", "--repeats", "3", "--mixed", "4"])
    torch.set_num_threads(threads)
    found = read_latencies(tmp_path / FILE)
    assert {t.layers for t in found.timings} == set(LAYERS) and {t.threads for t in found.timings} == {1}
    assert {t.contender for t in found.timings if t.precision == "float32"} == set(CONTENDERS)
    assert all(0 < t.shortest_ms <= t.median_ms <= t.p95_ms and t.runs == 3 for t in (*found.timings, *found.mixed))
    assert {t.layers for t in found.mixed} == {(1, 3, 5, 1)}
    assert {t.contender for t in found.mixed if t.precision == "float32"} == set(OF_MIXED_BATCHES)
    assert {s.runtime for s in found.startups} == set(ENGINES)
    assert all("torch bfloat16: precision" in what for what in found.left_out), "a processor without it"
    assert all(s.peak_mib > 0 and s.load_s > 0 and s.first_frame_ms > 0 for s in found.startups)
    text = (tmp_path / TABLE).read_text()
    assert text == render(found) and "bfloat16, 2 nodes, batch 2, 1 thread" in text
    assert (tmp_path / FIGURE).read_bytes().startswith(b"\x89PNG")


def test_an_engine_that_cannot_run_is_left_out_with_its_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> object:
        raise ImportError(name)

    with monkeypatch.context() as patched:
        patched.setattr(importlib, "import_module", without)
        with subject(str(folder), seed=0) as model:
            engines = model.engines("cpu", torch.get_num_threads())
    assert set(engines) == {"torch"}
    assert model.left_out["onnxruntime"].startswith("package onnxruntime: missing")


def test_the_gain_of_a_mixed_batch_in_the_table() -> None:
    key = {"model": "m", "precision": "float32", "nodes": 3, "batch": 2, "threads": 1, "layers": (1, 4), "runs": 3}
    mixed = tuple(MixedTiming.model_validate({**key, "contender": name, "median_ms": t, "p95_ms": t, "shortest_ms": t})
                  for name, t in ((ONE_BY_ONE, 30.0), (TOGETHER, 10.0)))
    found = Latencies(device="CPU", torch="2", plans=(), timings=(), startups=(), mixed=mixed)
    assert "| m | float32 | 3 | 1 | 1 4 | 30.00 (30.00) | 10.00 (10.00) | 3.00 |" in render(found)


def test_a_start_in_the_table() -> None:
    start = Startup(model="m", runtime="torch", import_s=1.0, load_s=0.5, first_frame_ms=20.0, peak_mib=300.0)
    found = Latencies(device="CPU", torch="2", plans=(), timings=(), startups=(start,))
    assert "| m | torch | 1.0 | 0.50 | 20 | 300 | - |" in render(found)
