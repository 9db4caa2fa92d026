# SPDX-License-Identifier: Apache-2.0
"""What studies of gates have in common: prices, seeds, and one trial for each trained network in one JSON file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Generic, TypeVar

from pydantic import Field, model_validator

from admn_ros.benchmark.tables.config import Effort, StudyConfig
from admn_ros.config import NotNegative, Strict, parse_config
from admn_ros.files import read_json, write_json
from admn_ros.model.presets import preset
from admn_ros.sensing.corruption.presets import CORRUPTIONS
from admn_ros.training.config import Seed

COLLAPSED = 0.99
"""Share of frames with one choice from which a gate counts as collapsed."""


class GateStudy(StudyConfig):
    """Configuration of a study.

    Attributes:
        corruption: name of a corruption preset.
        prices: values of lambda of the sweep, ascending; the loss of a frame with the cheapest choice.
        price: lambda of the ablation and of the decisions, one of `prices`.
        seeds: seeds of the ablation; the sweep has the first one.
        gate: training of the gate, with or without the networks that it chooses from.
    """

    corruption: str
    prices: Annotated[tuple[NotNegative, ...], Field(min_length=2)]
    price: NotNegative
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    gate: Effort

    @model_validator(mode="after")
    def _prices_fit(self) -> GateStudy:
        if self.corruption not in CORRUPTIONS:
            raise ValueError(f"corruption {self.corruption!r} must be one of {', '.join(CORRUPTIONS)}")
        if list(self.prices) != sorted(set(self.prices)):
            raise ValueError("prices must be ascending")
        if self.price not in self.prices:
            raise ValueError(f"price must be one of prices, {', '.join(f'{p:g}' for p in self.prices)}")
        return self

    @property
    def fingerprint(self) -> str:
        """Hash of all that a training depends on, but for what its name has: lambda and seed."""
        # Default values are left out, so that a new option does not invalidate trained networks.
        known = self.model_dump(mode="json", exclude={"notes", "prices", "price", "seeds"}, exclude_defaults=True)
        known["preset"] = preset(self.model).model_dump(mode="json", exclude_defaults=True)
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]


class GateTrial(Strict):
    """Figures of one network on the test split.

    Attributes:
        kind: training strategy of a gate, or the kind of a network without one.
        price: lambda; None for a network without a gate.
        seed: seed of the training.
        shares: share of frames with each choice; empty for a network without a gate.
        shares_by_damage: the same for the frames in which these modalities were damaged (`none`, `rgb`, ...).
    """

    kind: str
    price: float | None = None
    seed: int
    shares: tuple[float, ...] = ()
    shares_by_damage: dict[str, tuple[float, ...]] = Field(default={})

    @property
    def network(self) -> tuple[object, ...]:
        """What identifies the trained network."""
        return self.kind, self.price, self.seed

    @property
    def collapsed(self) -> int | None:
        """Index of the choice of almost every frame; None if choices vary."""
        most = max(self.shares, default=0.0)
        return self.shares.index(most) if most >= COLLAPSED else None


T = TypeVar("T", bound=GateTrial)


class GateResults(Strict, Generic[T]):
    """Results of a study.

    Attributes:
        config: fingerprint of the configuration.
        command: command that made them.
        notes: notes of the configuration.
        corruption: as in the configuration.
        samples: training and test samples.
        price: lambda of the ablation.
        trials: results of all networks.
    """

    config: str
    command: str
    notes: str
    corruption: str
    samples: tuple[int, int]
    price: float
    trials: tuple[T, ...] = ()

    def of(self, kind: str, price: float | None = None) -> list[T]:
        """Return the trials of a kind, and of a price if it is not None."""
        return [t for t in self.trials if t.kind == kind and price in (None, t.price)]


R = TypeVar("R", bound=GateResults)  # type: ignore[type-arg]  # of any trials


def with_trials(results: R, new: Iterable[GateTrial]) -> R:
    """Return results with new trials; they take the place of those of the same network."""
    found = {t.network: t for t in (*results.trials, *new)}
    return results.model_copy(update={"trials": tuple(found.values())})


def record(trials: Iterable[GateTrial], results: R, path: Path) -> R:
    """Return results with these trials; the file is written after each of them.

    Raises:
        InputError: it cannot be written.
    """
    for trial in trials:
        results = with_trials(results, [trial])
        write_json(path, results.model_dump(mode="json"))
    return results


def read_results(kind: type[R], path: Path) -> R:
    """Read the file of a study.

    Raises:
        InputError: it cannot be read.
        ConfigError: it is malformed.
    """
    return parse_config(kind, read_json(path, "results of `admn dynmm`"), str(path))


def continued(new: R, path: Path) -> R:
    """Return new results with the trials that a file has of the same configuration. Errors as `read_results`."""
    there = read_results(type(new), path) if path.exists() else new
    return with_trials(new, there.trials) if there.config == new.config else new
