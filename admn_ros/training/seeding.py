# SPDX-License-Identifier: Apache-2.0
"""Randomness of a run: every number drawn is a function of seed, epoch and purpose.

So a run that is resumed at an epoch needs no saved generator to go on as if it had not stopped.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

ORDER: Final = 1
CORRUPTION: Final = 2
LAYERS: Final = 3
NOISE: Final = 4
GLOBAL: Final = 5
VALIDATION: Final = 6
DECODER: Final = 7
CATEGORIES: Final = 8
MASKS: Final = 9
CONTROLLER: Final = 10
"""Purposes: no two of them share a stream."""


def derive(seed: int, purpose: int, number: int = 0, process: int = 0) -> int:
    """Seed in [0, 2^32) of a purpose, a number (an epoch, a draw) and a process, independent of all others."""
    return int(np.random.SeedSequence([seed, purpose, number, process]).generate_state(1, np.uint32)[0])


def generator(seed: int, purpose: int, number: int = 0, device: torch.device | str = "cpu",
              process: int = 0) -> torch.Generator:
    """Generator on a device with the seed that `derive` gives."""
    return torch.Generator(device).manual_seed(derive(seed, purpose, number, process))
