# SPDX-License-Identifier: Apache-2.0
"""Phases of the training of fusion-level DynMM: random choices, then gate and network together, then hard choices."""

from __future__ import annotations

from enum import Enum

from admn_ros.config import NotNegative, Positive, Strict
from admn_ros.training.config import OptimizerConfig, Whole
from admn_ros.training.rivals.experts import FROM_SCRATCH
from admn_ros.training.stage import Step


class Phase(Enum):
    """What is trained in an epoch: the network with random choices, gate and network, or the network as chosen."""

    RANDOM = "random"
    GATE = "gate"
    HARD = "hard"


class PhasedConfig(Strict):
    """Training in phases.

    Attributes:
        optimizer: settings of the training.
        price: lambda, loss per unit of mean cost.
        random_epochs: first epochs, with random choices for each sample; only the network is trained.
        hard_epochs: last epochs, with the choices of inference; the gate is fixed.
        tau, tau_final: temperature of the gate's softmax in the epochs between; it falls exponentially.
    """

    optimizer: OptimizerConfig = FROM_SCRATCH
    price: NotNegative
    random_epochs: Whole = 2
    hard_epochs: Whole = 2
    tau: Positive = 1.0
    tau_final: Positive = 0.001

    def phase(self, step: Step) -> Phase:
        """Return the phase of an epoch."""
        if step.epoch >= step.epochs - self.hard_epochs:
            return Phase.HARD
        return Phase.RANDOM if step.epoch < self.random_epochs else Phase.GATE

    def tau_at(self, step: Step) -> float:
        """Return the temperature in an epoch in which the gate is trained."""
        turns = step.epochs - self.hard_epochs - self.random_epochs - 1
        share = (step.epoch - self.random_epochs) / turns if turns else 0.0
        return float(self.tau * (self.tau_final / self.tau) ** share)
