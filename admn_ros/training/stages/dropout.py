# SPDX-License-Identifier: Apache-2.0
"""Random absence of modalities and sensors in training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from admn_ros.sample import Modality, SampleBatch


def draw_solo(solo: Mapping[Modality, float], draws: torch.Generator) -> Modality | None:
    """Draw the only modality of a batch; None for a batch without one.

    Args:
        solo: probability of each modality to be the only one.
        draws: generator on the CPU, used if there are any.
    """
    if solo:
        left = float(torch.rand((), generator=draws))
        for modality, chance in solo.items():
            left -= chance
            if left < 0:
                return modality
    return None


def draw_present(solo: Mapping[Modality, float], dropout: float, modalities: Iterable[Modality],
                 draws: torch.Generator) -> list[Modality]:
    """Draw the modalities of a batch, at least one.

    Args:
        solo: probability of each modality to be the only one.
        dropout: probability of each modality to be absent, in a batch without a solo modality.
        modalities: modalities of the model.
        draws: generator on the CPU.
    """
    alone = draw_solo(solo, draws)
    if alone is not None:
        return [alone]
    names, present = list(modalities), list[Modality]()
    while not present:
        chances = torch.rand(len(names), generator=draws).tolist()
        present = [m for m, x in zip(names, chances, strict=True) if x >= dropout]
    return present


def drop_sensors(samples: SampleBatch, rate: float, noise: torch.Generator) -> SampleBatch:
    """Make each input of each sample absent with a probability. A sample may be left without inputs.

    Args:
        samples: batch to drop from; not changed.
        rate: probability in [0, 1).
        noise: generator of this process. The shared generator must not depend on the samples of one process.
    """
    if not rate:
        return samples
    kept = {m: present & (torch.rand(present.shape, generator=noise, device=noise.device) >= rate).to(present.device)
            for m, present in samples.present.items()}
    return SampleBatch(samples.inputs, kept, samples.poses)
