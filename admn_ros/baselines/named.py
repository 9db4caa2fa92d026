# SPDX-License-Identifier: Apache-2.0
"""Policies by name, so that baselines can be evaluated on the same model as the controller."""

from __future__ import annotations

from admn_ros.baselines.allocations import NaiveAllocation, OnlyModality, PrefixScores, RandomAllocation, UpperBound
from admn_ros.baselines.policy import AllocationPolicy
from admn_ros.baselines.static import StaticAllocation
from admn_ros.config import ModelConfig
from admn_ros.errors import InputError
from admn_ros.model.allocation import allocate
from admn_ros.sample import Modality

ALLOCATE = "allocate"
POLICIES = (f"{ALLOCATE}, naive, upper, prefix, random or random:SEED, only:MODALITY, "
            "static:MODALITY=LAYERS,MODALITY=LAYERS,...")


def policy_of(name: str, config: ModelConfig) -> AllocationPolicy:
    """Return the policy of a name.

    name                     layers
    allocate                 those of the controller, as in the node
    naive                    the same number for each modality
    upper                    all layers; none where they do not fit
    prefix                   as many as the controller chooses, but the first ones
    random, random:SEED      random within the budget
    only:MODALITY            one modality
    static:MODALITY=LAYERS,...   these numbers; none where they do not fit

    Raises:
        InputError: unknown policy, or a modality or depth that the model lacks.
    """
    kind, _, details = name.partition(":")
    plain: dict[str, AllocationPolicy] = {ALLOCATE: allocate, "naive": NaiveAllocation(), "upper": UpperBound(),
                                          "prefix": PrefixScores(), "random": RandomAllocation(0)}
    if name in plain:
        return plain[name]
    if kind == "random" and details.isdecimal():
        return RandomAllocation(int(details))
    if kind == "only":
        return OnlyModality(_modality(name, details, config))
    if kind == "static":
        return _static(name, details, config)
    raise InputError("policy", name, POLICIES)


def _static(name: str, details: str, config: ModelConfig) -> StaticAllocation:
    counts = dict.fromkeys(config.modalities, 0)
    for part in details.split(","):
        modality, _, number = part.partition("=")
        found = _modality(name, modality, config)
        if not number.isdecimal() or int(number) > config.depths[found]:
            raise InputError(f"policy {name}", part, f"{modality}=0 to {modality}={config.depths[found]}")
        counts[found] = int(number)
    if not any(counts.values()):
        raise InputError("policy", name, "at least one layer")
    return StaticAllocation(tuple(counts), {tuple(counts.values()): 0.0})


def _modality(name: str, modality: str, config: ModelConfig) -> Modality:
    for known in config.modalities:
        if known.value == modality:
            return known
    raise InputError(f"policy {name}", modality or "no modality", ", ".join(map(str, config.modalities)))
