# SPDX-License-Identifier: Apache-2.0
"""Networks of the official release that are not imported, known by the names of their weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from admn_ros.errors import ModelError


class Refused(NamedTuple):
    """Network that is not imported.

    Attributes:
        modules: modules that only this network has together.
        found: what it is.
        allowed: what to import instead.
    """

    modules: tuple[str, ...]
    found: str
    allowed: str


REFUSED: Final = (
    Refused(("selector.mod_sel_head", "fused.encoder"), "a whole MNS network of the official release",
            "one of its networks, such as --key fused; the selector is not imported"),
    Refused(("mod_sel_head",), "the selector of an official MNS network", "a network that it selects"),
    Refused(("decoder_dict", "combiner_encoder"), "the autoencoder of ADMN_AE",
            "the Stage 2 checkpoint of the controller that started from it"),
    Refused(("mmWave", "vision_adapter"), "the official network of three modalities: RGB, depth and radar",
            "networks of two modalities or one; --key vision with --preset takes its image backbone"))
CONTROLLER: Final = Refused(("encoder_dict", "noise_output"), "an official controller without its network",
                            "the whole Stage 2 checkpoint")


def refuse_known(names: Iterable[str], place: str) -> None:
    """Refuse what is an official network, but not one that can be imported.

    Args:
        names: names of all weights of the file.
        place: file that the error names.

    Raises:
        ModelError: it is one of these networks; the error says what to import instead.
    """
    dotted = [f".{name}" for name in names]
    whole = any(".vision_adapter." in name for name in dotted)
    for network in REFUSED if whole else (*REFUSED, CONTROLLER):
        if all(any(f".{module}." in name for name in dotted) for module in network.modules):
            raise ModelError(place, network.found, network.allowed)
