# SPDX-License-Identifier: Apache-2.0
"""The methods of the result tables, ready to run: each with the parts it needs, trained when they are not yet."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from admn_ros.baselines.adamml import AdaMML
from admn_ros.baselines.allocations import NaiveAllocation, OnlyModality, UpperBound
from admn_ros.baselines.experts import DynMM, Mns, equal_shares, expert_config, mns_experts, scratch_config
from admn_ros.baselines.fusion_dynmm import FusionDynMM
from admn_ros.baselines.learned_baseline import FrameBill, LearnedBaseline, Routed, WholeNetwork, without_controller
from admn_ros.baselines.orders import every_other
from admn_ros.baselines.policy import AllocationPolicy
from admn_ros.baselines.static import Depths, StaticAllocation, all_depths
from admn_ros.benchmark.tables.config import ALONE, Cell, Method
from admn_ros.benchmark.tables.training import Part, Trained, Workshop, write_json
from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import Counts
from admn_ros.errors import ConfigError
from admn_ros.model.checkpoint import initialize
from admn_ros.model.costs import flop_costs, layer_costs
from admn_ros.model.flops import judge_flops, task_flops
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.presets import preset
from admn_ros.sample import SampleBatch
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import LabeledBatch
from admn_ros.training.losses import Figures
from admn_ros.training.rivals.adamml_stage import SwitchConfig, SwitchPolicy
from admn_ros.training.rivals.experts import Expert, ExpertConfig
from admn_ros.training.rivals.fusion_gate import FusionGate, FusionGateConfig
from admn_ros.training.rivals.mns_gate import Gate, GateConfig
from admn_ros.training.stages.autoencoder import Autoencoder, AutoencoderConfig
from admn_ros.training.stages.controller import Controller, ControllerConfig, Mode, allocated, shares
from admn_ros.training.stages.finetune import Finetune, FinetuneConfig
from admn_ros.training.stages.layer_sampling import Masks, Selection

Run = Callable[[LabeledBatch], Routed]
POLICIES: Mapping[Method, AllocationPolicy] = {
    "upper_bound": UpperBound(), "naive": NaiveAllocation(),
    **{method: OnlyModality(modality) for method, modality in ALONE.items()}}
CONTROLLERS: Mapping[Method, tuple[Mode, Selection]] = {
    "admn": ("supervised", "gumbel"), "admn_ae": ("autoencoder", "gumbel"), "admn_task": ("task", "gumbel"),
    "straight_through": ("supervised", "straight_through"), "progressive": ("supervised", "progressive"),
    "universal": ("universal", "gumbel"), "neuralsort": ("universal", "neuralsort")}


@dataclass(frozen=True)
class Contender:
    """A method that is ready. trained: its last training; None when it has no part of its own."""

    run: Run
    trained: Trained | None = None


class Contenders:
    """Makes the contenders of one corruption out of the parts of a workshop."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop, self.config, self.model = workshop, workshop.config, preset(workshop.config.model)
        self.device = workshop.processes.device

    def make(self, cell: Cell) -> Contender:
        """A contender; what is missing is trained.

        Raises:
            AdmnError: a training fails.
        """
        method, layers, seed = cell.method, cell.layers, cell.seed
        if method in POLICIES:
            stage1 = self.finetuned()
            return Contender(self._by_policy(stage1.stage.network, POLICIES[method], layers), stage1.trained)
        if layers is None:
            raise ConfigError("method", method, "one with a budget")
        if method in CONTROLLERS:
            return self._controlled(method, layers, seed)
        if method == "static":
            stage1 = self.finetuned()
            return Contender(self._by_policy(stage1.stage.network, self._static(), layers), stage1.trained)
        return self._rival(method, layers, seed)

    def finetuned(self, layerdrop: bool = True) -> Part[Finetune]:
        """Stage 1, or the same without LayerDrop."""
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

        return self.workshop.part(name, name, config.efforts.finetune, recipe, seed=config.seed)

    def _by_policy(self, network: AdmnNetwork, policy: AllocationPolicy, layers: int | None) -> Run:
        table = layer_costs(self.model)
        budget = Budget(math.inf if layers is None else layers, "layers")
        bill = FrameBill(self.model, gate=None)

        def run(batch: LabeledBatch) -> Routed:
            masks = {m: torch.zeros(len(batch), depth) for m, depth in self.model.depths.items()}
            nodes = {m: batch.samples.present[m].sum(dim=1).tolist() for m in masks}
            for i in range(len(batch)):
                chosen = policy({}, {}, {m: n[i] for m, n in nodes.items()}, table, budget)
                for modality, active in chosen.active.items():
                    masks[modality][i, list(active)] = 1.0
            return self._ran(network, batch, masks, bill, task_flops(self.model))

        return run

    def _controlled(self, method: Method, layers: int, seed: int) -> Contender:
        part = self._controller(method, layers, seed)
        network, model = part.stage.network, part.stage.network.config
        table = layer_costs(model)
        # The bill's gate is the way to e_corr; the heads that read it are in the rest of what every frame pays.
        bill, rest = FrameBill(model, gate=()), flop_costs(model).fixed - judge_flops(model)

        def run(batch: LabeledBatch) -> Routed:
            output = network.controller(batch.samples, shares(batch, model, layers))
            return self._ran(network, batch, allocated(output, batch, table, layers), bill, rest)

        return Contender(run, part.trained)

    def _controller(self, method: Method, layers: int, seed: int) -> Part[Controller]:
        mode, selection = CONTROLLERS[method]
        universal = mode == "universal"
        name = f"{method}-s{seed}" if universal else f"{method}-L{layers:02d}-s{seed}"
        stage1 = self.finetuned().stage.network.state_dict()
        weights = {k: v for k, v in stage1.items() if not k.startswith("qoi.")}
        perceptive = self._autoencoder().stage.network.qoi if mode == "autoencoder" else None
        qoi = self.model.qoi.model_copy(update={"budget_token": universal})

        def recipe(optimizer: OptimizerConfig, price: float) -> Controller:
            network = AdmnNetwork(self.model.model_copy(update={"qoi": qoi}))
            initialize(network, optimizer.seed)
            network.load_state_dict(weights, strict=False)
            if perceptive is not None:
                network.qoi.load_state_dict(perceptive.state_dict())
            return Controller(network, ControllerConfig(
                optimizer=optimizer, loss=self.config.loss, mode=mode, selection=selection,
                budgets=self.config.universal if universal else (layers,)))

        return self.workshop.part(name, method, self.config.efforts.controller, recipe, seed=seed)

    def _autoencoder(self) -> Part[Autoencoder]:
        def recipe(optimizer: OptimizerConfig, price: float) -> Autoencoder:
            network = AdmnNetwork(self.model)
            initialize(network, self.config.seed)
            return Autoencoder(network, AutoencoderConfig(optimizer=optimizer))

        return self.workshop.part("autoencoder", "autoencoder", self.config.efforts.autoencoder, recipe,
                                  seed=self.config.seed)

    def _rival(self, method: Method, layers: int, seed: int) -> Contender:
        budget = layers if method.endswith("_strict") else None
        rival: LearnedBaseline
        if method == "scratch":
            rival, trained = self._scratch(layers)
        elif method == "mns":
            part = self._mns(layers, seed)
            rival, trained = part.stage.rival, part.trained
        else:
            rival, trained = self._priced(method.removesuffix("_strict"), layers, seed)
        rival.to(self.device)
        return Contender(lambda batch: rival.routed(batch.samples, budget), trained)

    def _scratch(self, layers: int) -> tuple[LearnedBaseline, Trained]:
        part = self.expert(equal_shares(self.model, layers))
        whole = WholeNetwork(scratch_config(self.model, layers))
        whole.network.load_state_dict(part.stage.network.state_dict())
        return whole, part.trained

    def expert(self, layers: Counts) -> Part[Expert]:
        """A network of some layers of some modalities, trained from scratch."""
        name = "expert-" + "-".join(f"{m}{k}" for m, k in layers.items())

        def recipe(optimizer: OptimizerConfig, price: float) -> Expert:
            network = without_controller(AdmnNetwork(expert_config(self.model, layers)))
            initialize(network, self.config.seed)
            return Expert(network, ExpertConfig(optimizer=optimizer, loss=self.config.loss,
                                                modality_dropout=self.config.modality_dropout, solo=self.config.solo))

        return self.workshop.part(name, f"expert-{'-'.join(map(str, layers))}", self.config.efforts.expert, recipe,
                                  seed=self.config.seed)

    def _mns(self, layers: int, seed: int) -> Part[Gate]:
        experts = mns_experts(self.model, layers)
        weights = [self.expert(e).stage.network.state_dict() for e in experts]

        def recipe(optimizer: OptimizerConfig, price: float) -> Gate:
            rival = Mns(self.model, experts)
            initialize(rival, optimizer.seed)
            for i, known in enumerate(weights):
                rival.expert(i).load_state_dict(known)
            return Gate(rival, GateConfig(optimizer=optimizer, loss=self.config.loss))

        return self.workshop.part(f"mns-L{layers:02d}-s{seed}", "mns", self.config.efforts.gate, recipe, seed=seed)

    def _priced(self, method: str, layers: int, seed: int) -> tuple[LearnedBaseline, Trained]:
        """Rivals with a price on compute, which is searched for each budget."""
        name, family = f"{method}-L{layers:02d}-s{seed}", f"{method}-L{layers:02d}"
        efforts = self.config.efforts
        if method == "dynmm":
            part = self.workshop.part(name, family, efforts.dynmm, self._dynmm(layers), seed=seed, layers=layers)
            return part.stage.rival, part.trained
        if method == "dynmm_fusion":
            fusion = self.workshop.part(name, family, efforts.dynmm_fusion, self._fusion(layers), seed=seed,
                                        layers=layers)
            return fusion.stage.rival, fusion.trained
        switched = self.workshop.part(name, family, efforts.adamml, self._adamml(layers), seed=seed, layers=layers)
        return switched.stage.rival, switched.trained

    def _dynmm(self, layers: int) -> Callable[[OptimizerConfig, float], Gate]:
        # Beside those of MNS one expert that is over the budget: DynMM bounds the mean cost alone.
        experts = [*mns_experts(self.model, layers), dict.fromkeys(self.model.modalities, layers)]
        weights = [self.expert(e).stage.network.state_dict() for e in experts]

        def recipe(optimizer: OptimizerConfig, price: float) -> Gate:
            rival = DynMM(self.model, experts, price)
            initialize(rival, optimizer.seed)
            for i, known in enumerate(weights):
                rival.expert(i).load_state_dict(known)
            return Gate(rival, GateConfig(optimizer=optimizer, loss=self.config.loss))

        return recipe

    def _fusion(self, layers: int) -> Callable[[OptimizerConfig, float], FusionGate]:
        known = self.finetuned().stage.network.state_dict()

        def recipe(optimizer: OptimizerConfig, price: float) -> FusionGate:
            rival = FusionDynMM(self.model)
            initialize(rival, optimizer.seed)
            rival.network.load_state_dict(known, strict=False)
            return FusionGate(rival, FusionGateConfig(
                optimizer=optimizer, loss=self.config.loss, price=price, budget=layers,
                random_epochs=self.config.random_epochs, hard_epochs=self.config.hard_epochs))

        return recipe

    def _adamml(self, layers: int) -> Callable[[OptimizerConfig, float], SwitchPolicy]:
        known = self.expert(equal_shares(self.model, layers)).stage.network.state_dict()

        def recipe(optimizer: OptimizerConfig, price: float) -> SwitchPolicy:
            rival = AdaMML(scratch_config(self.model, layers))
            initialize(rival, optimizer.seed)
            rival.network.load_state_dict(known)
            return SwitchPolicy(rival, SwitchConfig(
                optimizer=optimizer, loss=self.config.loss, price=price, warm_up_epochs=self.config.random_epochs,
                finetune_epochs=self.config.hard_epochs))

        return recipe

    def _static(self) -> StaticAllocation:
        """Mean validation error of every allocation that was tried, measured once."""
        modalities, path = tuple(self.model.modalities), self.workshop.folder / "static.json"
        if path.exists():
            known: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
            return StaticAllocation(modalities, {tuple(map(int, k.split(","))): v for k, v in known.items()})
        network = self.finetuned().stage.network
        most = max(b for block in self.config.grid for b in block.budgets)
        tried = [d for d in all_depths(self.model.depths, self.config.static_step) if sum(d) <= most]
        losses: dict[Depths, float] = {}
        for depths in tried:
            plan = {m: every_other(self.model.depths[m], k) for m, k in zip(modalities, depths, strict=True) if k}
            figures = Figures()
            with torch.no_grad():
                for batch in self.workshop.splits.validation.batches(0, self.config.batch, shuffle=False):
                    there = batch.to(self.device)
                    figures.add(network.estimate(there.samples, plan), there)
            losses[depths] = figures.result()["error_m"]
            self.workshop.told("search of the static allocation", len(losses), len(tried))
        write_json(path, {",".join(map(str, d)): x for d, x in losses.items()})
        return StaticAllocation(modalities, losses)

    @staticmethod
    def _ran(network: AdmnNetwork, batch: LabeledBatch, masks: Masks, bill: FrameBill, fixed: int) -> Routed:
        samples: SampleBatch = batch.samples
        masks = {m: mask.to(batch.position_m.device) for m, mask in masks.items()}
        counts = torch.stack([mask.sum(dim=1) for mask in masks.values()], dim=1).long()
        return Routed(network.forward_train(samples, masks), *bill(samples, counts, fixed))
