# SPDX-License-Identifier: Apache-2.0
"""Runs the DynMM experiments. Trained networks are kept, so a run can be interrupted and resumed at any time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from admn_ros.baselines.experts import DynMM
from admn_ros.baselines.learned_baseline import LearnedBaseline
from admn_ros.benchmark.dynmm.config import DynmmConfig
from admn_ros.benchmark.dynmm.measure import Measured, measure
from admn_ros.benchmark.dynmm.results import FILE, DynmmResults, Trial
from admn_ros.benchmark.dynmm.strategies import STRATEGIES, Strategies, Strategy
from admn_ros.benchmark.dynmm.study import continued, record
from admn_ros.benchmark.tables.data import CorruptedSplits
from admn_ros.benchmark.tables.training import OnStep, TrainingStore
from admn_ros.model.presets import preset
from admn_ros.scoring.metrics import CM_PER_M
from admn_ros.training.processes import Processes


@dataclass(frozen=True)
class Networks:
    """Networks of a configuration, trained on first use, and what they are tested on.

    Attributes:
        config: configuration.
        splits: samples.
        strategies: trains the networks.
        device: device.
    """

    config: DynmmConfig
    splits: CorruptedSplits
    strategies: Strategies
    device: torch.device

    @classmethod
    def open(cls, config: DynmmConfig, data: Path, work: Path, *, device: torch.device | None = None,
             on_step: OnStep = lambda what, at, of: None) -> Networks:
        """Open the samples.

        Args:
            config: configuration.
            data: folder of the dataset.
            work: folder of trained networks and preprocessed samples; can be deleted.
            device: device; None is the CPU.
            on_step: callback for the progress.

        Raises:
            InputError: the dataset cannot be read.
        """
        processes = Processes(device=device or torch.device("cpu"))
        folder = work / config.fingerprint
        splits = CorruptedSplits(config, config.corruption, data, folder / "data")
        store = TrainingStore(config, splits, folder, processes, on_step)
        return cls(config, splits, Strategies(config, store), processes.device)

    def measured(self, network: LearnedBaseline) -> Measured:
        """Run a network on the test split."""
        return measure(network.to(self.device), self.splits, self.device)

    @property
    def constant_cm(self) -> float:
        """Mean error of the mean training position on the test split."""
        targets = (self.splits.test.sample(0, i).target for i in range(len(self.splits.test)))
        truth = torch.tensor([t.position_m[:2] for t in targets if t is not None], dtype=torch.float64)
        truth = truth[truth.isfinite().all(dim=1)]
        return round(CM_PER_M * float((truth - self.splits.constant_m).norm(dim=1).mean()), 2)


def run_sweep(networks: Networks, out: Path, command: str = "") -> DynmmResults:
    """Train a gate for each price, jointly with its experts, and write the results after each.

    Raises:
        AdmnError: a training fails, or a folder cannot be used.
    """
    seed = networks.config.seeds[0]
    results = _begun(networks, out, command)
    trials = (_gated(networks, "joint", price, seed) for price in networks.config.prices)
    return record(chain(_alone(networks, seed), trials), results, out / FILE)


def run_ablation(networks: Networks, out: Path, command: str = "") -> DynmmResults:
    """Train by each strategy with each seed, at one price, beside each expert alone; write the results after each.

    Raises:
        AdmnError: a training fails, or a folder cannot be used.
    """
    results = _begun(networks, out, command)
    for seed in networks.config.seeds:
        trials = (_gated(networks, strategy, networks.config.price, seed) for strategy in reversed(STRATEGIES))
        results = record(chain(_alone(networks, seed), trials), results, out / FILE)
    return results


def _begun(networks: Networks, out: Path, command: str) -> DynmmResults:
    """Return the results of this configuration in a folder, or new ones."""
    config = networks.config
    model = preset(config.model)
    costs = DynMM(model, config.experts, 0.0).costs
    new = DynmmResults(
        config=config.fingerprint, command=command, notes=config.notes, model=config.model,
        corruption=config.corruption, samples=(config.train.samples, config.test.samples), experts=config.names,
        encoders=config.encoders, costs=tuple(round(c / costs[0], 3) for c in costs), price=config.price,
        constant_cm=networks.constant_cm)
    return continued(new, out / FILE)


def _alone(networks: Networks, seed: int) -> Iterator[Trial]:
    for number, name in enumerate(networks.config.names):
        found = networks.measured(networks.strategies.alone(number, seed))
        yield _trial(networks, found, seed, kind="expert", expert=name, choice=number)


def _gated(networks: Networks, strategy: Strategy, price: float, seed: int) -> Trial:
    found = networks.measured(networks.strategies.gated(strategy, price, seed))
    return _trial(networks, found, seed, kind=strategy, price=price)


def _trial(networks: Networks, found: Measured, seed: int, *, kind: Strategy | str, expert: str | None = None,
           price: float | None = None, choice: int | None = None) -> Trial:
    config = networks.config
    costs = np.array(DynMM(preset(config.model), config.experts, 0.0).costs)
    gated = choice is None
    spent = costs[found.choice].mean() if gated else costs[choice]
    interval = found.interval_cm(config.seed)
    count = len(config.experts)
    return Trial.model_validate({
        "kind": kind, "expert": expert, "price": price, "seed": seed, "error_cm": round(found.mean_cm, 2),
        "interval_cm": interval and tuple(round(x, 2) for x in interval),
        "error_by_damage_cm": found.errors_by_damage_cm(),
        "accuracy": round(float(found.right.mean()), 4), "gflops": round(float(found.gflops.mean()), 6),
        "cost": round(float(spent / costs[0]), 3), "shares": found.shares(count) if gated else (),
        "shares_by_damage": {d: found.shares(count, d) for d in sorted(set(found.damage))} if gated else {}})
