# SPDX-License-Identifier: Apache-2.0
"""Measured costs outside the model folder, which may be read-only: one file per model, device, threads and runtime."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from admn_ros.budget.costs import MeasuredCosts
from admn_ros.config import dump_config, load_config
from admn_ros.errors import InputError
from admn_ros.files import cache_folder
from admn_ros.inference.hardware import device_name
from admn_ros.model.network import AdmnNetwork

_NO_INFLUENCE = {"name", "trained", "qoi_trained", "seed", "frame_id", "node_poses", "layer_costs"}
"""Fields of a configuration that change no shape."""


def cached_costs_file(network: AdmnNetwork, runtime: str = "torch") -> Path:
    """Return the file for the costs of a network on its device, with the current number of CPU threads."""
    device = network.qoi.cls_token.device
    key = [type(network).__name__, network.config.model_dump(mode="json", exclude=_NO_INFLUENCE), device_name(device),
           torch.get_num_threads() if device.type == "cpu" else 0, torch.__version__,
           *([] if runtime == "torch" else [runtime])]
    return cache_folder() / "costs" / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]}.yaml"


def read_cached_costs(network: AdmnNetwork, runtime: str = "torch") -> MeasuredCosts | None:
    """Return the cached costs of a network here; None if there are none, or they cannot be read."""
    try:
        return load_config(MeasuredCosts, cached_costs_file(network, runtime))
    except InputError:
        return None


def cache_costs(network: AdmnNetwork, measured: MeasuredCosts) -> Path:
    """Store the measured costs of a network here, and return the file.

    Raises:
        InputError: the file cannot be written.
    """
    file = cached_costs_file(network, measured.runtime)
    dump_config(measured, file)
    return file
