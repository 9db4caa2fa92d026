# SPDX-License-Identifier: Apache-2.0
"""Random numbers of a run: each one is a function of seed, epoch and purpose.

A run can therefore be resumed at an epoch without a saved generator.
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
VALUE: Final = 11
CALIBRATION: Final = 12
WINDOWS: Final = 13
HEAD: Final = 14
"""Purposes; each has its own stream of random numbers."""


def derive(seed: int, purpose: int, number: int = 0, process: int = 0) -> int:
    """Return an independent seed in [0, 2^32) for a purpose, a number (an epoch, a draw) and a process."""
    return int(np.random.SeedSequence([seed, purpose, number, process]).generate_state(1, np.uint32)[0])


def generator(seed: int, purpose: int, number: int = 0, device: torch.device | str = "cpu",
              process: int = 0) -> torch.Generator:
    """Return a generator on a device with the seed of `derive`."""
    return torch.Generator(device).manual_seed(derive(seed, purpose, number, process))
