# SPDX-License-Identifier: Apache-2.0
"""Recorded segments against the network that they are of. On a CPU, replays are calls of the same work."""

from __future__ import annotations

import gc
import math
import random
import weakref
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from admn_ros.config import BackboneConfig
from admn_ros.errors import InputError
from admn_ros.inference.graphs.network import GraphNetwork
from admn_ros.inference.graphs.recorder import DirectRecorder, Replay, Work
from admn_ros.model.checkpoint import load_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality, SampleBatch
from helpers import models
from helpers.random_frames import (
    CONFIGS,
    assert_close,
    compare_controllers,
    draw,
    random_network,
    random_official_network,
)

SHIPPED = Path(__file__).parents[3] / "models" / "gdtm"
WAITING = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default,
           torch.ops.aten.masked_select.default, torch.ops.aten.lift_fresh.default, torch.ops.aten.unique_dim.default}
"""Operators that wait for the device: numbers of it, shapes that depend on numbers, tensors from Python."""


class Capturable(TorchDispatchMode):
    """Refuses what a CUDA graph cannot capture."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Check an operator, and run it."""
        assert func not in WAITING, f"{func} waits for the device"
        if func in (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default):
            assert all(i is None or i.dtype is not torch.bool for i in args[1]), "selection by a mask"
        return func(*args, **(kwargs or {}))


class CheckingRecorder(DirectRecorder):
    """Counts recordings, and checks that each can be captured."""

    def __init__(self) -> None:
        super().__init__()
        self.recordings = 0

    def record(self, work: Work, group: object = None) -> Replay:
        self.recordings += 1
        with Capturable():
            work()
        return super().record(work, group)


def compare(network: AdmnNetwork, graphs: GraphNetwork, rng: random.Random, size: int = 1) -> None:
    """Compare both halves of a frame on one draw."""
    batch, active = draw(network.config, rng, size)
    compare_controllers(network, graphs, batch, torch.tensor([rng.random() for _ in range(size)]))
    alone = [network.estimate(batch.part(list(batch.inputs), torch.tensor([i])), layers)
             for i, layers in enumerate(active)]
    for k, (name, found) in enumerate(graphs.estimate_each(batch, active)._asdict().items()):
        assert_close(found, torch.cat([one[k] for one in alone]), name)


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("allocations", [6, pytest.param(500, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("name", CONFIGS)
def test_estimates_are_those_of_the_network(name, allocations):
    network, recorder, rng = random_network(CONFIGS[name]()), CheckingRecorder(), random.Random(5)
    graphs = GraphNetwork(network, recorder)
    recorded = recorder.recordings
    for _ in range(allocations):
        compare(network, graphs, rng)
    assert graphs.frame.waits == 2 * allocations
    assert recorder.recordings == recorded


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("name", ["like-shipped", "nested", "space"])
def test_frames_together_are_those_of_one_by_one(name):
    network, recorder, rng = random_network(CONFIGS[name]()), CheckingRecorder(), random.Random(6)
    graphs = GraphNetwork(network, recorder)
    compare(network, graphs, rng, size=3)
    recorded = recorder.recordings
    for size in (8, 2, 1, 5, 11):
        compare(network, graphs, rng, size)
    assert recorder.recordings == recorded
    batch, active = draw(network.config, rng, 3)
    torch.testing.assert_close(tuple(graphs.estimate(batch, active[0])), tuple(network.estimate(batch, active[0])),
                               rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("work", [
    lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: x + x.new_tensor([1.0, 2.0]),
], ids=["number", "mask", "nonzero", "from Python"])
def test_work_that_waits_for_the_device_is_found(work):
    with pytest.raises(AssertionError), Capturable():
        work(torch.ones(2))


@pytest.mark.slow
@torch.inference_mode()
def test_estimates_of_the_shipped_model_are_those_of_the_network():
    network, rng = load_model(SHIPPED), random.Random(7)
    graphs = GraphNetwork(network, CheckingRecorder())
    for _ in range(5):
        compare(network, graphs, rng)


@torch.inference_mode()
@pytest.mark.parametrize(("layout", "corruption", "config"), [
    ("gdtm", "lowlight", models.images), ("mmfi", "severity", lambda: models.images().model_copy(
        update={"sensor_nodes": ("1", "2", "3", "4")})), ("ave", "ave", lambda: models.build(
            {models.RGB: models.IMAGES[models.RGB], models.AUDIO: models.SPECTROGRAM},
            BackboneConfig(dim=16, depth=2, heads=2, patch=(8, 8))))], ids=["gdtm", "mmfi", "ave"])
def test_estimates_of_official_networks_are_those_of_the_network(layout, corruption, config):
    network, rng = random_official_network(config(), layout, corruption), random.Random(8)
    graphs = GraphNetwork(network, CheckingRecorder())
    for size in (1, 1, 1, 3):
        compare(network, graphs, rng, size)


@torch.inference_mode()
def test_each_number_of_present_inputs_is_recorded_once():
    network, recorder = AdmnNetwork(models.unequal_depths()).eval(), CheckingRecorder()
    GraphNetwork(network, recorder)
    nodes, modalities, layers = 2, 3, 11
    assert recorder.recordings == nodes * (3 * modalities + layers) + 2  # looks, embeddings, readouts; fixed parts


@pytest.fixture
def graphs() -> GraphNetwork:
    return GraphNetwork(random_network(models.images()), DirectRecorder())


@torch.inference_mode()
def test_an_absent_input_leaves_nothing_behind(graphs):
    batch, active = draw(graphs.config, random.Random(1), 1)
    everything = SampleBatch(batch.inputs, {m: torch.ones(1, 2, dtype=torch.bool) for m in batch.inputs})
    broken = SampleBatch({m: torch.full_like(x, math.nan) for m, x in batch.inputs.items()}, everything.present)
    first = graphs.controller(batch), graphs.estimate(batch, active[0])
    for each in (everything, broken):
        assert graphs.controller(each).e_corr.isfinite().all() == (each is everything)
        graphs.estimate(each, {m: [0] for m in each.inputs})
    torch.testing.assert_close((graphs.controller(batch).e_corr, *graphs.estimate(batch, active[0])),
                               (first[0].e_corr, *first[1]), rtol=0, atol=0)


@torch.inference_mode()
def test_some_of_the_present_inputs_run_without_another_upload(graphs):
    batch, _ = draw(graphs.config, random.Random(2), 1)
    batch = SampleBatch(batch.inputs, {m: torch.ones(1, 2, dtype=torch.bool) for m in batch.inputs})
    chosen, active = batch.at([{Modality.RGB: [1]}]), {Modality.RGB: [0, 2]}
    alone = graphs.estimate(SampleBatch(dict(batch.inputs), chosen.present), active)
    graphs.controller(batch)
    graphs.frame.upload = None  # not needed any more
    torch.testing.assert_close(graphs.estimate(chosen, active), alone, rtol=0, atol=0)


@torch.inference_mode()
def test_results_outlive_the_next_frame(graphs):
    rng = random.Random(3)
    batch, active = draw(graphs.config, rng, 1)
    found = graphs.estimate(batch, active[0])
    before = [x.clone() for x in found]
    other, active = draw(graphs.config, rng, 1)
    assert not torch.equal(graphs.estimate(other, active[0]).mean_m, found.mean_m)
    torch.testing.assert_close(list(found), before, rtol=0, atol=0)


@torch.inference_mode()
def test_half_precision_is_close():
    network, rng = random_network(models.images()), random.Random(5)
    graphs = GraphNetwork(network, DirectRecorder(), torch.bfloat16)
    batch, _ = draw(network.config, rng, 1)
    active = {m: range(d) for m, d in network.config.depths.items()}
    found, expected = graphs.estimate(batch, active), network.estimate(batch, active)
    assert not torch.equal(found.mean_m, expected.mean_m)
    torch.testing.assert_close(tuple(found), tuple(expected), rtol=0.05, atol=0.05)


def test_a_layer_that_does_not_exist_is_refused(graphs):
    batch, _ = draw(graphs.config, random.Random(1), 1)
    with pytest.raises(InputError, match=r"active layers: found \[4\]; allowed: \[0, 4\)"):
        graphs.estimate(batch, {Modality.RGB: [4]})


def test_closing_frees_the_tensors(graphs):
    tensors = graphs.frame.tensors
    held = [weakref.ref(x) for x in (tensors.seen, tensors.slots, *tensors.tokens.values(), tensors.inputs.device,
                                     tensors.inputs.host, graphs.qoi.assess, graphs.fuse)]
    del tensors
    graphs.close()
    gc.collect()
    assert not [x for x in held if x() is not None]
