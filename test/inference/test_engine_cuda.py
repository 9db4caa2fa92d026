# SPDX-License-Identifier: Apache-2.0
"""The engine on a GPU against the engine on the CPU."""

from __future__ import annotations

import gc
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from admn_ros.budget.budget import Budget
from admn_ros.inference.engine import Engine
from admn_ros.inference.runtime import RuntimeChoice
from admn_ros.model.checkpoint import create_random_model
from admn_ros.sample import MultimodalSample, SampleBatch
from helpers import models

pytestmark = pytest.mark.cuda


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "micro"
    create_random_model(models.four_modalities(), path, seed=1)
    return path


@pytest.fixture(scope="module")
def random_sample() -> MultimodalSample:
    config, generator = models.four_modalities(), torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(2, *c.input.shape, generator=generator) for m, c in config.modalities.items()}
    return MultimodalSample(inputs, {m: torch.ones(2, dtype=torch.bool) for m in inputs}, 0)


@pytest.mark.parametrize("layers", [1, 5, math.inf])
def test_the_gpu_gives_the_estimates_of_the_cpu(folder: Path, layers: float, random_sample: MultimodalSample) -> None:
    cpu, gpu = (Engine(folder, device).infer(random_sample, Budget(layers, "layers")) for device in ("cpu", "cuda"))
    assert gpu.allocation.active == cpu.allocation.active
    np.testing.assert_allclose(gpu.mean_m, cpu.mean_m, atol=1e-3)
    np.testing.assert_allclose(gpu.covariance_m2, cpu.covariance_m2, atol=1e-3, rtol=1e-2)
    np.testing.assert_allclose(gpu.scores, cpu.scores, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_an_engine_records_the_network_and_frees_it(folder: Path, precision: str,
                                                    random_sample: MultimodalSample) -> None:
    def run() -> int:
        engine = Engine(folder, "cuda", choice=RuntimeChoice(precision=precision))
        assert engine.runtime_name == " ".join(["torch graphs", *([] if precision == "float32" else [precision])])
        for layers in (1, 5, math.inf):
            engine.infer(random_sample, Budget(layers, "layers"))
        engine.infer_many([random_sample] * 3, [Budget(n, "layers") for n in (1, 2, 7)])
        engine.close()
        gc.collect()
        torch.cuda.empty_cache()
        return torch.cuda.memory_allocated()

    first = run()  # libraries keep their workspaces
    assert {run() for _ in range(3)} <= {first}


def test_the_network_computes_on_the_gpu(folder: Path, random_sample: MultimodalSample) -> None:
    engine = Engine(folder, "cuda")
    assert {p.device.type for p in engine.network.parameters()} == {"cuda"}
    batch = SampleBatch.stack([random_sample]).to(engine.device)
    output = engine.network.estimate(batch, {m: range(d) for m, d in engine.config.depths.items()})
    assert output.mean_m.device.type == "cuda"
