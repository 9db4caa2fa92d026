# SPDX-License-Identifier: Apache-2.0
"""What is to be evaluated, and the fingerprint by which results belong to a model and to recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from admn_ros import __version__
from admn_ros.config import BudgetUnit, Count, NotNegative, Positive, Strict
from admn_ros.datasets.open import READERS, allowed_kinds
from admn_ros.files import file_identity, fingerprint, source_fingerprint
from admn_ros.model.checkpoint import CONFIG, COSTS, LEGACY, WEIGHTS
from admn_ros.replay.bag_truth import BagTruth
from admn_ros.sensing.corruption.presets import CORRUPTIONS

CLEAN = "clean"
BAG = "bag"
"""Kind of a source that is a recording."""


def _check_kind(kind: str) -> str:
    if kind != BAG and kind not in READERS:
        raise ValueError(f"{allowed_kinds(kind)}, {BAG}")
    return kind


class BagPlan(BagTruth):
    """Bags, and what is done with them in an evaluation.

    search_s: look for the offset within so many seconds around `offset_s`, by the first corruption's estimates of
        the variant that ran most layers; 0 does not look.
    hold_s: a drawn corruption holds so long.
    trace: file with limits over time (time_s, limit, unit), as one more budget.
    recorded_budgets: topic whose recorded budgets are one more budget.
    governor: file with numbers of the governor, or empty for its defaults, as one more budget; null for none.
    """

    search_s: NotNegative = 0.0
    hold_s: Positive = 2.0
    trace: str | None = None
    recorded_budgets: str | None = None
    governor: str | None = None


class EvaluationPlan(Strict):
    """One evaluation.

    sources: a dataset folder, or bags.
    kind: kind of the dataset, as in a training file, or bag.
    split: of a dataset.
    model: its folder.
    corruptions: clean, or presets of `admn_ros.sensing.corruption.presets`; one column of results each.
    variant: the presets as in the paper or as in the official code.
    budgets: limits in `unit`, per frame; null for everything.
    policies: names of `admn_ros.baselines.named`.
    seed: of corruptions and bootstrap.
    limit: at most so many frames, evenly spread over a dataset, or over each bag.
    rate_hz: frames per second, for budgets in watts.
    """

    sources: tuple[str, ...] = Field(min_length=1)
    kind: Annotated[str, AfterValidator(_check_kind)] = "shards"
    split: str = "test_time"
    model: str
    corruptions: tuple[str, ...] = Field(default=(CLEAN,), min_length=1)
    variant: Literal["paper", "code"] = "paper"
    budgets: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)] | None, ...] = (None,)
    unit: BudgetUnit = "layers"
    policies: tuple[str, ...] = Field(default=("allocate",), min_length=1)
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    limit: Count | None = None
    rate_hz: Positive | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    bag: BagPlan | None = None

    @field_validator("corruptions")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        allowed = (CLEAN, *CORRUPTIONS)
        wrong = [name for name in names if name not in allowed]
        if wrong:
            raise ValueError(f"{wrong[0]} is none of {', '.join(allowed)}")
        return names

    @field_validator("corruptions", "budgets", "policies", "sources")
    @classmethod
    def _once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) != len(values):
            raise ValueError("names something twice")
        return values

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but where files lie, as JSON values."""
        found: dict[str, Any] = self.model_dump(mode="json", exclude={"sources", "model"})
        return found

    def identity(self) -> dict[str, Any]:
        """What results must share to be those of the same evaluation. Names of folders, not their places, are in it.

        Raises:
            InputError: a source or the model cannot be read.
        """
        sources = [{"name": Path(s).name, "fingerprint": source_fingerprint(Path(s), self.split)} for s in self.sources]
        settings = self.settings
        for name in ("truth", "trace", "governor"):
            file = Path(settings["bag"][name] or "") if settings["bag"] else Path()
            if file.is_file():
                settings["bag"][name] = file_identity(file)
        return {"version": __version__, "settings": settings, "sources": sources,
                "model": {"name": Path(self.model).name, "fingerprint": model_fingerprint(Path(self.model))}}


def model_fingerprint(folder: Path) -> str:
    """Hash of all that decides what a model gives.

    Raises:
        InputError: the folder cannot be read.
    """
    return fingerprint((folder / name for name in (CONFIG, WEIGHTS, COSTS, LEGACY)), folder, whole=True)
