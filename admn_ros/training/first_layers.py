# SPDX-License-Identifier: Apache-2.0
"""Shallower networks from trained ones."""

from __future__ import annotations

from collections.abc import Mapping

from admn_ros.config import CalibrationConfig
from admn_ros.errors import InputError
from admn_ros.model.checkpoint import initialize
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.presets import with_depths
from admn_ros.sample import Modality


def keep_first_layers(network: AdmnNetwork, depths: Mapping[Modality, int], seed: int) -> AdmnNetwork:
    """Return a network whose backbones have only their first layers, with the weights of the given one.

    The controller scores layers, so a network with other layers gets a new one, with random weights and without the
    prediction of values; the calibration goes too. If no depth changes, the result is the given network.

    Args:
        network: trained network.
        depths: number of layers that a backbone keeps; modalities that are not named keep theirs.
        seed: seed of the new controller.

    Raises:
        InputError: the model has no such modality, or it has fewer layers.
    """
    for modality, depth in depths.items():
        most = network.config.depths.get(modality, depth)
        if depth > most:
            raise InputError(f"depths.{modality}", depth, f"1 to {most}, the layers of the model")
    config = with_depths(network.config, depths)
    if config.depths == network.config.depths:
        return network
    config = config.model_copy(update={
        "qoi_trained": False, "qoi": config.qoi.model_copy(update={"value_hidden": 0}),
        "calibration": CalibrationConfig()})
    shallow = AdmnNetwork(config)
    initialize(shallow, seed)
    new = shallow.state_dict()
    kept = {name: value for name, value in network.state_dict().items() if name in new and not name.startswith("qoi.")}
    shallow.load_state_dict({**new, **kept})
    return shallow.to(network.poses.device).eval()
