# SPDX-License-Identifier: Apache-2.0
"""Errors of allocations on a validation split, as `admn rank` stores them. They do not depend on budget and unit.

The frames are divided by which modalities were corrupted. One file therefore serves the best static allocation, which
averages over all frames, and the cell oracle, which looks up the frames of one pattern of damage.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from admn_ros.baselines.static import Depths, Losses
from admn_ros.config import Count, ModelConfig, NotNegative, Objective, Strict, parse_config
from admn_ros.errors import InputError
from admn_ros.files import read_json, write_json
from admn_ros.sample import Modality

POSITION = Objective(position=1.0, classification=0.0)
"""The position alone, so that losses are mean errors in metres."""
VALIDATION = "val"
"""Default split for measuring allocations: choices made on test data would look too good."""
Tally = Annotated[int, Field(ge=0)]
Sums = npt.NDArray[np.float64]


class PatternErrors(Strict):
    """Errors on the frames in which certain modalities were damaged. Lists have an entry for each allocation.

    An allocation counts on the frames in which all of its modalities have a reading.

    Attributes:
        damaged: corrupted modalities; the others were clean.
        frames: number of frames.
        located: frames with a true position on which the allocation ran.
        error_m: sum of its position errors on them, in metres.
        labelled: frames with a true class on which the allocation ran.
        right: number of them whose class was estimated right.
    """

    damaged: tuple[Modality, ...]
    frames: Count
    located: tuple[Tally, ...]
    error_m: tuple[NotNegative, ...]
    labelled: tuple[Tally, ...]
    right: tuple[Tally, ...]

    @property
    def sums(self) -> Sums:
        """Counts and sums, (4, allocations): located, error_m, labelled, right."""
        return np.array([self.located, self.error_m, self.labelled, self.right], dtype=np.float64)

    def check(self, modalities: Set[Modality], allocations: int) -> None:
        """Raise a `ValueError` if the lists do not belong to these modalities and allocations."""
        for m in self.damaged:
            if m not in modalities:
                raise ValueError(f"damaged has {m}, which is none of {', '.join(sorted(modalities))}")
        for name in ("located", "error_m", "labelled", "right"):
            if len(getattr(self, name)) != allocations:
                raise ValueError(f"{name} must have {allocations} entries, one for each allocation")
        for name, most in (("located", self.frames), ("labelled", self.frames)):
            if max(getattr(self, name)) > most:
                raise ValueError(f"{name} must be at most the number of frames, {most}")
        if any(right > labelled for right, labelled in zip(self.right, self.labelled, strict=True)):
            raise ValueError("right must be at most labelled")


class MeasuredLosses(Strict):
    """Errors of allocations by pattern of damage.

    Attributes:
        format: version of the format.
        model: name of the model folder that was measured.
        estimator_fingerprint: `admn_ros.model.checkpoint.estimator_fingerprint` of it.
        dataset: name of the dataset folder.
        split, corruption, variant, seed: what was measured, as in `admn_ros.evaluation.plan.EvaluationPlan`.
        depths: layers of each backbone.
        allocations: numbers of layers, in the order of `depths`; `admn_ros.baselines.orders.order_of` says which.
        patterns: errors by pattern of damage.
    """

    format: Literal["admn-losses-1"] = "admn-losses-1"
    model: str
    estimator_fingerprint: str
    dataset: str
    split: str
    corruption: str
    variant: str
    seed: Tally
    depths: dict[Modality, Count] = Field(min_length=1)
    allocations: tuple[tuple[Tally, ...], ...] = Field(min_length=1)
    patterns: tuple[PatternErrors, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> MeasuredLosses:
        for layers in self.allocations:
            if len(layers) != len(self.depths) or not any(layers) or any(
                    k > d for k, d in zip(layers, self.depths.values(), strict=True)):
                raise ValueError(f"allocations has {list(layers)}, must be layers of {', '.join(self.depths)} within "
                                 "their depths, not all 0")
        if len(set(self.allocations)) != len(self.allocations):
            raise ValueError("allocations has an entry twice")
        for pattern in self.patterns:
            pattern.check(self.depths.keys(), len(self.allocations))
        if len({frozenset(p.damaged) for p in self.patterns}) != len(self.patterns):
            raise ValueError("patterns has a combination of damaged modalities twice")
        return self

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Modality of each place of an allocation."""
        return tuple(self.depths)

    @property
    def frames(self) -> int:
        """Number of measured frames."""
        return sum(pattern.frames for pattern in self.patterns)

    def losses(self, objective: Objective = POSITION) -> Losses:
        """Return the mean loss of each allocation over all frames, as `cell_losses`."""
        return self._mean([p.sums for p in self.patterns], objective)

    def cell_losses(self, damaged: Set[Modality], available: Set[Modality],
                    objective: Objective = POSITION) -> Losses:
        """Return the mean loss of each allocation of the available modalities, where these were damaged like this.

        The loss is the position error in metres and the share of wrong classes, weighted by the objective. An
        allocation that was never measured for this pattern has no entry.

        Args:
            damaged: damaged modalities; those that are not available do not matter.
            available: modalities that an allocation may use.
            objective: weights.
        """
        alike = [p.sums for p in self.patterns if set(p.damaged) & available == damaged & available]
        found = self._mean(alike, objective)
        return {layers: loss for layers, loss in found.items()
                if all(m in available for m, k in zip(self.depths, layers, strict=True) if k)}

    def _mean(self, sums: list[Sums], objective: Objective) -> Losses:
        located, error_m, labelled, right = sum(sums, np.zeros((4, len(self.allocations))))
        known = np.ones(len(self.allocations), np.bool_)
        loss = np.zeros(len(self.allocations))
        for weight, count, bad in ((objective.position, located, error_m),
                                   (objective.classification, labelled, labelled - right)):
            if weight:
                known &= count > 0
                loss += weight * bad / np.maximum(count, 1)
        return {layers: float(x) for layers, x, there in zip(self.allocations, loss, known, strict=True) if there}


def read_losses(path: Path, config: ModelConfig, estimator: str | None = None) -> MeasuredLosses:
    """Read a file of `admn rank`.

    Args:
        path: file.
        config: description of the model that it is used for.
        estimator: `admn_ros.model.checkpoint.estimator_fingerprint` of that model; None for a file of any model.

    Raises:
        InputError: it cannot be read, is malformed, has other modalities or depths than the model, or was measured with
            another one.
    """
    found = parse_config(MeasuredLosses, read_json(path, "a file of `admn rank`"), str(path))
    if dict(found.depths) != config.depths or found.modalities != tuple(config.depths):
        raise InputError(f"{path}: depths", _spell(found.depths), f"{_spell(config.depths)}, those of the model")
    if estimator not in (None, found.estimator_fingerprint):
        raise InputError(f"{path}: model", f"{found.model}, with other weights",
                         "a file that `admn rank` measured with this model")
    return found


def write_losses(path: Path, measured: MeasuredLosses) -> None:
    """Write a file that `read_losses` reads.

    Raises:
        InputError: the file cannot be written.
    """
    write_json(path, measured.model_dump(mode="json"))


def least_within(losses: Losses, layers: int) -> tuple[Depths, float] | None:
    """Return the allocation of least loss with at most a number of layers, and its loss; None if there is none."""
    fitting = [(loss, sum(depths), depths) for depths, loss in losses.items() if sum(depths) <= layers]
    if not fitting:
        return None
    loss, _, depths = min(fitting)
    return depths, loss


def _spell(depths: dict[Modality, int]) -> str:
    return ", ".join(f"{m}={d}" for m, d in depths.items())
