# SPDX-License-Identifier: Apache-2.0
"""Results of the DynMM experiments: one trial for each trained network, in one JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from admn_ros.benchmark.dynmm.strategies import Strategy
from admn_ros.config import Strict, parse_config
from admn_ros.files import read_json, write_json

FILE = "dynmm.json"
COLLAPSED = 0.99
"""Share of frames on one expert from which a gate counts as collapsed."""


class Trial(Strict):
    """Figures of one network on the test split.

    Attributes:
        kind: `expert` for an expert alone, or the training strategy of a gate.
        expert: name of the expert; None for a gate.
        price: lambda; None for an expert alone.
        seed: seed of the training.
        error_cm, interval_cm: mean position error of frames with a car, and its 95 % interval by scene.
        accuracy: share of right classes.
        gflops: mean operations of a frame, gate included.
        cost: mean cost C of the backbones that ran, relative to the cheapest expert.
        shares: share of frames on each expert, in the order of the configuration; empty for an expert alone.
        shares_by_damage: the same for the frames in which these modalities were damaged (`none`, `rgb`, ...).
    """

    kind: Literal["expert"] | Strategy
    expert: str | None = None
    price: float | None = None
    seed: int
    error_cm: float
    interval_cm: tuple[float, float] | None = None
    accuracy: float
    gflops: float
    cost: float
    shares: tuple[float, ...] = ()
    shares_by_damage: dict[str, tuple[float, ...]] = Field(default={})

    @property
    def collapsed(self) -> int | None:
        """Index of the expert that answers almost every frame; None if several do."""
        most = max(self.shares, default=0.0)
        return self.shares.index(most) if most >= COLLAPSED else None


class DynmmResults(Strict):
    """Content of `dynmm.json`.

    Attributes:
        format: version of the format.
        config: fingerprint of the configuration.
        command: command that made it.
        notes: notes of the configuration.
        model, corruption: as in the configuration.
        samples: training and test samples.
        experts: names of the experts.
        costs: C of each expert relative to the first.
        price: lambda of the ablation.
        constant_cm: mean error of the mean training position.
        trials: results of all networks.
    """

    format: Literal["admn-dynmm-1"] = "admn-dynmm-1"
    config: str
    command: str
    notes: str
    model: str
    corruption: str
    samples: tuple[int, int]
    experts: tuple[str, ...]
    costs: tuple[float, ...]
    price: float
    constant_cm: float
    trials: tuple[Trial, ...] = ()

    def with_trials(self, new: tuple[Trial, ...]) -> DynmmResults:
        """Return the results with new trials; they take the place of those of the same network."""
        found = {(t.kind, t.expert, t.price, t.seed): t for t in (*self.trials, *new)}
        return self.model_copy(update={"trials": tuple(found.values())})

    def of(self, kind: str, price: float | None = None) -> list[Trial]:
        """Return the trials of a kind, and of a price if it is not None."""
        return [t for t in self.trials if t.kind == kind and price in (None, t.price)]


def read_dynmm(path: Path) -> DynmmResults:
    """Read `dynmm.json`.

    Raises:
        InputError: it cannot be read.
        ConfigError: it is malformed.
    """
    return parse_config(DynmmResults, read_json(path, "results of `admn dynmm`"), str(path))


def write_dynmm(results: DynmmResults, path: Path) -> None:
    """Write `dynmm.json`.

    Raises:
        InputError: it cannot be written.
    """
    write_json(path, results.model_dump(mode="json"))
