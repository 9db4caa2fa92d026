# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs against the network that they are of, on the CPU."""

from __future__ import annotations

import copy
import gc
import math
import random
from collections.abc import Iterator

import pytest
import torch

from admn_ros.inference.graphs.network import GraphNetwork
from admn_ros.inference.graphs.recorder import CudaRecorder
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.sample import SampleBatch
from helpers.random_frames import CONFIGS, assert_close, compare_controllers, draw, random_network

pytestmark = pytest.mark.cuda
MIB = 2**20
FRAMES, WARM_UP = 10_000, 200
GROWTH_MIB = 1


def recorded(network: AdmnNetwork, dtype: torch.dtype = torch.float32) -> GraphNetwork:
    """Return the graphs of a copy of a network."""
    device = torch.device("cuda")
    return GraphNetwork(copy.deepcopy(network).to(device), CudaRecorder(device), dtype)


@pytest.fixture(params=CONFIGS)
def network(request: pytest.FixtureRequest) -> AdmnNetwork:
    return random_network(CONFIGS[request.param]())


@pytest.fixture
def small() -> Iterator[GraphNetwork]:
    graphs = recorded(random_network(CONFIGS["like-shipped"]()))
    yield graphs
    graphs.close()


@torch.inference_mode()
def test_500_random_allocations(network: AdmnNetwork) -> None:
    graphs, rng = recorded(network), random.Random(5)
    for _ in range(500):
        batch, active = draw(network.config, rng, 1)
        compare_controllers(network, graphs, batch, torch.tensor([rng.random()]))
        expected = network.estimate(batch, active[0])
        for name, found, value in zip(NetworkOutput._fields, graphs.estimate(batch, active[0]), expected, strict=True):
            assert_close(found, value, name)
    assert graphs.frame.waits == 1000
    graphs.close()


@torch.inference_mode()
def test_frames_together_are_those_of_one_by_one() -> None:
    network, rng = random_network(CONFIGS["like-shipped"]()), random.Random(7)
    graphs = recorded(network)
    for size in (8, 3, 1, 11):
        batch, active = draw(network.config, rng, size)
        found = graphs.estimate_each(batch, active)
        for row, layers in enumerate(active):
            expected = network.estimate(batch.part(list(batch.inputs), torch.tensor([row])), layers)
            for name, several, one in zip(NetworkOutput._fields, found, expected, strict=True):
                assert_close(several[row:row + 1], one, name)
    graphs.close()


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_close(dtype: torch.dtype) -> None:
    network, rng = random_network(CONFIGS["nested"]()), random.Random(6)
    graphs = recorded(network, dtype)
    for _ in range(20):
        batch, active = draw(network.config, rng, 1)
        torch.testing.assert_close(tuple(graphs.estimate(batch, active[0])),
                                   tuple(network.estimate(batch, active[0])), rtol=0.05, atol=0.05)
    graphs.close()


@torch.inference_mode()
def test_a_frame_allocates_nothing_and_records_nothing(small: GraphNetwork) -> None:
    """All allocations of the device, of PyTorch and beyond it, over random allocations, budgets and absences."""
    rng = random.Random(8)
    draws = [draw(small.config, rng, 1) for _ in range(50)]

    def run(frames: int) -> None:
        for _ in range(frames):
            batch, active = rng.choice(draws)
            small.controller(batch, torch.tensor([rng.random()]))
            small.estimate(batch, active[0])

    run(WARM_UP)
    torch.cuda.synchronize()
    allocations, free = torch.cuda.memory_stats()["allocation.all.allocated"], torch.cuda.mem_get_info()[0]
    run(FRAMES)
    torch.cuda.synchronize()
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == allocations
    assert (free - torch.cuda.mem_get_info()[0]) / MIB <= GROWTH_MIB


@torch.inference_mode()
def test_closing_frees_the_memory() -> None:
    network = random_network(CONFIGS["like-shipped"]()).to("cuda")

    def make_and_close() -> int:
        graphs = GraphNetwork(network, CudaRecorder(torch.device("cuda")))
        batch = SampleBatch({m: torch.zeros(1, 2, *c.input.shape) for m, c in network.config.modalities.items()},
                            {m: torch.ones(1, 2, dtype=torch.bool) for m in network.config.modalities})
        graphs.controller(batch)
        graphs.close()
        gc.collect()
        torch.cuda.empty_cache()
        return torch.cuda.memory_allocated()

    first = make_and_close()  # libraries keep their workspaces
    assert {make_and_close() for _ in range(3)} <= {first}


def test_work_that_cannot_be_captured_is_an_error_and_others_still_can() -> None:
    x = torch.ones(2, device="cuda")
    with pytest.raises(RuntimeError):
        CudaRecorder(x.device).record(lambda: x.mul_(x.sum().item()))
    recorder = CudaRecorder(x.device)
    replay = recorder.record(lambda: x.add_(1))
    x.fill_(5)
    replay()
    assert x.tolist() == [6, 6]
    recorder.close()


def test_works_beside_each_other_have_run_when_what_follows_begins() -> None:
    recorder = CudaRecorder(torch.device("cuda"))
    start, parts = torch.zeros(1 << 20, device="cuda"), [torch.zeros(1 << 20, device="cuda") for _ in range(4)]
    replays = [recorder.record(lambda x=x: x.copy_(start.cos().sin() + 1), number) for number, x in enumerate(parts)]
    total = torch.zeros((), device="cuda")
    add = recorder.record(lambda: total.copy_(sum(x[-1] for x in parts)))
    for turn in range(100):
        start.fill_(float(turn))
        recorder.beside(replays)
        add()
        assert total.item() == pytest.approx(4 * (math.sin(math.cos(turn)) + 1), abs=1e-4)
    recorder.close()
