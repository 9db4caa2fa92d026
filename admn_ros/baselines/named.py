# SPDX-License-Identifier: Apache-2.0
"""Policies by name, so that baselines can be evaluated on the same model as the controller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from admn_ros.baselines.allocations import NaiveAllocation, OnlyModality, PrefixScores, RandomAllocation, UpperBound
from admn_ros.baselines.cell_oracle import CellOracle
from admn_ros.baselines.measured_losses import MeasuredLosses, read_losses
from admn_ros.baselines.orders import order_of
from admn_ros.baselines.policy import AllocationPolicy
from admn_ros.baselines.static import StaticAllocation
from admn_ros.config import ModelConfig, Objective
from admn_ros.errors import InputError
from admn_ros.model.allocation import allocate
from admn_ros.model.checkpoint import estimator_fingerprint
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.value.allocation import allocate_by_value
from admn_ros.sample import Modality

ALLOCATE, VALUE, BEST_STATIC, ORACLE = "allocate", "value", "best_static", "oracle"
FROM_FILE = (BEST_STATIC, ORACLE)
"""Kinds whose details begin with a file of `admn rank`."""
CLASS_WEIGHT = ",class="
"""Precedes the metres of position error that a wrong class counts as."""
Policy = AllocationPolicy | CellOracle
PolicyMaker = Callable[[str, AdmnNetwork], Policy]
"""Makes a policy from the text after the colon of its name, for a model."""


def policy_of(name: str, network: AdmnNetwork) -> Policy:
    """Return the policy of a name, `KIND` or `KIND:DETAILS`, with a kind of `POLICIES`.

    On a model with nested backbones every policy runs the first layers of a modality, as many as it chooses.

    Raises:
        InputError: unknown policy, or details that do not fit the policy or the model.
    """
    config = network.config
    kind, _, details = name.partition(":")
    if kind not in POLICIES:
        raise InputError("policy", name, ", ".join(POLICIES))
    if kind == VALUE and not config.predicts_values:
        raise InputError("policy", name, "another one: this model does not predict values (`admn train value`)")
    try:
        policy = POLICIES[kind](details, network)
    except InputError as error:
        file = policy_file(name)
        names_file = file is not None and error.field.startswith(str(file)) and details
        raise error if names_file else error.within(f"policy {kind}") from error
    # The oracle is no policy until a frame is known, so it cannot be wrapped: it keeps the first layers by itself.
    return PrefixScores(policy) if config.nested and not isinstance(policy, CellOracle) else policy


def policy_file(name: str) -> Path | None:
    """Return the file that a policy is made from; None if it needs none."""
    kind, _, details = name.partition(":")
    return Path(_file_and_weight(details)[0]) if kind in FROM_FILE else None


def shown_policy(name: str) -> str:
    """Return the name of a policy without the folder of its file, for results."""
    kind, _, details = name.partition(":")
    if kind not in FROM_FILE:
        return name
    path, weight = _file_and_weight(details)
    return f"{kind}:{Path(path).name}" + (CLASS_WEIGHT + weight if weight else "")


def is_oracle(name: str) -> bool:
    """Return whether a policy knows what was injected into a frame."""
    return name.partition(":")[0] == ORACLE


def own_policy(config: ModelConfig) -> str:
    """Return the name of the policy that the node uses for a model."""
    return VALUE if config.predicts_values else ALLOCATE


def _plain(policy: AllocationPolicy) -> PolicyMaker:
    def make(details: str, network: AdmnNetwork) -> AllocationPolicy:
        if details:
            raise InputError("details", details, "none")
        return policy

    return make


def _random(details: str, network: AdmnNetwork) -> RandomAllocation:
    if details and not details.isdecimal():
        raise InputError("seed", details, "a whole number, not negative")
    return RandomAllocation(int(details or 0))


def _only(details: str, network: AdmnNetwork) -> OnlyModality:
    return OnlyModality(_modality(details, network.config))


def _static(details: str, network: AdmnNetwork) -> StaticAllocation:
    config = network.config
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


def _best_static(details: str, network: AdmnNetwork) -> StaticAllocation:
    measured, objective = _measured(details, network)
    return StaticAllocation(measured.modalities, measured.losses(objective))


def _oracle(details: str, network: AdmnNetwork) -> CellOracle:
    return CellOracle(*_measured(details, network), order_of(network.config.nested))


def _measured(details: str, network: AdmnNetwork) -> tuple[MeasuredLosses, Objective]:
    """Return the measured errors that the details name, and the weights of position and class."""
    path, weight = _file_and_weight(details)
    if not path:
        raise InputError.missing("file", f"{' or '.join(f'{kind}:FILE' for kind in FROM_FILE)}, a file of `admn rank`")
    try:
        objective = Objective(position=1.0, classification=float(weight or 0.0))
    except ValueError as error:  # no number, or one that no weight can be, such as nan
        raise InputError("class", weight, "metres of position error that a wrong class counts as") from error
    measured = read_losses(Path(path), network.config, estimator_fingerprint(network))
    if not measured.losses(objective):
        raise InputError(path, "no frames with true positions and classes", "those of a split that has them")
    return measured, objective


def _file_and_weight(details: str) -> tuple[str, str]:
    """Split FILE or FILE,class=METRES. A comma may be part of the name of the file."""
    path, found, weight = details.rpartition(CLASS_WEIGHT)
    return (path, weight) if found else (details, "")


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
    BEST_STATIC: _best_static,             # constant choice of least validation error; best_static:FILE
    ORACLE: _oracle,                       # the same for each pattern of damage; oracle:FILE
    "static": _static,                     # fixed numbers, none where they do not fit; static:MODALITY=LAYERS,...
}
"""Policies by kind, for evaluation plans and error messages. A new policy is one more entry."""
