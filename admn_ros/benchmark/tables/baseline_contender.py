# SPDX-License-Identifier: Apache-2.0
"""A learned baseline as a contender of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from admn_ros.baselines.experts import expert_config
from admn_ros.baselines.learned_baseline import LearnedBaseline
from admn_ros.budget.budget import Budget
from admn_ros.config import ModelConfig
from admn_ros.evaluation.budgets import ConstantBudget
from admn_ros.evaluation.layer_meter import LayerMeter
from admn_ros.evaluation.records import Outcome
from admn_ros.evaluation.source import SourceFrame
from admn_ros.inference.engine import make_estimate
from admn_ros.model.allocation import Allocation, Reason
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.sample import SampleBatch


@dataclass(frozen=True)
class BaselineContender:
    """A baseline with networks of its own. See `admn_ros.evaluation.contenders.Contender`.

    Attributes:
        baseline: trained baseline.
        name: name of the method.
        budget: budget in layers that violations are counted against.
        max_layers: most layers of each frame; None is the method as published.
    """

    baseline: LearnedBaseline
    name: str
    budget: ConstantBudget
    max_layers: int | None

    @property
    def model(self) -> ModelConfig:
        """Model with the largest depth that any network of the baseline has for each modality."""
        networks = [part.config.depths for part in self.baseline.modules() if isinstance(part, AdmnNetwork)]
        return expert_config(self.baseline.config, {
            m: max(depths.get(m, 0) for depths in networks) for m in self.baseline.config.modalities})

    @property
    def label(self) -> Mapping[str, Any]:
        """See `Contender`."""
        return {"policy": self.name, "budget": self.budget.label}

    @cached_property
    def _meter(self) -> LayerMeter:
        return LayerMeter(self.baseline)

    def run(self, frame: SourceFrame) -> Outcome:
        """See `Contender`."""
        config, sample, budget = self.baseline.config, frame.sample, self.budget.at(frame.now_s)
        batch = SampleBatch.stack([sample]).to(next(self.baseline.parameters()).device)
        with torch.inference_mode(), self._meter as meter:
            routed = self.baseline.routed(batch, self.max_layers)
        counts = dict(zip(config.modalities, routed.counts[0].tolist(), strict=True))
        output = NetworkOutput(*(x[0].double().cpu() for x in routed.estimate)) if any(counts.values()) else None
        estimate = make_estimate(config, sample.stamp_ns, _allocation(counts, budget),
                                 dict.fromkeys(config.modalities, math.nan), output)
        ran = sum(map(len, meter.layers.values()))
        return Outcome(estimate, meter.layers, meter.nodes, ran > budget.limit, gflops=float(routed.gflops[0]))


def _allocation(counts: Mapping[Any, int], budget: Budget) -> Allocation:
    total = sum(counts.values())
    return Allocation({m: tuple(range(k)) for m, k in counts.items()}, {m: float(k) for m, k in counts.items()},
                      float(total), budget, float(budget.limit), "layers",
                      Reason.ALLOCATED if total else Reason.NO_INPUT, "Chosen by the method itself.")
