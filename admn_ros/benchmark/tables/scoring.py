# SPDX-License-Identifier: Apache-2.0
"""Figures of a contender on the test split, and of networks of which layers are removed; as they are kept in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from admn_ros.baselines.orders import every_other
from admn_ros.benchmark.tables.config import Cell, Method
from admn_ros.benchmark.tables.contenders import Run
from admn_ros.config import Strict
from admn_ros.errors import InputError
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.training.data import LabeledBatch, Samples
from admn_ros.training.losses import CM_PER_M, distances_m

LEFT = 0.05
"""A mean error less than this share below the constant predictor's means that nothing was learned."""


class ErrorFigures(Strict):
    """Distances to the truth, cm, over test samples with a car; accuracy of the class over all."""

    mean_cm: float
    median_cm: float
    p95_cm: float
    accuracy: float


class Costs(Strict):
    """Of the frames of the test split. violations: frames that ran more layers than the budget."""

    layers_mean: float
    layers_max: int
    gflops_mean: float
    gflops_max: float
    violations: int


class Effort(Strict):
    """The method's own last training: epochs' wall time and that of the search before it, seconds."""

    learning_rate: float
    price: float
    seconds: float
    search_seconds: float


class CellResult(Strict):
    """One JSON file.

    constant_mean_cm, constant_median_cm: of the training split's mean position, on the test split.
    removed: for layer removal, figures by modality (or "all") and number of removed layers.
    config: fingerprint of the configuration.
    """

    format: Literal["admn-table-cell-1"] = "admn-table-cell-1"
    corruption: str
    method: Method
    layers: int | None
    seed: int
    errors: ErrorFigures
    constant_mean_cm: float
    constant_median_cm: float
    costs: Costs | None = None
    training: Effort | None = None
    removed: dict[str, dict[int, ErrorFigures]] = Field(default={})
    config: str
    command: str
    torch: str
    device: str

    @property
    def cell(self) -> Cell:
        """Where it belongs."""
        return Cell(self.corruption, self.method, self.layers, self.seed)

    @property
    def at_constant(self) -> bool:
        """Whether the method does no better than a constant answer."""
        return self.errors.mean_cm > (1 - LEFT) * self.constant_mean_cm


class _Tally:
    def __init__(self) -> None:
        self._distances: list[Tensor] = []
        self._right: list[Tensor] = []

    def add(self, output: NetworkOutput, batch: LabeledBatch) -> None:
        self._distances.append((CM_PER_M * distances_m(output, batch))[batch.located].cpu())
        self._right.append((output.class_logits.argmax(dim=1) == batch.label)[batch.label >= 0].float().cpu())

    def figures(self) -> ErrorFigures:
        distances = torch.cat(self._distances).double()
        if not len(distances):
            raise InputError("test split", "no sample with a car", "at least one")
        return ErrorFigures(mean_cm=_rounded(distances.mean()), median_cm=_rounded(distances.median()),
                            p95_cm=_rounded(distances.quantile(0.95)), accuracy=_rounded(torch.cat(self._right).mean()))


def score(run: Run, batches: Iterable[LabeledBatch], layers: int | None) -> tuple[ErrorFigures, Costs]:
    """Errors and costs of a contender over a split; `layers` is the budget that must be kept, if there is one."""
    tally, ran, gflops = _Tally(), [], []
    with torch.inference_mode():
        for batch in batches:
            routed = run(batch)
            tally.add(routed.estimate, batch)
            ran.append(routed.layers.cpu())
            gflops.append(routed.gflops.cpu())
    used, cost = torch.cat(ran).long(), torch.cat(gflops).double()
    over = 0 if layers is None else int((used > layers).sum())
    return tally.figures(), Costs(
        layers_mean=_rounded(used.double().mean()), layers_max=int(used.max()), violations=over,
        gflops_mean=_rounded(cost.mean(), 6), gflops_max=_rounded(cost.max(), 6))


def score_removal(network: AdmnNetwork, samples: Samples, batch: int,
                  device: torch.device) -> dict[str, dict[int, ErrorFigures]]:
    """Errors when layers of one modality, or of each, are left out in the every-other order (Section A.4)."""
    depths = network.config.depths
    result: dict[str, dict[int, ErrorFigures]] = {}
    groups = {**{str(m): (m,) for m in depths}, "all": tuple(depths)}
    for name, part in groups.items():
        most = min(depths[m] for m in part)
        result[name] = {}
        for removed in range(most):
            plan = {m: every_other(d, d - removed) if m in part else tuple(range(d)) for m, d in depths.items()}
            tally = _Tally()
            with torch.inference_mode():
                for on_cpu in samples.batches(0, batch, shuffle=False):
                    there = on_cpu.to(device)
                    tally.add(network.estimate(there.samples, plan), there)
            result[name][removed] = tally.figures()
    return result


def constant_cm(train_m: Tensor, test_m: Tensor) -> tuple[float, float]:
    """Mean and median error, cm, of the training's mean position; positions (S, 3) with NaN where there is none."""
    train, test = (x[x.isfinite().all(dim=1), :2].double() for x in (train_m, test_m))
    distances = CM_PER_M * (test - train.mean(dim=0)).norm(dim=1)
    return _rounded(distances.mean()), _rounded(distances.median())


def read_results(folder: Path, fingerprint: str | None = None) -> dict[Cell, CellResult]:
    """Results in a folder, of one configuration if it is named.

    Raises:
        InputError: a file cannot be read.
    """
    found: dict[Cell, CellResult] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            result = CellResult.model_validate_json(path.read_text(encoding="utf-8"), strict=False)
        except (OSError, ValidationError, ValueError) as error:
            raise InputError(str(path), " ".join(str(error).split())[:200], "a cell of the result tables") from error
        if fingerprint is None or result.config == fingerprint:
            found[result.cell] = result
    return found


def as_json(result: CellResult) -> Mapping[str, object]:
    """What is written."""
    content: Mapping[str, object] = json.loads(result.model_dump_json())
    return content


def _rounded(value: Tensor, digits: int = 3) -> float:
    return round(float(value), digits)
