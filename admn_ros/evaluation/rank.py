# SPDX-License-Identifier: Apache-2.0
"""Errors of all allocations of a few depths on a split, for the best static allocation and the cell oracle.

Every modality is embedded once for each depth. The allocations then share these tokens, and only the fusion runs anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from admn_ros.baselines.measured_losses import MeasuredLosses, PatternErrors, Sums
from admn_ros.baselines.orders import order_of
from admn_ros.baselines.static import Depths, some_depths
from admn_ros.errors import AdmnError, InputError
from admn_ros.evaluation.dataset_source import DatasetSource
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.run import OnProgress
from admn_ros.evaluation.source import SourceFrame
from admn_ros.evaluation.summary import DIGITS
from admn_ros.model.checkpoint import estimator_fingerprint
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.sample import Modality, SampleBatch

CORRUPTION = "room-all"
"""Default corruption: every modality, every kind."""
TRIED = (1, 2, 4)
"""Default numbers of layers of a modality, beside none and all."""


def rank_allocations(plan: EvaluationPlan, layers: Sequence[int] = TRIED,
                     progress: OnProgress = lambda done, total: None) -> MeasuredLosses:
    """Measure every combination of depths on a dataset under one corruption.

    Equal arguments give equal results on a CPU.

    Args:
        plan: dataset, model and corruption; budgets and policies do not matter.
        layers: numbers of layers of a modality; none and all layers are always tried, larger ones are left out.
        progress: callback for the progress in frames.

    Raises:
        InputError: the dataset cannot be used, several corruptions, a number below 1, or too many combinations.
        ModelError: the model cannot be used.
    """
    if len(plan.corruptions) != 1:
        raise InputError("corruptions", ", ".join(plan.corruptions), "one")
    source = DatasetSource(plan)
    network, depths = source.engine.network, source.engine.config.depths
    allocations = some_depths(depths, layers)
    sums: dict[frozenset[Modality], tuple[int, Sums]] = {}
    units = source.units()
    done, total = 0, sum(unit.frames for unit in units)
    progress(done, total)
    for unit in units:
        frames = list(source.frames(unit, []))
        for frame, errors in zip(frames, _errors(network, frames, allocations), strict=True):
            pattern = frame.damaged.intersection(depths)
            count, before = sums.get(pattern, (0, np.zeros((4, len(allocations)))))
            sums[pattern] = count + 1, before + errors
        done += len(frames)
        progress(done, total)
    return MeasuredLosses(
        model=Path(plan.model).name, estimator_fingerprint=estimator_fingerprint(network),
        dataset=Path(plan.sources[0]).name, split=plan.split, corruption=plan.corruptions[0], variant=plan.variant,
        seed=plan.seed, depths=depths, allocations=tuple(allocations), patterns=tuple(
            _pattern([m for m in depths if m in damaged], *sums[damaged])
            for damaged in sorted(sums, key=lambda found: [m in found for m in depths])))


@torch.inference_mode()
def _errors(network: AdmnNetwork, frames: Sequence[SourceFrame], allocations: Sequence[Depths]) -> Sums:
    """Run all allocations; returns (frames, 4, allocations) as `PatternErrors.sums` of each frame."""
    batch = SampleBatch.stack([frame.sample for frame in frames]).to(network.poses.device)
    parts = _embed(network, batch, allocations)
    errors = np.zeros((len(frames), 4, len(allocations)))
    for number, counts in enumerate(allocations):
        chosen = [parts[place][k] for place, k in enumerate(counts)]
        estimate, _ = network.fuse(torch.cat([tokens for tokens, _ in chosen], dim=1),
                                   torch.cat([present for _, present in chosen], dim=1), batch.poses)
        ran = torch.stack([present.any(dim=1) for (_, present), k in zip(chosen, counts, strict=True) if k]).all(dim=0)
        finite = torch.stack([part.isfinite().flatten(1).all(dim=1) for part in estimate]).all(dim=0)
        if bool((ran & ~finite).any()):
            raise AdmnError(f"the network gave NaN or infinity with {', '.join(map(str, counts))} layers of "
                            f"{', '.join(map(str, network.config.depths))}")
        errors[:, :, number] = np.where(ran.cpu().numpy()[:, None], _score(estimate, frames), 0.0)
    return errors


def _embed(network: AdmnNetwork, batch: SampleBatch,
           allocations: Sequence[Depths]) -> list[dict[int, tuple[Tensor, Tensor]]]:
    """Return the tokens (B, N, dim) of each modality by depth, and which of them are present (B, N)."""
    found: list[dict[int, tuple[Tensor, Tensor]]] = []
    for place, (modality, depth) in enumerate(network.config.depths.items()):
        slots = slice(place * network.nodes, (place + 1) * network.nodes)
        found.append({})
        for k in sorted({counts[place] for counts in allocations}):
            mask = torch.zeros(len(next(iter(batch.present.values()))), depth, device=network.poses.device)
            mask[:, list(order_of(network.config.nested)(depth, k))] = 1
            tokens, present = network.embed(batch, {modality: mask})
            found[-1][k] = tokens[:, slots], present[:, slots]
    return found


def _score(estimate: NetworkOutput, frames: Sequence[SourceFrame]) -> Sums:
    """Return whether each frame has a position, its error in metres, whether it has a class, and whether that is right;
    (frames, 4)."""
    mean_m = estimate.mean_m.double().cpu().numpy()
    predicted = estimate.class_logits.argmax(dim=1).cpu().numpy()
    scores = np.zeros((len(frames), 4))
    for row, frame in enumerate(frames):
        target = frame.sample.target
        if target is None:
            continue
        position_m = np.array(target.position_m)[:mean_m.shape[1]]
        if np.isfinite(position_m).all():
            scores[row, :2] = 1, float(np.linalg.norm(mean_m[row] - position_m))
        if target.label >= 0:
            scores[row, 2:] = 1, predicted[row] == target.label
    return scores


def _pattern(damaged: list[Modality], frames: int, sums: Sums) -> PatternErrors:
    located, error_m, labelled, right = sums
    return PatternErrors(damaged=tuple(damaged), frames=frames, located=tuple(located.astype(int).tolist()),
                         error_m=tuple(np.round(error_m, DIGITS).tolist()),
                         labelled=tuple(labelled.astype(int).tolist()), right=tuple(right.astype(int).tolist()))
