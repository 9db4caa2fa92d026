# SPDX-License-Identifier: Apache-2.0
"""Folders of rivals: rival.yaml says which method of which size, weights.safetensors holds all of its networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from safetensors.torch import save_file

from admn_ros.baselines.adamml import AdaMML
from admn_ros.baselines.experts import DynMM, ExpertSelection, Mns
from admn_ros.baselines.fusion_dynmm import FusionDynMM
from admn_ros.baselines.learned_baseline import Rival, WholeNetwork
from admn_ros.config import Count, ModelConfig, NotNegative, Positive, Strict, dump_config, load_config
from admn_ros.errors import InputError, ModelError
from admn_ros.model.checkpoint import read_weights
from admn_ros.sample import Modality

FILE, WEIGHTS = "rival.yaml", "weights.safetensors"
Experts = Annotated[tuple[dict[Modality, Count], ...], Field(min_length=1)]


class WholeDescription(Strict):
    """`WholeNetwork`."""

    kind: Literal["whole"] = "whole"


class MnsDescription(Strict):
    """`Mns`."""

    kind: Literal["mns"] = "mns"
    experts: Experts


class DynMMDescription(Strict):
    """`DynMM`."""

    kind: Literal["dynmm"] = "dynmm"
    experts: Experts
    price: NotNegative
    tau: Positive


class FusionDescription(Strict):
    """`FusionDynMM`."""

    kind: Literal["fusion_dynmm"] = "fusion_dynmm"
    main: Modality


class AdaMMLDescription(Strict):
    """`AdaMML`."""

    kind: Literal["adamml"] = "adamml"


class RivalConfig(Strict):
    """`rival.yaml`."""

    format: Literal["admn-rival-1"] = "admn-rival-1"
    method: Annotated[WholeDescription | MnsDescription | DynMMDescription | FusionDescription | AdaMMLDescription,
                      Field(discriminator="kind")]
    model: ModelConfig


def describe(rival: Rival) -> RivalConfig:
    """What to make the rival from again.

    Raises:
        InputError: a rival of a kind that has no folder.
    """
    if isinstance(rival, ExpertSelection):
        experts = tuple(rival.expert(i).config.depths for i in range(len(rival.experts)))
        if isinstance(rival, DynMM):
            method = DynMMDescription(experts=experts, price=rival.price, tau=rival.tau)
            return RivalConfig(method=method, model=rival.config)
        if isinstance(rival, Mns):
            return RivalConfig(method=MnsDescription(experts=experts), model=rival.config)
    if isinstance(rival, FusionDynMM):
        return RivalConfig(method=FusionDescription(main=rival.main), model=rival.config)
    if isinstance(rival, AdaMML):
        return RivalConfig(method=AdaMMLDescription(), model=rival.config)
    if isinstance(rival, WholeNetwork):
        return RivalConfig(method=WholeDescription(), model=rival.config)
    raise InputError("rival", type(rival).__name__, "WholeNetwork, Mns, DynMM, FusionDynMM, AdaMML")


def make_rival(config: RivalConfig) -> Rival:
    """A rival without meaningful weights; `admn_ros.model.checkpoint.initialize` draws them.

    Raises:
        InputError: experts or main modality do not fit the model.
    """
    method = config.method
    if isinstance(method, MnsDescription):
        return Mns(config.model, method.experts)
    if isinstance(method, DynMMDescription):
        return DynMM(config.model, method.experts, method.price, method.tau)
    if isinstance(method, FusionDescription):
        return FusionDynMM(config.model, method.main)
    return AdaMML(config.model) if isinstance(method, AdaMMLDescription) else WholeNetwork(config.model)


def save_rival(rival: Rival, folder: str | Path) -> None:
    """Write rival.yaml and weights.safetensors.

    Raises:
        ModelError: the folder cannot be written.
    """
    folder = Path(folder)
    weights = {name: value.detach().cpu().contiguous() for name, value in rival.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{WEIGHTS}.partial"
        save_file(weights, partial)
        partial.replace(folder / WEIGHTS)
        dump_config(describe(rival), folder / FILE)
    except OSError as error:
        raise ModelError(str(folder), error.strerror or "an error on writing", "a writable folder") from error


def load_rival(folder: str | Path, device: str | torch.device = "cpu") -> Rival:
    """Read a folder that `save_rival` wrote. The rival is in evaluation mode.

    Raises:
        ModelError: a file is missing or broken, or the weights do not fit or are not finite.
        ConfigError: rival.yaml is malformed.
    """
    folder = Path(folder)
    for name in (FILE, WEIGHTS):
        if not (folder / name).exists():
            raise ModelError(str(folder / name), "nothing", f"a file; a rival's folder has {FILE} and {WEIGHTS}")
    rival = make_rival(load_config(RivalConfig, folder / FILE))
    rival.load_state_dict(read_weights(folder / WEIGHTS, rival.state_dict()))
    return rival.to(device).eval()
