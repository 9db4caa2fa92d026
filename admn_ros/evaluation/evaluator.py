# SPDX-License-Identifier: Apache-2.0
"""One frame through the engine under every policy and every budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from admn_ros.baselines.named import policy_of
from admn_ros.baselines.policy import AllocationPolicy
from admn_ros.evaluation.budgets import BudgetSource
from admn_ros.evaluation.layer_meter import LayerMeter
from admn_ros.evaluation.records import FrameRows
from admn_ros.inference.engine import Engine
from admn_ros.sample import Modality, MultimodalSample
from admn_ros.sensing.corruption.corruption import CorruptionLabel


@dataclass(frozen=True)
class Variant:
    """A policy with a budget."""

    policy: str
    budget: BudgetSource

    @property
    def label(self) -> dict[str, Any]:
        """JSON that names it in the results."""
        return {"policy": self.policy, "budget": self.budget.label}


def variants_of(policies: Sequence[str], budgets: Sequence[BudgetSource]) -> list[Variant]:
    """Every policy with every budget, in this order everywhere."""
    return [Variant(policy, budget) for policy in policies for budget in budgets]


class Evaluator:
    """Runs samples and notes what they gave and spent.

    Args:
        engine: the model.
        variants: what each sample runs under.
        rate_hz: frames per second, for budgets in watts.

    Raises:
        InputError: a policy is not one of this model, or a budget is in a unit it has no costs in.
    """

    def __init__(self, engine: Engine, variants: Sequence[Variant], rate_hz: float | None = None) -> None:
        self.engine, self._rate_hz = engine, rate_hz
        for variant in variants:
            for budget in variant.budget.known:
                engine.costs.table(budget.per_frame(rate_hz).unit)
        self._meter = LayerMeter(engine.network)
        self._variants: list[tuple[BudgetSource, AllocationPolicy]] = [
            (v.budget, policy_of(v.policy, engine.config)) for v in variants]

    def run(self, rows: FrameRows, index: int, scene: str, sample: MultimodalSample,
            labels: Mapping[Modality, CorruptionLabel], now_s: float = 0.0) -> None:
        """Run one sample under every variant.

        Args:
            rows: get what comes out.
            index: number of the sample.
            scene: recording that it is of.
            sample: the frame, with its truth where that is known.
            labels: what was done to each modality.
            now_s: when, for budgets that change.

        Raises:
            InputError: as `Engine.infer`.
        """
        rows.begin(index, scene, sample, labels)
        present = self.engine.present(sample)
        with self._meter.watching():
            for number, (budget, policy) in enumerate(self._variants):
                asked = budget.at(now_s)
                estimate = self.engine.infer(sample, asked, self._rate_hz, policy)
                ran, latent = self._meter.take(), self._meter.take_latent()
                if number == 0:
                    rows.put_latent(latent)
                granted = asked.per_frame(self._rate_hz)
                table = self.engine.costs.table(granted.unit)
                spent = table.price({m: len(layers) for m, layers in ran.items()}, present)
                rows.add(estimate, ran, table.exceeds(spent, granted))
