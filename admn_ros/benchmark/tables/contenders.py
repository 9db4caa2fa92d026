# SPDX-License-Identifier: Apache-2.0
"""Contenders of the result tables: every method with its trained parts, ready to run in an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from admn_ros.baselines.adamml import AdaMML
from admn_ros.baselines.allocations import NaiveAllocation, OnlyModality, UpperBound
from admn_ros.baselines.experts import DynMM, Mns, equal_shares, expert_config, mns_experts, scratch_config
from admn_ros.baselines.fusion_dynmm import FusionDynMM
from admn_ros.baselines.learned_baseline import LearnedBaseline, WholeNetwork, without_controller
from admn_ros.baselines.orders import every_other
from admn_ros.baselines.policy import AllocationPolicy
from admn_ros.baselines.static import Depths, StaticAllocation, some_depths
from admn_ros.benchmark.tables.baseline_contender import BaselineContender
from admn_ros.benchmark.tables.config import ALONE, STATIC_STEP, UNEQUAL, Cell, Method, TablesConfig
from admn_ros.benchmark.tables.training import Part, Recipe, TrainingCost, TrainingStore
from admn_ros.budget.costs import Counts, LayerCosts
from admn_ros.config import ModelConfig, Objective
from admn_ros.errors import ConfigError
from admn_ros.evaluation.budgets import ConstantBudget
from admn_ros.evaluation.contenders import Contender, PolicyContender
from admn_ros.files import read_json, write_json
from admn_ros.inference.engine import Engine
from admn_ros.model.allocation import allocate
from admn_ros.model.checkpoint import initialize
from admn_ros.model.costs import flop_costs
from admn_ros.model.flops import task_flops
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.presets import preset
from admn_ros.model.value.allocation import allocate_by_value
from admn_ros.sample import Modality
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.rivals.adamml_stage import AdaMMLConfig, AdaMMLStage
from admn_ros.training.rivals.experts import Expert, ExpertConfig
from admn_ros.training.rivals.fusion_gate import FusionGate, FusionGateConfig
from admn_ros.training.rivals.mns_gate import Gate, GateConfig
from admn_ros.training.scores import SplitScores
from admn_ros.training.stages.autoencoder import Autoencoder, AutoencoderConfig
from admn_ros.training.stages.controller import Controller, ControllerConfig, Mode
from admn_ros.training.stages.finetune import Finetune, FinetuneConfig
from admn_ros.training.stages.layer_sampling import Selection
from admn_ros.training.stages.value import Value, ValueConfig

POLICY_METHODS: Mapping[Method, AllocationPolicy] = {
    "upper_bound": UpperBound(), "naive": NaiveAllocation(),
    **{method: OnlyModality(modality) for method, modality in ALONE.items()}}
CONTROLLERS: Mapping[Method, tuple[Mode, Selection]] = {
    "admn": ("supervised", "gumbel"), "admn_ae": ("autoencoder", "gumbel"), "admn_task": ("task", "gumbel"),
    "straight_through": ("supervised", "straight_through"), "progressive": ("supervised", "progressive"),
    "universal": ("universal", "gumbel"), "neuralsort": ("universal", "neuralsort")}


@dataclass(frozen=True)
class Entry:
    """A method that is ready to run.

    Attributes:
        contenders: contenders of the evaluation; more than one for layer removal.
        model: model that the records describe.
        table: costs in operations; None if the contender counts them itself.
        training: last training of the method; None if it has no part of its own.
    """

    contenders: Sequence[Contender]
    model: ModelConfig
    table: LayerCosts | None
    training: TrainingCost | None = None


class Contenders:
    """Makes the contenders of one corruption from the parts of a store.

    Args:
        config: configuration of the tables.
        store: store with the same configuration.
    """

    def __init__(self, config: TablesConfig, store: TrainingStore) -> None:
        self.store, self.config, self.model = store, config, preset(config.model)
        self.device = store.processes.device

    def make(self, cell: Cell) -> Entry:
        """Return the contender of a cell; missing parts are trained.

        Raises:
            AdmnError: a training fails.
        """
        method, layers, seed = cell.method, cell.layers, cell.seed
        if UNEQUAL.get(method, method) in POLICY_METHODS:
            return self._by_policy(method, POLICY_METHODS[UNEQUAL.get(method, method)], layers)
        if method in ("removal_layerdrop", "removal_plain"):
            return self._removal(method)
        if layers is None:
            raise ConfigError("method", method, "one with a budget")
        if method == "value":
            valued = self._value(seed)
            return self._entry(valued.stage.network, method, allocate_by_value, layers, valued.cost,
                               flop_costs(valued.stage.network.config))
        if UNEQUAL.get(method, method) in CONTROLLERS:
            part = self._controller(method, layers, seed)
            return self._entry(part.stage.network, method, allocate, layers, part.cost, self._flops)
        if method == "static":
            return self._by_policy(method, self._static(), layers)
        return self._baseline(method, layers, seed)

    @property
    def _flops(self) -> LayerCosts:
        return flop_costs(self.model)

    @property
    def _flops_without_controller(self) -> LayerCosts:
        table = self._flops
        return replace(table, fixed=task_flops(self.model), modalities={
            m: replace(costs, controller=(0,) * costs.nodes) for m, costs in table.modalities.items()})

    def _by_policy(self, method: Method, policy: AllocationPolicy, layers: int | None) -> Entry:
        stage1 = self.finetuned()
        return self._entry(stage1.stage.network, method, policy, layers, stage1.cost, self._flops_without_controller)

    def _entry(self, network: AdmnNetwork, method: Method, policy: AllocationPolicy, layers: int | None,
               training: TrainingCost, table: LayerCosts) -> Entry:
        network.config = network.config.model_copy(update={"layer_costs": self._prices(method)})
        engine = Engine.of(network)
        if self.config.task == "classification":
            engine.objective = Objective(position=0.0)
        contender = PolicyContender(engine, method, policy, ConstantBudget(layers, "layers"))
        return Entry([contender], network.config, table, training)

    def _prices(self, method: Method) -> dict[Modality, int]:
        return dict(self.config.unequal if method in UNEQUAL else self.model.layer_costs)

    def _removal(self, method: Method) -> Entry:
        """Remove layers of one modality, or of each, in the every-other order (Section A.4)."""
        stage1 = self.finetuned(layerdrop=method == "removal_layerdrop")
        engine, modalities = Engine.of(stage1.stage.network), tuple(self.model.modalities)
        contenders = [
            PolicyContender(engine, name, StaticAllocation(modalities, {kept: 0.0}), ConstantBudget(None, "layers"))
            for name, kept in removed_layers(self.model).items()]
        return Entry(contenders, self.model, self._flops_without_controller, stage1.cost)

    def finetuned(self, layerdrop: bool = True) -> Part[Finetune]:
        """Return stage 1, with or without LayerDrop."""
        config, name = self.config, "finetune" if layerdrop else "finetune-plain"

        def recipe(optimizer: OptimizerConfig, price: float) -> Finetune:
            network = AdmnNetwork(self.model)
            initialize(network, config.seed)
            return Finetune(network, FinetuneConfig(
                optimizer=optimizer, loss=config.loss, layerdrop=config.layerdrop if layerdrop else 0.0,
                ramp_epochs=config.ramp_epochs,
                full_backbone_dropout=config.full_backbone_dropout if layerdrop else 0.0,
                modality_dropout=config.modality_dropout, solo=config.solo,
                budgets=(min(config.universal),) if layerdrop else ()))

        return self.store.part(name, name, config.efforts.finetune, recipe, seed=config.seed)

    def _controller(self, method: Method, layers: int, seed: int) -> Part[Controller]:
        mode, selection = CONTROLLERS[UNEQUAL.get(method, method)]
        universal = mode == "universal"
        name = f"{method}-s{seed}" if universal else f"{method}-L{layers:02d}-s{seed}"
        stage1 = self.finetuned().stage.network.state_dict()
        weights = {k: v for k, v in stage1.items() if not k.startswith("qoi.")}
        perceptive = self._autoencoder().stage.network.qoi if mode == "autoencoder" else None
        qoi = self.model.qoi.model_copy(update={"budget_token": universal})
        model = self.model.model_copy(update={"qoi": qoi, "layer_costs": self._prices(method)})

        def recipe(optimizer: OptimizerConfig, price: float) -> Controller:
            network = AdmnNetwork(model)
            initialize(network, optimizer.seed)
            network.load_state_dict(weights, strict=False)
            if perceptive is not None:
                network.qoi.load_state_dict(perceptive.state_dict())
            return Controller(network, ControllerConfig(
                optimizer=optimizer, loss=self.config.loss, mode=mode, selection=selection,
                budgets=self.config.universal if universal else (layers,)))

        return self.store.part(name, method, self.config.efforts.controller, recipe, seed=seed)

    def _value(self, seed: int) -> Part[Value]:
        """Return the prediction of each input's value, on the universal controller of the same seed."""
        known = self._controller("universal", max(self.config.universal), seed).stage.network
        weights = known.state_dict()

        def recipe(optimizer: OptimizerConfig, price: float) -> Value:
            network = AdmnNetwork(known.config)
            network.load_state_dict(weights)
            return Value(network, ValueConfig(optimizer=optimizer, budgets=self.config.universal))

        return self.store.part(f"value-s{seed}", "value", self.config.efforts.value, recipe, seed=seed)

    def _autoencoder(self) -> Part[Autoencoder]:
        def recipe(optimizer: OptimizerConfig, price: float) -> Autoencoder:
            network = AdmnNetwork(self.model)
            initialize(network, self.config.seed)
            return Autoencoder(network, AutoencoderConfig(optimizer=optimizer))

        return self.store.part("autoencoder", "autoencoder", self.config.efforts.autoencoder, recipe,
                               seed=self.config.seed)

    def _baseline(self, method: Method, layers: int, seed: int) -> Entry:
        baseline, training = self._trained_baseline(method.removesuffix("_strict"), layers, seed)
        contender = BaselineContender(baseline.to(self.device).eval(), method, ConstantBudget(layers, "layers"),
                                      layers if method.endswith("_strict") else None)
        return Entry([contender], contender.model, None, training)

    def _trained_baseline(self, method: str, layers: int, seed: int) -> tuple[LearnedBaseline, TrainingCost]:
        name, family = f"{method}-L{layers:02d}-s{seed}", f"{method}-L{layers:02d}"
        efforts, store = self.config.efforts, self.store
        part: Part[Gate] | Part[FusionGate] | Part[AdaMMLStage]
        if method == "scratch":
            return self._scratch(layers)
        experts = mns_experts(self.model, layers)
        if method == "mns":
            recipe = self._gated(experts, lambda price: Mns(self.model, experts))
            part = store.part(name, method, efforts.gate, recipe, seed=seed)
        elif method == "dynmm":
            # One expert above the budget: DynMM bounds only the mean cost.
            experts.append(dict.fromkeys(self.model.modalities, layers))
            recipe = self._gated(experts, lambda price: DynMM(self.model, experts, price))
            part = store.part(name, family, efforts.dynmm, recipe, seed=seed, layers=layers)
        elif method == "dynmm_fusion":
            part = store.part(name, family, efforts.dynmm_fusion, self._fusion(layers), seed=seed, layers=layers)
        else:
            part = store.part(name, family, efforts.adamml, self._adamml(layers), seed=seed, layers=layers)
        return part.stage.baseline, part.cost

    def _scratch(self, layers: int) -> tuple[LearnedBaseline, TrainingCost]:
        part = self.expert(equal_shares(self.model, layers))
        whole = WholeNetwork(scratch_config(self.model, layers))
        whole.network.load_state_dict(part.stage.network.state_dict())
        return whole, part.cost

    def expert(self, layers: Counts) -> Part[Expert]:
        """Return a network with some layers of some modalities, trained from scratch."""
        name = "expert-" + "-".join(f"{m}{k}" for m, k in layers.items())

        def recipe(optimizer: OptimizerConfig, price: float) -> Expert:
            network = without_controller(AdmnNetwork(expert_config(self.model, layers)))
            initialize(network, self.config.seed)
            return Expert(network, ExpertConfig(optimizer=optimizer, loss=self.config.loss,
                                                modality_dropout=self.config.modality_dropout, solo=self.config.solo))

        return self.store.part(name, f"expert-{'-'.join(map(str, layers))}", self.config.efforts.expert, recipe,
                               seed=self.config.seed)

    def _gated(self, experts: Sequence[Counts], make: Callable[[float], Mns | DynMM]) -> Recipe[Gate]:
        """Return the recipe of a gate over trained experts; `make` gets the price on compute."""
        weights = [self.expert(e).stage.network.state_dict() for e in experts]

        def recipe(optimizer: OptimizerConfig, price: float) -> Gate:
            baseline = make(price)
            initialize(baseline, optimizer.seed)
            for i, known in enumerate(weights):
                baseline.expert(i).load_state_dict(known)
            return Gate(baseline, GateConfig(optimizer=optimizer, loss=self.config.loss))

        return recipe

    def _fusion(self, layers: int) -> Recipe[FusionGate]:
        known = self.finetuned().stage.network.state_dict()

        def recipe(optimizer: OptimizerConfig, price: float) -> FusionGate:
            # Below the depth of the main modality its own layers are the gate's choice too.
            baseline = FusionDynMM(self.model, whole=layers >= self.model.depths[Modality.RGB])
            initialize(baseline, optimizer.seed)
            baseline.network.load_state_dict(known, strict=False)
            return FusionGate(baseline, FusionGateConfig(
                optimizer=optimizer, loss=self.config.loss, price=price, budget=layers,
                random_epochs=self.config.random_epochs, hard_epochs=self.config.hard_epochs))

        return recipe

    def _adamml(self, layers: int) -> Recipe[AdaMMLStage]:
        known = self.expert(equal_shares(self.model, layers)).stage.network.state_dict()

        def recipe(optimizer: OptimizerConfig, price: float) -> AdaMMLStage:
            baseline = AdaMML(scratch_config(self.model, layers))
            initialize(baseline, optimizer.seed)
            baseline.network.load_state_dict(known)
            return AdaMMLStage(baseline, AdaMMLConfig(
                optimizer=optimizer, loss=self.config.loss, price=price, warm_up_epochs=self.config.random_epochs,
                finetune_epochs=self.config.hard_epochs))

        return recipe

    def _static(self) -> StaticAllocation:
        """Return the static allocation of least validation error; the errors are measured once."""
        modalities, path = tuple(self.model.modalities), self.store.folder / "static.json"
        if path.exists():
            known: dict[str, float] = read_json(path)
            return StaticAllocation(modalities, {tuple(map(int, k.split(","))): v for k, v in known.items()})
        network = self.finetuned().stage.network
        most = max(b for block in self.config.grid for b in block.budgets)
        steps = range(STATIC_STEP, max(self.model.depths.values()), STATIC_STEP)
        tried = [d for d in some_depths(self.model.depths, steps) if sum(d) <= most]
        losses: dict[Depths, float] = {}
        for depths in tried:
            plan = {m: every_other(self.model.depths[m], k) for m, k in zip(modalities, depths, strict=True) if k}
            scores = SplitScores()
            with torch.no_grad():
                for batch in self.store.splits.validation.batches(0, self.config.batch, shuffle=False):
                    moved = batch.to(self.device)
                    scores.add(network.estimate(moved.samples, plan), moved)
            found = scores.result()
            losses[depths] = 1 - found["accuracy"] if self.config.task == "classification" else found["error_m"]
            self.store.on_step("search of the static allocation", len(losses), len(tried))
        write_json(path, {",".join(map(str, d)): x for d, x in losses.items()})
        return StaticAllocation(modalities, losses)


def removed_layers(model: ModelConfig) -> dict[str, Depths]:
    """Return the layers that each modality keeps, by `GROUP-REMOVED`; the group "all" has every modality."""
    depths = model.depths
    groups = {**{str(m): (m,) for m in depths}, "all": tuple(depths)}
    return {f"{name}-{removed}": tuple(d - removed if m in part else d for m, d in depths.items())
            for name, part in groups.items() for removed in range(min(depths[m] for m in part))}
