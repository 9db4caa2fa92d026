# SPDX-License-Identifier: Apache-2.0
"""Modality-level DynMM by each training strategy of its ablation (its Table 5), and its experts alone."""

from __future__ import annotations

import functools
from typing import Final, Literal

from admn_ros.baselines.experts import DynMM, expert_config
from admn_ros.baselines.learned_baseline import LearnedBaseline, WholeNetwork, without_controller
from admn_ros.benchmark.dynmm.config import DynmmConfig
from admn_ros.benchmark.tables.config import Effort
from admn_ros.benchmark.tables.training import Part, TrainingStore
from admn_ros.errors import InputError
from admn_ros.model.checkpoint import initialize, load_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.official.state_dict import some_of
from admn_ros.model.presets import preset
from admn_ros.share import find_shipped
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.rivals.experts import Expert, ExpertConfig
from admn_ros.training.rivals.mns_gate import Gate, GateConfig

Strategy = Literal["one_stage", "gate_only", "joint"]
STRATEGIES: Final[dict[Strategy, str]] = {
    "one_stage": "one stage: experts and gate together, without training of the experts before",
    "gate_only": "two stages: experts, then the gate alone",
    "joint": "two stages: experts, then gate and experts together (as published)"}


class Strategies:
    """Trains experts and gates, each once; the store keeps them."""

    def __init__(self, config: DynmmConfig, store: TrainingStore) -> None:
        self.config, self.store, self.model = config, store, preset(config.model)

    def alone(self, number: int, seed: int) -> LearnedBaseline:
        """Return one expert as a network that always runs whole.

        Raises:
            AdmnError: a training fails.
        """
        whole = WholeNetwork(expert_config(self.model, self.config.experts[number]))
        whole.network.load_state_dict(self._expert(number, seed).stage.network.state_dict())
        return whole.eval()

    def gated(self, strategy: Strategy, price: float, seed: int) -> DynMM:
        """Return DynMM with a price on compute, trained by a strategy.

        Raises:
            AdmnError: a training fails.
        """
        config, effort = self.config, self._effort(strategy)
        experts = range(len(config.experts)) if strategy != "one_stage" else ()
        weights = [self._expert(i, seed).stage.network.state_dict() for i in experts]

        def recipe(optimizer: OptimizerConfig, price: float) -> Gate:
            baseline = DynMM(self.model, config.experts, price)
            initialize(baseline, optimizer.seed)
            for i in range(len(config.experts)):
                if weights:
                    baseline.expert(i).load_state_dict(weights[i])
                else:
                    self._take_encoders(baseline.expert(i))
            return Gate(baseline, GateConfig(optimizer=optimizer, loss=config.loss, joint=strategy != "gate_only",
                                             expert_rate=config.expert_rate if strategy == "joint" else 1.0))

        name = f"{strategy}-{price:g}-s{seed}"
        part = self.store.part(name, name, effort.model_copy(update={"prices": (price,)}), recipe, seed=seed)
        found = part.stage.baseline
        assert isinstance(found, DynMM)
        return found.eval()

    def _take_encoders(self, network: AdmnNetwork) -> None:
        """Give an expert the backbones of the model `encoders`.

        Raises:
            InputError: the model has other backbones.
            ModelError: it cannot be read.
        """
        if self._encoders is None:
            return
        known = self._encoders.backbones.state_dict()
        own = network.backbones.state_dict()
        if wrong := [k for k, v in own.items() if k not in known or known[k].shape != v.shape]:
            raise InputError("encoders", f"{self.config.encoders}, without {some_of(wrong, 3)}",
                             f"a model with the backbones of {self.config.model}")
        network.backbones.load_state_dict({k: known[k] for k in own})

    @functools.cached_property
    def _encoders(self) -> AdmnNetwork | None:
        name = self.config.encoders
        return None if name is None else load_model(find_shipped(name, "models"))

    def _effort(self, strategy: Strategy) -> Effort:
        """Return the training of a gate; in one stage there are as many epochs as in two."""
        gate, expert = self.config.gate, self.config.expert
        if strategy != "one_stage":
            return gate
        return expert.model_copy(update={"epochs": expert.epochs + gate.epochs})

    def _expert(self, number: int, seed: int) -> Part[Expert]:
        layers = self.config.experts[number]

        def recipe(optimizer: OptimizerConfig, price: float) -> Expert:
            network = without_controller(AdmnNetwork(expert_config(self.model, layers)))
            initialize(network, optimizer.seed)
            self._take_encoders(network)
            return Expert(network, ExpertConfig(optimizer=optimizer, loss=self.config.loss))

        name = "expert-" + "-".join(f"{m}{k}" for m, k in layers.items()) + f"-s{seed}"
        return self.store.part(name, name, self.config.expert, recipe, seed=seed)
