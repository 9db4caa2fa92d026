# SPDX-License-Identifier: Apache-2.0
"""Per-frame records of an evaluation, as columns: NumPy arrays of equal length.

Shapes: N frames, V contenders (every policy with every budget), M modalities and L layers in the model's order,
K classes, D dimensions of the controller's embedding, I inputs: sensor nodes in order for each modality in order.

    column                   content
    index (N,)               number of the sample in its dataset, or of the frame in its bag
    stamp_ns (N,)            stamp of the frame, nanoseconds
    scene (N,)               recording that the frame belongs to
    position_m (N, 3)        true position; NaN where unknown
    label (N,)               true class; -1 where unknown
    severity (N, M)          severity of the injected corruption in [0, 1]; 0 is clean
    kind (N, M)              name of the injected corruption, or "clean"
    nodes (N, M)             number of present sensor nodes
    latent (N, D)            embedding of the controller, first contender; NaN where the controller did not run
    mean_m (N, V, 3)         estimated position; NaN where nothing ran
    covariance_m2 (N, V, 3, 3)  covariance of the position; NaN where nothing ran
    scores (N, V, K)         class probabilities; NaN where nothing ran
    qoi (N, V, M)            quality of information in (0, 1]; NaN where not estimated
    active (N, V, L)         layers that ran, as counted during execution
    used (N, V, M)           number of sensor nodes that ran, as counted during execution
    cost (N, V, M)           cost of each modality as allocated, in `unit`
    spent, granted (N, V)    cost of the frame as allocated, and the budget, in `unit`
    unit (N, V)              unit of the budget
    violation (N, V)         whether what ran costs more than the budget
    unlike (N, V)            whether what ran differs from the allocation
    reason (N, V)            reason of the allocation
    source (N, V)            source of the budget request
    value (N, V, I)          predicted value of each input; NaN where it is not known
    input_cost (N, V, I)     cost of each input, in `unit`
    ran (N, V, I)            whether it ran
    why (N, V, I)            why it ran or not, UTF-8; empty if the method does not say
    gflops (N, V)            operations of the frame; only where the contenders count them
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from admn_ros.config import ModelConfig
from admn_ros.errors import InputError
from admn_ros.evaluation.layer_meter import Layers
from admn_ros.files import replacing
from admn_ros.inference.engine import Estimate
from admn_ros.model.allocation import InputChoice
from admn_ros.sample import Modality, MultimodalSample
from admn_ros.scoring.metrics import Floats
from admn_ros.sensing.corruption.corruption import CorruptionLabel

Columns = dict[str, npt.NDArray[Any]]
TIMES = ("controller_ms", "network_ms")
"""Columns that differ from run to run."""


def layer_counts(active: npt.NDArray[Any], depths: Iterable[int]) -> npt.NDArray[np.int64]:
    """Return the number of executed layers (..., M) of each modality.

    Args:
        active: executed layers (..., L), as in the column of this name.
        depths: layers of each backbone.
    """
    starts = np.cumsum([0, *depths])[:-1]
    counts: npt.NDArray[np.int64] = np.add.reduceat(active, starts, axis=-1, dtype=np.int64)
    return counts
CLEAN = CorruptionLabel()


@dataclass(frozen=True)
class Outcome:
    """Result of one contender for one frame.

    Attributes:
        estimate: estimate with its allocation.
        layers: layers that ran, as counted during execution.
        nodes: number of sensor nodes that ran, per modality, as counted during execution.
        violation: whether they cost more than the budget.
        latent: embedding (D,) of the controller; None where it did not run.
        gflops: operations of the frame; None where they are not counted.
    """

    estimate: Estimate
    layers: Layers
    nodes: Mapping[Modality, int]
    violation: bool
    latent: Floats | None = None
    gflops: float | None = None


class FrameRows:
    """Collects frames and turns them into columns.

    Args:
        config: description of the model.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._rows: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def begin(self, index: int, scene: str, sample: MultimodalSample,
              corruption: Mapping[Modality, CorruptionLabel]) -> None:
        """Start a frame; the outcomes of its contenders follow in order."""
        target, modalities = sample.target, self._config.modalities
        labels = [corruption.get(m, CLEAN) for m in modalities]
        self._rows.append({
            "index": index, "stamp_ns": sample.stamp_ns, "scene": scene,
            "position_m": (math.nan,) * 3 if target is None else target.position_m,
            "label": -1 if target is None else target.label,
            "severity": [label.severity for label in labels], "kind": [label.kind for label in labels],
            "nodes": [len(nodes) for nodes in sample.present_nodes(modalities).values()]})

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of the next contender to the current frame."""
        row, config, estimate = self._rows[-1], self._config, outcome.estimate
        ran, a = outcome.layers, estimate.allocation
        if "latent" not in row:
            latent = np.full(config.qoi.dim, np.nan) if outcome.latent is None else outcome.latent
            row["latent"] = latent.astype(np.float32)
        nothing = (np.full(3, np.nan), np.full((3, 3), np.nan), np.full(len(config.classes), np.nan))
        values = {
            "mean_m": nothing[0] if estimate.mean_m is None else estimate.mean_m,
            "covariance_m2": nothing[1] if estimate.covariance_m2 is None else estimate.covariance_m2,
            "scores": nothing[2] if estimate.scores is None else estimate.scores,
            "qoi": [estimate.qoi.get(m, math.nan) for m in config.modalities],
            "active": [i in ran[m] for m, depth in config.depths.items() for i in range(depth)],
            "cost": [a.cost.get(m, 0.0) for m in config.modalities],
            "spent": a.spent, "granted": a.granted_limit, "unit": a.granted_unit, "violation": outcome.violation,
            "used": [outcome.nodes[m] for m in config.modalities],
            "unlike": any(ran[m] != a.active.get(m, ()) or (m in a.nodes and outcome.nodes[m] != len(a.nodes[m]))
                          for m in config.modalities),
            "reason": str(a.reason), "source": a.requested.source,
            "controller_ms": estimate.controller_ms, "network_ms": estimate.network_ms}
        if outcome.gflops is not None:
            values["gflops"] = outcome.gflops
        values |= self._inputs(a.inputs)
        for name, value in values.items():
            row.setdefault(name, []).append(value)

    def _inputs(self, inputs: Sequence[InputChoice]) -> dict[str, Any]:
        """Return what was decided about each input; methods with a network of their own do not say."""
        count = len(self._config.modalities) * len(self._config.sensor_nodes)
        if not inputs:
            return {"value": [math.nan] * count, "input_cost": [0.0] * count, "ran": [False] * count,
                    "why": [b""] * count}
        return {"value": [i.value for i in inputs], "input_cost": [i.cost for i in inputs],
                "ran": [i.ran for i in inputs], "why": [i.why.encode() for i in inputs]}

    def take(self) -> Columns:
        """Return the columns of the frames so far, and start anew."""
        rows, self._rows = self._rows, []
        if not rows:
            return {}
        return {name: np.asarray([row[name] for row in rows]) for name in rows[0]}


def join(parts: Sequence[Columns]) -> Columns:
    """Concatenate columns; empty parts are skipped."""
    full = [part for part in parts if part]
    return {name: np.concatenate([part[name] for part in full]) for name in full[0]} if full else {}


def split_times(columns: Columns) -> tuple[Columns, Columns]:
    """Split columns into those that repeat exactly and the measured times."""
    return ({k: x for k, x in columns.items() if k not in TIMES}, {k: x for k, x in columns.items() if k in TIMES})


def write_columns(path: Path, columns: Columns) -> None:
    """Write an .npz file, whole or not at all; equal columns give equal bytes.

    Raises:
        InputError: the file cannot be written.
    """
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **columns)  # type: ignore[arg-type]


def read_columns(path: Path) -> Columns:
    """Read an .npz file of `write_columns`.

    Raises:
        InputError: the file is missing or broken.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib and NumPy each raise errors of their own for broken files
        raise InputError(str(path), f"an unreadable file ({error})", "a file of `admn evaluate`") from error
