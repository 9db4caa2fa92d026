# SPDX-License-Identifier: Apache-2.0
"""Plan of an evaluation, and the fingerprints that tie results to a model and to recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from admn_ros import __version__
from admn_ros.baselines.named import POLICIES, policy_file, shown_policy
from admn_ros.config import BudgetUnit, Count, Limit, Positive, Strict
from admn_ros.datasets.open import READERS, allowed_kinds
from admn_ros.files import file_identity, fingerprint, source_fingerprint
from admn_ros.inference.runtime import RuntimeChoice
from admn_ros.model.checkpoint import CONFIG, COSTS, LEGACY, WEIGHTS
from admn_ros.replay.bag_truth import BagTruth
from admn_ros.sensing.corruption.presets import CORRUPTIONS

CLEAN = "clean"
SEARCH_MAX_S = 60.0
"""Half width of the widest search for a time offset, in seconds; its duration grows with the width."""
BAG = "bag"
"""Kind of a source that is a recording."""


def _check_kind(kind: str) -> str:
    if kind != BAG and kind not in READERS:
        raise ValueError(f"{allowed_kinds(kind)}, {BAG}")
    return kind


def _check_corruption(name: str) -> str:
    if name not in (CLEAN, *CORRUPTIONS):
        raise ValueError(", ".join((CLEAN, *CORRUPTIONS)))
    return name


class BagPlan(BagTruth):
    """Evaluation of recordings."""

    search_s: Annotated[float, Field(ge=0, le=SEARCH_MAX_S)] = Field(
        default=0.0, description="search for the best time offset within this many seconds around offset_s, by the "
                                 "estimates of the first corruption with most layers; 0 disables the search")
    hold_s: Positive = Field(default=2.0, description="duration for which a drawn corruption is held, in seconds")
    trace: str | None = Field(
        default=None, description="CSV file of limits over time (time_s,limit,unit), as one more budget")
    recorded_budgets: str | None = Field(
        default=None, description="topic of recorded budgets, as one more budget (without a value: /admn/budget)")
    governor: str | None = Field(
        default=None, description="governor driven by the recorded temperatures, battery state and requests, as one "
                                  "more budget; optionally its parameter file")


class EvaluationPlan(Strict):
    """One evaluation: recordings or a dataset, a model, corruptions, policies and budgets."""

    sources: tuple[str, ...] = Field(min_length=1, description="dataset folder, or one or several rosbag2 recordings")
    kind: Annotated[str, AfterValidator(_check_kind)] = Field(
        default="shards", description="format of the source (default: bag for recordings, shards otherwise)")
    split: str = Field(default="test_time", description="split of a dataset")
    model: str = Field(description="model folder")
    corruptions: tuple[Annotated[str, AfterValidator(_check_corruption)], ...] = Field(
        default=(CLEAN,), description="corruption presets, or clean; one block of results each")
    variant: Literal["paper", "code"] = Field(
        default="paper", description="presets as described in the paper, or as in the official code")
    budgets: tuple[Limit, ...] = Field(default=(None,), description="limits per frame; inf for no limit (default: inf)")
    unit: BudgetUnit = Field(default="layers", description="unit of the limits")
    policies: tuple[str, ...] = Field(
        default=(), description=f"allocation policies: {', '.join(POLICIES)}; random:SEED, only:rgb, "
                                "static:rgb=6,depth=6, best_static:FILE and oracle:FILE of `admn rank` (default: the "
                                "one that the node uses for the model)")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(default=0, description="seed of corruptions and intervals")
    limit: Count | None = Field(
        default=None, description="largest number of frames of the dataset or of each recording, evenly spaced "
                                  "(default: all)")
    rate_hz: Positive | None = Field(default=None, description="frame rate in Hz, required for budgets in watts")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="device that runs the model")
    engine: Literal["torch", "onnxruntime"] = Field(
        default="torch", description="what computes the network; onnxruntime needs a model folder of `admn export`")
    providers: tuple[str, ...] = Field(
        default=(), description="execution providers of onnxruntime, in order of preference (default: "
                                "CUDAExecutionProvider on a GPU, else the CPU)")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="precision of the layers of the backbones, in torch: all on a GPU, "
                                       "bfloat16 on processors that have it; float16 with TensorRT")
    bag: BagPlan | None = None

    @field_validator("corruptions")   # with min_length, a wrong name would count as a second problem
    @classmethod
    def _some(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError(f"at least one of {', '.join((CLEAN, *CORRUPTIONS))}")
        return names

    @field_validator("corruptions", "budgets", "policies", "sources")
    @classmethod
    def _once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) != len(values):
            raise ValueError("has an entry twice")
        return values

    @field_validator("policies")
    @classmethod
    def _told_apart(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len({shown_policy(name) for name in names}) != len(names):
            raise ValueError("has two files of the same name; results name policies without folders")
        return names

    @property
    def runtime(self) -> RuntimeChoice:
        """Choice of what computes the network."""
        return RuntimeChoice(self.engine, self.providers, self.precision)

    @property
    def settings(self) -> dict[str, Any]:
        """All settings without paths of sources and model, as JSON values."""
        found: dict[str, Any] = self.model_dump(mode="json", exclude={"sources", "model"})
        return found

    def identity(self) -> dict[str, Any]:
        """Return the identity of the evaluation as JSON values. It has the names of folders, not their paths.

        Raises:
            InputError: a source or the model cannot be read.
        """
        sources = [{"name": Path(s).name, "fingerprint": source_fingerprint(Path(s), self.split)} for s in self.sources]
        settings = self.settings
        for name in ("truth", "trace", "governor"):
            file = Path(settings["bag"][name] or "") if settings["bag"] else Path()
            if file.is_file():
                settings["bag"][name] = file_identity(file)
        settings["policies"] = [shown_policy(name) for name in self.policies]
        files = [file_identity(file) for file in map(policy_file, self.policies) if file is not None]
        if files:
            settings["policy_files"] = files
        return {"version": __version__, "settings": settings, "sources": sources,
                "model": {"name": Path(self.model).name, "fingerprint": model_fingerprint(Path(self.model))}}


def model_fingerprint(folder: Path) -> str:
    """Return a hash of all files that determine the output of a model.

    Raises:
        InputError: the folder cannot be read.
    """
    return fingerprint((folder / name for name in (CONFIG, WEIGHTS, COSTS, LEGACY)), folder, whole=True)
