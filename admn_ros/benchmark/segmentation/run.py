# SPDX-License-Identifier: Apache-2.0
"""Runs the segmentation study. Trained networks are kept, so a run can be interrupted and resumed at any time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from admn_ros.baselines.segmentation.costs import gate_macs, macs_by_choice
from admn_ros.baselines.segmentation.network import BLOCKS, CHOICES, RgbdSegmentation
from admn_ros.benchmark.dynmm.measure import damage_of
from admn_ros.benchmark.dynmm.strategies import STRATEGIES, Strategy
from admn_ros.benchmark.dynmm.study import continued, record
from admn_ros.benchmark.segmentation.networks import SegmentationNetworks
from admn_ros.benchmark.segmentation.results import FILE, SegmentationResults, SegmentationTrial
from admn_ros.scoring.metrics import Floats, Whole
from admn_ros.scoring.segmentation import PixelScores, class_iou, mean_iou
from admn_ros.training.rivals.segmentation_gate import SegmentationGate, pixels_of

BATCH = 16


@dataclass(frozen=True)
class MeasuredPixels:
    """A network on every frame of the test split.

    Attributes:
        scores: confusion of the pixels.
        choice: number of depth blocks (N,).
        confidence: probability of that number by the gate (N,); 1 for a static network.
        damage: damaged modalities of each frame, `none` or joined by +.
        scene: room of each frame (N,).
    """

    scores: PixelScores
    choice: Whole
    confidence: Floats
    damage: tuple[str, ...]
    scene: Whole

    def rows(self, damage: str | None) -> Whole:
        """Return the frames with one kind of damage; all frames for None."""
        return np.flatnonzero([damage in (None, found) for found in self.damage])

    def shares(self, damage: str | None = None) -> tuple[float, ...]:
        """Return the share of frames with 0 to 4 depth blocks; of those with one kind of damage if it is not None."""
        counts = np.bincount(self.choice[self.rows(damage)], minlength=CHOICES)
        return tuple(round(float(x), 4) for x in counts / counts.sum())


def run_study(networks: SegmentationNetworks, out: Path, command: str = "", *,
              ablation: bool = True) -> SegmentationResults:
    """Train static networks and a gate for each price; then each strategy with each seed, at one price.

    The results are written after each network.

    Args:
        networks: networks of a configuration.
        out: folder of the results.
        command: command line, for the results.
        ablation: whether to run more than the prices.

    Raises:
        AdmnError: a training fails, or a folder cannot be used.
    """
    return record(_trials(networks, ablation), _begun(networks, out, command), out / FILE)


def measure_pixels(stage: SegmentationGate, networks: SegmentationNetworks) -> MeasuredPixels:
    """Run a network on the test split; each frame runs only the depth blocks that were chosen for it."""
    splits, network = networks.splits, stage.network.to(networks.device)
    scores, choices, sure, damage = PixelScores(len(splits.classes)), [], [], []
    with torch.inference_mode():
        for found in splits.test.batches(0, BATCH, shuffle=False):
            batch = found.to(networks.device)
            rgb, depth = network.inputs(batch.samples)
            choice = stage.choose(rgb, depth)
            scores.add(pixels_of(batch).cpu().numpy(), network.run(rgb, depth, choice).argmax(dim=1).cpu().numpy())
            chosen = network.gate_logits(rgb, depth).softmax(dim=1).gather(1, choice[:, None])[:, 0]
            choices.append(choice.cpu())
            sure.append(chosen.double().cpu() if stage.config.blocks is None else torch.ones(len(batch)).double())
            damage += damage_of(batch)
    names = [splits.scene(i) for i in range(len(damage))]
    return MeasuredPixels(scores, torch.cat(choices).numpy(), torch.cat(sure).numpy(), tuple(damage),
                          np.unique(names, return_inverse=True)[1])


def _trials(networks: SegmentationNetworks, ablation: bool) -> Iterator[SegmentationTrial]:
    study = networks.study
    first = study.seeds[0]
    for price in study.prices:
        yield _gated(networks, "joint", price, first)
    for blocks in (BLOCKS, 0):
        yield _static(networks, blocks, first)
    if not ablation:
        return
    for seed in study.seeds:
        yield _static(networks, BLOCKS, seed)
        for strategy in reversed(STRATEGIES):
            yield _gated(networks, strategy, study.price, seed)


def _begun(networks: SegmentationNetworks, out: Path, command: str) -> SegmentationResults:
    """Return the results of this configuration in a folder, or new ones."""
    study, network = networks.study, RgbdSegmentation(networks.config)
    new = SegmentationResults(
        config=study.fingerprint, command=command, notes=study.notes, corruption=study.corruption,
        test=study.test.split, samples=(len(networks.splits.train(0, 0)), len(networks.splits.test)),
        mmacs_by_blocks=tuple(round(m / 1e6, 3) for m in macs_by_choice(network)),
        gate_mmacs=round(gate_macs(network) / 1e6, 3), price=study.price)
    return continued(new, out / FILE)


def _static(networks: SegmentationNetworks, blocks: int, seed: int) -> SegmentationTrial:
    stage = networks.static(blocks, seed)
    return _trial(networks, stage, kind="static", blocks=blocks, price=None, seed=seed)


def _gated(networks: SegmentationNetworks, strategy: Strategy, price: float, seed: int) -> SegmentationTrial:
    stage = networks.gated(strategy, price, seed)
    return _trial(networks, stage, kind=strategy, blocks=None, price=price, seed=seed)


def _trial(networks: SegmentationNetworks, stage: SegmentationGate, *, kind: str, blocks: int | None,
           price: float | None, seed: int) -> SegmentationTrial:
    found = measure_pixels(stage, networks)
    damages = sorted(set(found.damage))
    spent = stage.macs.numpy()[found.choice] + (stage.gate_macs if blocks is None else 0)
    interval = found.scores.interval(found.scene, networks.study.seed)
    return SegmentationTrial.model_validate({
        "kind": kind, "blocks": blocks, "price": price, "seed": seed,
        "miou": round(float(mean_iou(found.scores.confusion)), 4),
        "interval": interval and tuple(round(x, 4) for x in interval),
        "class_iou": dict(zip(networks.splits.classes, _rounded(class_iou(found.scores.confusion)), strict=True)),
        "mmacs": round(float(spent.mean()) / 1e6, 3), "shares": found.shares() if blocks is None else (),
        "shares_by_damage": {d: found.shares(d) for d in damages} if blocks is None else {},
        "miou_by_damage": {d: round(float(mean_iou(found.scores.of(found.rows(d)))), 4) for d in damages}})


def _rounded(values: Sequence[float] | Floats) -> list[float | None]:
    return [round(float(x), 4) if np.isfinite(x) else None for x in values]
