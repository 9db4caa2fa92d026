# SPDX-License-Identifier: Apache-2.0
"""Contenders of an evaluation: each one estimates the same frames, and the layers that it runs are counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from torch import nn

from admn_ros.baselines.cell_oracle import CellOracle
from admn_ros.baselines.named import Policy, policy_of, shown_policy
from admn_ros.config import ModelConfig
from admn_ros.evaluation.budgets import BudgetSource
from admn_ros.evaluation.layer_meter import LayerMeter
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.records import Columns, FrameRows, Outcome
from admn_ros.evaluation.source import OnFrames, SourceFrame
from admn_ros.inference.engine import Engine

CHUNK = 512
"""Largest number of frames held in memory."""


class Contender(Protocol):
    """Method under evaluation: a policy with a budget, or a network of its own."""

    @property
    def label(self) -> Mapping[str, Any]:
        """JSON values that identify the contender in the results."""
        ...

    def run(self, frame: SourceFrame) -> Outcome:
        """Estimate one frame.

        Raises:
            InputError: as `Engine.infer`.
        """
        ...


@dataclass(frozen=True)
class PolicyContender:
    """Model whose layers are chosen by a policy within a budget.

    Frames run one by one. Batches (`Engine.infer_many`) would take about 0.6 of the engine's time, but sum in another
    order: the last bits of estimates would depend on the division into batches. Layers are counted frame by frame.

    Attributes:
        engine: model that runs.
        name: name of the policy.
        policy: allocation policy, or the oracle, which gets the injected corruption of each frame.
        budget: budget of each frame.
        rate_hz: frame rate in Hz, for budgets in watts.
    """

    engine: Engine
    name: str
    policy: Policy
    budget: BudgetSource
    rate_hz: float | None = None

    @property
    def label(self) -> Mapping[str, Any]:
        """See `Contender`."""
        return {"policy": self.name, "budget": self.budget.label}

    @cached_property
    def _meter(self) -> LayerMeter:
        runtime = self.engine.runtime
        return LayerMeter(runtime if isinstance(runtime, nn.Module) else self.engine.network)

    def run(self, frame: SourceFrame) -> Outcome:
        """See `Contender`."""
        sample, requested = frame.sample, self.budget.at(frame.now_s)
        policy = self.policy.informed(frame.damaged) if isinstance(self.policy, CellOracle) else self.policy
        with self._meter as meter:
            estimate = self.engine.infer(sample, requested, self.rate_hz, policy)
        granted = requested.per_frame(self.rate_hz)
        table = self.engine.costs.table(granted.unit)
        present = {m: len(nodes) for m, nodes in sample.present_nodes(self.engine.config.modalities).items()}
        spent = table.price({m: len(layers) for m, layers in meter.layers.items()}, present, meter.nodes)
        return Outcome(estimate, meter.layers, meter.nodes, table.exceeds(spent, granted), meter.latent)


def policy_contenders(plan: EvaluationPlan, engine: Engine, budgets: Sequence[BudgetSource]) -> list[PolicyContender]:
    """Return every policy of a plan with every budget, in the order of the records' columns.

    Raises:
        InputError: a policy does not fit the model, or the model has no costs in the unit of a budget.
    """
    for budget in budgets:
        for known in budget.known:
            engine.costs.table(known.per_frame(plan.rate_hz).unit)
    policies = {shown_policy(name): policy_of(name, engine.network) for name in plan.policies}
    return [PolicyContender(engine, name, policy, budget, plan.rate_hz)
            for name, policy in policies.items() for budget in budgets]


def run_contenders(frames: Iterable[SourceFrame], contenders: Sequence[Contender], config: ModelConfig,
                   on_frames: OnFrames) -> Iterator[Columns]:
    """Run every contender on every frame.

    Args:
        frames: frames in the order of their recordings.
        contenders: methods, in the order of the columns.
        config: model that the records describe.
        on_frames: called after each frame.

    Yields:
        Records of at most `CHUNK` frames.
    """
    rows = FrameRows(config)
    for frame in frames:
        rows.begin(frame.index, frame.scene, frame.sample, frame.corruption)
        for contender in contenders:
            rows.add(contender.run(frame))
        on_frames(1)
        if len(rows) == CHUNK:
            yield rows.take()
    if len(rows):
        yield rows.take()
