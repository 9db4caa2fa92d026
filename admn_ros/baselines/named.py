# SPDX-License-Identifier: Apache-2.0
"""Policies by name, so that baselines can be evaluated on the same model as the controller."""

from __future__ import annotations

from collections.abc import Callable

from admn_ros.baselines.allocations import NaiveAllocation, OnlyModality, PrefixScores, RandomAllocation, UpperBound
from admn_ros.baselines.policy import AllocationPolicy
from admn_ros.baselines.static import StaticAllocation
from admn_ros.config import ModelConfig
from admn_ros.errors import InputError
from admn_ros.model.allocation import allocate
from admn_ros.model.value.allocation import allocate_by_value
from admn_ros.sample import Modality

ALLOCATE, VALUE = "allocate", "value"
PolicyMaker = Callable[[str, ModelConfig], AllocationPolicy]
"""Makes a policy from the text after the colon of its name, for a model."""


def policy_of(name: str, config: ModelConfig) -> AllocationPolicy:
    """Return the policy of a name, `KIND` or `KIND:DETAILS`, with a kind of `POLICIES`.

    Raises:
        InputError: unknown policy, or details that do not fit the policy or the model.
    """
    kind, _, details = name.partition(":")
    if kind not in POLICIES:
        raise InputError("policy", name, ", ".join(POLICIES))
    if kind == VALUE and not config.qoi.value_hidden:
        raise InputError("policy", name, "another one: this model does not predict values (`admn train value`)")
    try:
        return POLICIES[kind](details, config)
    except InputError as error:
        raise error.within(f"policy {name}") from error


def own_policy(config: ModelConfig) -> str:
    """Return the name of the policy that the node uses for a model."""
    return VALUE if config.qoi.value_hidden else ALLOCATE


def _plain(policy: AllocationPolicy) -> PolicyMaker:
    def make(details: str, config: ModelConfig) -> AllocationPolicy:
        if details:
            raise InputError("details", details, "none")
        return policy

    return make


def _random(details: str, config: ModelConfig) -> RandomAllocation:
    if details and not details.isdecimal():
        raise InputError("seed", details, "a whole number, not negative")
    return RandomAllocation(int(details or 0))


def _only(details: str, config: ModelConfig) -> OnlyModality:
    return OnlyModality(_modality(details, config))


def _static(details: str, config: ModelConfig) -> StaticAllocation:
    counts = dict.fromkeys(config.modalities, 0)
    for part in details.split(","):
        modality, _, number = part.partition("=")
        found = _modality(modality, config)
        if not number.isdecimal() or int(number) > config.depths[found]:
            raise InputError("layers", part, f"{modality}=0 to {modality}={config.depths[found]}")
        counts[found] = int(number)
    if not any(counts.values()):
        raise InputError("layers", details, "at least one layer")
    return StaticAllocation(tuple(counts), {tuple(counts.values()): 0.0})


def _modality(name: str, config: ModelConfig) -> Modality:
    for known in config.modalities:
        if known.value == name:
            return known
    raise InputError("modality", name or "none", ", ".join(map(str, config.modalities)))


POLICIES: dict[str, PolicyMaker] = {
    ALLOCATE: _plain(allocate),            # by QoI and layer scores, as in the paper
    VALUE: _plain(allocate_by_value),    # highest predicted value, for models of `admn train value`
    "naive": _plain(NaiveAllocation()),    # the same number of layers for each modality
    "upper": _plain(UpperBound()),         # all layers; none where they do not fit
    "prefix": _plain(PrefixScores()),      # as many layers as the controller chooses, but the first ones
    "random": _random,                     # random within the budget; random:SEED
    "only": _only,                         # one modality; only:MODALITY
    "static": _static,                     # fixed numbers, none where they do not fit; static:MODALITY=LAYERS,...
}
"""Policies by kind, for evaluation plans and error messages. A new policy is one more entry."""
