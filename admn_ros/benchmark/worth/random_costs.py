# SPDX-License-Identifier: Apache-2.0
"""A model with a random table of milliseconds: costs that no allocation was tuned for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from admn_ros.budget.costs import MeasuredCosts, MeasuredModality, MeasuredTable
from admn_ros.config import ModelConfig, dump_config
from admn_ros.files import replacing_folder, write_errors
from admn_ros.model.checkpoint import CONFIG, COSTS, LEGACY, WEIGHTS

CHEAPEST_MS, DEAREST_MS = 0.1, 10.0


def random_costs(config: ModelConfig, seed: int) -> MeasuredCosts:
    """Draw a table: each part of a modality costs 0.1 to 10 ms, evenly in the logarithm, and more for more nodes."""
    rng = np.random.default_rng([seed, len(config.modalities)])

    def prices() -> tuple[float, ...]:
        first = CHEAPEST_MS * (DEAREST_MS / CHEAPEST_MS) ** rng.random()
        more = rng.uniform(0.1, 1.0) * first
        return tuple(round(float(first + more * n), 4) for n in range(len(config.sensor_nodes)))

    modalities = {m: MeasuredModality(controller=prices(), embedding=prices(), layer=prices())
                  for m in config.modalities}
    return MeasuredCosts(device=f"random table, seed {seed}", torch="none", threads=1, date="2000-01-01", repeats=1,
                         milliseconds=MeasuredTable(fixed=prices()[0], modalities=modalities))


def with_costs(model: Path, measured: MeasuredCosts, folder: Path) -> Path:
    """Copy a model folder with other measured costs.

    Raises:
        InputError: the folder cannot be written, or the model cannot be read.
    """
    with replacing_folder(folder) as partial:
        with write_errors(folder):
            for name in (CONFIG, WEIGHTS, LEGACY):
                if (model / name).exists():
                    shutil.copyfile(model / name, partial / name)
        dump_config(measured, partial / COSTS)
    return folder
