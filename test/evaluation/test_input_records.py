# SPDX-License-Identifier: Apache-2.0
"""Records of what was decided about each input."""

import numpy as np
import pytest
import torch

from admn_ros.baselines.allocations import NaiveAllocation
from admn_ros.evaluation.budgets import ConstantBudget
from admn_ros.evaluation.contenders import PolicyContender, run_contenders
from admn_ros.evaluation.records import FrameRows, layer_counts
from admn_ros.evaluation.source import SourceFrame
from admn_ros.inference.engine import Engine
from admn_ros.model.allocation import Why
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.value.allocation import allocate_by_value
from admn_ros.sample import MultimodalSample, SampleBatch
from helpers import models


@pytest.fixture(scope="module")
def engine():
    config = models.four_modalities()
    config = config.model_copy(update={"qoi": config.qoi.model_copy(update={"value_hidden": 8})})
    network = AdmnNetwork(config)
    initialize(network, 4)
    return Engine.of(network)


def frames(config, count=6):
    generator = torch.Generator().manual_seed(1)
    for index in range(count):
        present = {m: torch.tensor([True, index % 2 == 0]) for m in config.modalities}
        inputs = {m: torch.randn(2, *c.input.shape, generator=generator) * present[m][:, None, None, None]
                  for m, c in config.modalities.items()}
        yield SourceFrame(index, "room", MultimodalSample(inputs, present), {}, 0.0)


def test_records_say_which_sensor_nodes_ran_at_what_cost_and_why(engine):
    table, config = engine.costs.table("gflops"), engine.config
    everywhere = dict.fromkeys(config.modalities, 2)
    low, high = table.amount(table.base(everywhere)), table.amount(table.total(everywhere))
    limits = [low + share * (high - low) for share in (0.05, 0.2, 0.5)] + [None]
    contenders = [PolicyContender(engine, name, policy, ConstantBudget(limit, "gflops"))
                  for name, policy in (("value", allocate_by_value), ("naive", NaiveAllocation())) for limit in limits]
    columns, = run_contenders(frames(config), contenders, config, lambda _: None)
    assert not columns["violation"].any() and not columns["unlike"].any()
    assert columns["used"].shape == (6, 8, 4)
    why, value, cost, ran = (columns[name].reshape(6, 8, 4, 2) for name in ("why", "value", "input_cost", "ran"))
    assert (ran == (why == Why.RAN.encode())).all()
    assert (ran.sum(axis=3) == columns["used"]).all()
    assert {1, 2} <= set(columns["used"][::2, :4].ravel().tolist())       # one of two sensor nodes, and both
    absent = np.broadcast_to(np.arange(6)[:, None, None] % 2 == 1, (6, 8, 4))
    assert ((why[..., 1] == Why.NO_READING.encode()) == absent).all()
    assert (np.isnan(value[:, :4]) == (why[:, :4] == Why.NO_READING.encode())).all()
    assert np.isnan(value[:, 4:]).all()
    layers = np.stack([part.sum(axis=2) for part in np.split(
        columns["active"], np.cumsum(list(config.depths.values()))[:-1], axis=2)], axis=2)
    for v in range(8):
        spent = table.prices(layers[:, v], columns["nodes"], columns["used"][:, v]) * table.amount(1)
        np.testing.assert_allclose(spent, columns["spent"][:, v])
        looks = table.prices(layers[:, v], columns["nodes"], 0 * columns["used"][:, v])
        shares = np.where(ran[:, v], cost[:, v], 0.0).sum(axis=(1, 2))
        np.testing.assert_allclose(shares + looks * table.amount(1), columns["spent"][:, v], rtol=1e-5)


def test_sensor_nodes_that_run_unasked_are_a_violation(engine, monkeypatch):
    table, config = engine.costs.table("gflops"), engine.config
    one = min(c.backbone(1, 1) for c in table.modalities.values())
    budget = table.amount(table.base(dict.fromkeys(config.modalities, 2)) + one)
    contender = PolicyContender(engine, "value", allocate_by_value, ConstantBudget(budget, "gflops"))
    frame = next(iter(frames(config)))
    honest = contender.run(frame)
    assert sorted(honest.nodes.values()) == [0, 0, 0, 1] and not honest.violation
    monkeypatch.setattr(SampleBatch, "at", lambda batch, nodes: batch)
    careless = contender.run(frame)
    assert sorted(careless.nodes.values()) == [0, 0, 0, 2] and careless.violation
    rows = FrameRows(config)
    for outcome in (honest, careless):
        rows.begin(0, "room", frame.sample, {})
        rows.add(outcome)
    assert rows.take()["unlike"].tolist() == [[False], [True]]


def test_layers_are_counted_by_modality():
    active = np.array([[True, False, True, False, True, True], [False] * 6])
    assert layer_counts(active, (1, 3, 2)).tolist() == [[1, 1, 2], [0, 0, 0]]
    assert layer_counts(active[0], iter((4, 2))).tolist() == [2, 2]
