# SPDX-License-Identifier: Apache-2.0
"""What is to be evaluated, and the fingerprint by which results belong to a model and to recordings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from admn_ros import __version__
from admn_ros.config import BudgetUnit, Count, Finite, NotNegative, Positive, Strict
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import InputError
from admn_ros.model.checkpoint import CONFIG, COSTS, LEGACY, WEIGHTS
from admn_ros.sensing.corruption.presets import PRESET_NAMES

CLEAN = "clean"
CORRUPTIONS = (CLEAN, *PRESET_NAMES)
_WHOLE_BYTES = 1 << 20
"""Files up to this size are hashed whole, of larger ones both ends and the size."""


class BagTruth(Strict):
    """How bags are read and what is true of them.

    deployment: topics, synchronization, as the node has them.
    truth: topic of poses, `tf:CHILD` for a frame in TF, or a CSV or TUM file; null takes /ground_truth/pose if the
        bag has it.
    true_class: class of the target all through; null takes what the simulator noted in the bag, if anything.
    align: how truth is read between its stamps.
    max_gap_s: truth further away than this, or between stamps further apart, is none.
    offset_s: added to the stamps of the truth.
    """

    deployment: DeploymentConfig
    truth: str | None = None
    true_class: str | None = None
    align: Literal["linear", "nearest"] = "linear"
    max_gap_s: Positive = 0.1
    offset_s: Finite = 0.0


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
    kind: reader of a dataset, as in a training file, or bag.
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
    kind: Literal["simulated", "gdtm", "gdtm_cache", "mmfi", "ave", "bag"] = "simulated"
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
        wrong = [name for name in names if name not in CORRUPTIONS]
        if wrong:
            raise ValueError(f"{wrong[0]} is none of {', '.join(CORRUPTIONS)}")
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


def file_identity(file: Path) -> dict[str, str]:
    """Name and hash of a file that settings name.

    Raises:
        InputError: it cannot be read.
    """
    return {"name": file.name, "fingerprint": _fingerprint([file], file.parent)}


def model_fingerprint(folder: Path) -> str:
    """Hash of all that decides what a model gives.

    Raises:
        InputError: the folder cannot be read.
    """
    return _fingerprint((folder / name for name in (CONFIG, WEIGHTS, COSTS, LEGACY)), folder, whole=True)


def source_fingerprint(path: Path, split: str | None = None) -> str:
    """Hash of names, sizes and ends of the files of a source; of a dataset only a split's.

    Raises:
        InputError: there is nothing.
    """
    if path.is_file():
        return _fingerprint([path], path.parent)
    if not path.is_dir():
        raise InputError(str(path), "nothing there", "a dataset folder or a recording")
    part = path if split is None or not (path / split).is_dir() else path / split
    files = sorted(p for p in part.rglob("*") if p.is_file())
    return _fingerprint([*(path / name for name in ("plan.json", "dataset.json")), *files], path)


def _fingerprint(files: Iterable[Path], folder: Path, *, whole: bool = False) -> str:
    digest = hashlib.sha256()
    for file in files:
        if not file.is_file():
            continue
        try:
            with file.open("rb") as opened:
                size = opened.seek(0, 2)
                opened.seek(0)
                digest.update(f"{file.relative_to(folder)} {size}\n".encode())
                if whole or size <= 2 * _WHOLE_BYTES:
                    while chunk := opened.read(_WHOLE_BYTES):
                        digest.update(chunk)
                else:
                    digest.update(opened.read(_WHOLE_BYTES))
                    opened.seek(-_WHOLE_BYTES, 2)
                    digest.update(opened.read())
        except OSError as error:
            raise InputError(str(file), error.strerror or "unreadable", "a readable file") from error
    return digest.hexdigest()
