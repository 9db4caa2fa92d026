# SPDX-License-Identifier: Apache-2.0
"""Network: adaptive backbones, fusion, heads and controller (paper Figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from admn_ros.budget.costs import LayerCosts
from admn_ros.config import CalibrationConfig, ModelConfig
from admn_ros.errors import ConfigError, InputError
from admn_ros.model.calibration import Calibration
from admn_ros.model.costs import flop_costs
from admn_ros.model.evidence import Evidence, EvidenceHead
from admn_ros.model.fusion import Adapter, Fusion
from admn_ros.model.heads import ClassificationHead, LocalizationHead
from admn_ros.model.present_nodes import present_rows, to_slots
from admn_ros.model.qoi import ControllerOutput, QoiEncoder
from admn_ros.model.vit import AdaptiveViT
from admn_ros.sample import Modality, SampleBatch


class NetworkOutput(NamedTuple):
    """Estimates of a batch.

    Attributes:
        mean_m: (B, D) position in metres.
        scale_tril_m: (B, D, D) Cholesky factor of its covariance.
        class_logits: (B, K) logits of the classes.
    """

    mean_m: Tensor
    scale_tril_m: Tensor
    class_logits: Tensor


Run = Callable[[AdaptiveViT, Tensor, Tensor], Tensor]
"""Runs a backbone on rows (R, C, H, W) with their indices (R,) in (B * N), to (R, dim)."""


class AdmnNetwork(nn.Module):
    """Adaptive multimodal network. All sensor nodes of a modality share weights."""

    poses: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.nodes = len(config.sensor_nodes)
        parts, fusion_dim = config.modalities.items(), config.fusion.dim
        self.backbones = nn.ModuleDict({str(m): AdaptiveViT(c.input.shape, c.backbone) for m, c in parts})
        self.adapters = nn.ModuleDict({str(m): Adapter(c.backbone.dim, c.adapter_hidden, fusion_dim)
                                       for m, c in parts})
        self.fusion = Fusion(len(config.modalities) * self.nodes, config.fusion)
        evidence = config.localization.kind == "evidence"
        self.localization = (EvidenceHead if evidence else LocalizationHead)(fusion_dim, config.localization)
        poses = [config.node_poses[name].numbers for name in config.sensor_nodes] if evidence else []
        self.register_buffer("poses", torch.tensor(poses), persistent=False)
        self.classification = ClassificationHead(fusion_dim, len(config.classes))
        self.qoi = QoiEncoder(config)
        self.calibration: Calibration | None = None
        self.calibrate(config.calibration)

    def backbone(self, modality: Modality) -> AdaptiveViT:
        """Return the backbone of a modality."""
        return cast(AdaptiveViT, self.backbones[str(modality)])

    def calibrate(self, config: CalibrationConfig) -> None:
        """Replace the calibration by a new one, which changes nothing until it is trained, or by none.

        Raises:
            ConfigError: the localization of the model is not of kind evidence.
        """
        if config.hidden and self.config.localization.kind != "evidence":
            raise ConfigError("calibration.hidden", config.hidden,
                              f"0 with localization of kind {self.config.localization.kind}")
        self.config = self.config.model_copy(update={"calibration": config})
        self.calibration = Calibration(self.config).to(self.poses.device) if config.hidden else None

    def flop_costs(self) -> LayerCosts:
        """Return the floating-point operations of each part."""
        return flop_costs(self.config)

    def controller(self, batch: SampleBatch, budget: Tensor | None = None) -> ControllerOutput:
        """Estimate the quality of the inputs and score the layers (paper Section 3.4.1).

        Args:
            batch: inputs (B, N, C, H, W) per modality.
            budget: budgets (B,) as shares of the full cost (`admn_ros.model.qoi.budget_share`), used by controllers
                with a budget token; None for the full cost.
        """
        output: ControllerOutput = self.qoi(batch, budget)
        return output

    def explain(self, batch: SampleBatch, active: Mapping[Modality, Sequence[int]]) -> tuple[NetworkOutput, Evidence]:
        """Return the output of `estimate`, and the evidence of each slot as `fuse` orders them.

        Raises:
            InputError: the model's localization is not of kind evidence.
        """
        output, evidence = self.fuse(*self._embed(batch, self._whole(active), {}), batch.poses)
        if evidence is None:
            raise InputError("localization.kind", self.config.localization.kind, "evidence")
        return output, evidence

    def estimate(self, batch: SampleBatch, active: Mapping[Modality, Sequence[int]]) -> NetworkOutput:
        """Run exactly the listed layers, the same for every sample of the batch.

        The present sensor nodes of a modality run as one batch; absent ones are not computed. A modality without
        layers does not run, and has no token in the fusion.

        Args:
            batch: inputs (B, N, C, H, W) per modality.
            active: layer indices per modality; modalities that are not named have none.
        """
        return self.fuse(*self._embed(batch, self._whole(active), {}), batch.poses)[0]

    def forward_train(self, batch: SampleBatch, masks: Mapping[Modality, Tensor]) -> NetworkOutput:
        """Run a different choice of layers for each sample, differentiable in the masks (paper Section 3.4.3).

        The output is that of `estimate` for each sample alone, but every layer that any sample uses, or that needs a
        gradient, is computed for all samples.

        Args:
            batch: inputs (B, N, C, H, W) per modality.
            masks: (B, depth) per modality, 1 for active and 0 for dropped layers; modalities that are not named do not
                run. A sample without layers of a modality has no token of it.
        """
        return self.fuse(*self.embed(batch, masks), batch.poses)[0]

    def embed(self, batch: SampleBatch, masks: Mapping[Modality, Tensor]) -> tuple[Tensor, Tensor]:
        """Return what `fuse` takes: tokens (B, slots, fusion dim), and which of them are present (B, slots).

        Arguments as `forward_train`.
        """
        used = {m: mask.detach().any(dim=1, keepdim=True) for m, mask in masks.items()}

        def run(modality: Modality) -> Run | None:
            if modality not in masks:
                return None
            mask = masks[modality]
            return lambda vit, rows, index: vit.forward_masked(rows, mask[index // self.nodes])

        return self._embed(batch, run, used)

    def fuse(self, tokens: Tensor, present: Tensor,
             poses: Tensor | None = None) -> tuple[NetworkOutput, Evidence | None]:
        """Fuse the tokens of all slots and run the heads: everything behind the adapters.

        Args:
            tokens: (B, slots, fusion dim); slots are modalities in order, each with all sensor nodes.
            present: (B, slots) bool; other tokens have no influence.
            poses: (B, N, 5) of the sensor nodes; None takes the model's own.

        Returns:
            Estimates, and the evidence of each slot if the model's localization is of kind evidence.
        """
        output, evidence = self.fuse_uncalibrated(tokens, present, poses)
        if self.calibration is None or evidence is None:
            return output, evidence
        scale_tril_m, class_logits = self.calibration(*output, evidence, self._poses(poses, len(tokens)))
        return NetworkOutput(output.mean_m, scale_tril_m, class_logits), evidence

    def fuse_uncalibrated(self, tokens: Tensor, present: Tensor,
                          poses: Tensor | None = None) -> tuple[NetworkOutput, Evidence | None]:
        """Fuse as `fuse`, without the calibration."""
        tokens = self.fusion.encode(tokens, present)
        fused = self.fusion.pool(tokens, present)
        evidence: Evidence | None = None
        if isinstance(self.localization, EvidenceHead):
            mean_m, scale_tril_m, evidence = self.localization(tokens, present, self._poses(poses, len(tokens)))
        else:
            mean_m, scale_tril_m = self.localization(fused)
        return NetworkOutput(mean_m, scale_tril_m, self.classification(fused)), evidence

    @staticmethod
    def _whole(active: Mapping[Modality, Sequence[int]]) -> Callable[[Modality], Run | None]:
        """Return runners that use the same layers for every row."""
        def run(modality: Modality) -> Run | None:
            layers = active.get(modality, ())
            return (lambda vit, rows, index: vit(rows, layers)) if layers else None

        return run

    def _poses(self, poses: Tensor | None, size: int) -> Tensor:
        """Return the pose (B, slots, 5) of each slot's sensor node."""
        nodes = self.poses.expand(size, -1, -1) if poses is None else poses
        if nodes.shape[1:] != self.poses.shape:
            raise InputError("poses", tuple(nodes.shape), ("B", *self.poses.shape))
        return nodes.repeat(1, len(self.config.modalities), 1)

    def _embed(self, batch: SampleBatch, run: Callable[[Modality], Run | None],
               used: Mapping[Modality, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the tokens (B, slots, dim) of each modality that runs, where `used` (B, 1) allows, and `present`."""
        if not batch.inputs:
            raise InputError.missing("batch", "at least one modality")
        size = len(next(iter(batch.present.values())))
        tokens, present = [], []
        for modality in self.config.modalities:
            runner = run(modality) if modality in batch.inputs else None
            here = self._present(batch, modality, size, runner is not None, used)
            tokens.append(self._tokens(batch, modality, here, runner))
            present.append(here)
        return torch.cat(tokens, dim=1), torch.cat(present, dim=1)

    def _present(self, batch: SampleBatch, modality: Modality, size: int, runs: bool,
                 used: Mapping[Modality, Tensor]) -> Tensor:
        if not runs:
            return torch.zeros(size, self.nodes, dtype=torch.bool, device=self.qoi.cls_token.device)
        present = batch.present[modality]
        return present & used[modality] if modality in used else present

    def _tokens(self, batch: SampleBatch, modality: Modality, present: Tensor, run: Run | None) -> Tensor:
        if run is not None:
            rows, index = present_rows(batch.inputs[modality], present)
            if len(index):
                embedding = run(self.backbone(modality), rows, index)
                return to_slots(self.adapters[str(modality)](embedding), index, *present.shape)
        return self.qoi.cls_token.new_zeros(*present.shape, self.config.fusion.dim)
