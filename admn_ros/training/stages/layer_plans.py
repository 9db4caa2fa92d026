# SPDX-License-Identifier: Apache-2.0
"""Which layers run in a batch of stage 1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from admn_ros.sample import Modality, SampleBatch
from admn_ros.training.config import FinetuneConfig

Plan = dict[Modality, tuple[int, ...]]
"""Layers of each modality that runs, ascending; a modality that is not named is absent."""


def layerdrop_rate(config: FinetuneConfig, epoch: int) -> float:
    """Rate of an epoch (from 0): linear from 0 in the first to the full rate after `ramp_epochs`."""
    return config.layerdrop * min(1.0, epoch / config.ramp_epochs) if config.ramp_epochs else config.layerdrop


def draw_plan(config: FinetuneConfig, depths: Mapping[Modality, int], epoch: int, draws: torch.Generator) -> Plan:
    """Draw the layers of one batch (Section 3.3.2), for each modality on its own.

    Absent when another is shown `solo` or with `modality_dropout` (drawn again if all would be), else only the
    first layer with `full_backbone_dropout`, else each layer dropped at the epoch's rate. A modality that runs has
    at least its first layer: without any it would be absent, which is another state.
    """
    present = draw_present(config.solo, config.modality_dropout, depths, draws)
    rate = layerdrop_rate(config, epoch)
    plan: Plan = {}
    for modality, depth in depths.items():
        # Drawn for absent ones too: each modality's draws do not depend on the others' fate.
        alone = float(torch.rand((), generator=draws)) < config.full_backbone_dropout
        kept = torch.rand(depth, generator=draws) >= rate
        if config.keep_first_layer:
            kept[0] = True
        layers = tuple(kept.nonzero().flatten().tolist())
        if modality in present:
            plan[modality] = (0,) if alone or not layers else layers
    return plan


def draw_present(solo: Mapping[Modality, float], dropout: float, modalities: Iterable[Modality],
                 draws: torch.Generator) -> list[Modality]:
    """Draw the modalities that a batch shows: one alone, with its probability in `solo`, or those without dropout.

    At least one is shown.
    """
    if solo:
        left = float(torch.rand((), generator=draws))
        for modality, chance in solo.items():
            left -= chance
            if left < 0:
                return [modality]
    names, present = list(modalities), list[Modality]()
    while not present:
        chances = torch.rand(len(names), generator=draws).tolist()
        present = [m for m, x in zip(names, chances, strict=True) if x >= dropout]
    return present


def drop_sensors(samples: SampleBatch, rate: float, noise: torch.Generator) -> SampleBatch:
    """Make each input of each sample absent with a probability. A sample may be left with nothing.

    The noise is a process's own: what is drawn for the batch must not depend on how many samples it has here.
    """
    if not rate:
        return samples
    kept = {m: present & (torch.rand(present.shape, generator=noise, device=noise.device) >= rate).to(present.device)
            for m, present in samples.present.items()}
    return SampleBatch(samples.inputs, kept, samples.poses)
