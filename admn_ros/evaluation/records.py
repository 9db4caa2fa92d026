# SPDX-License-Identifier: Apache-2.0
"""What was seen frame by frame, as columns: NumPy arrays of equal length.

N frames, V variants (every policy with every budget), M modalities and L layers in the model's order, K classes.

    index (N,)               number of the sample, or of the frame in its bag
    stamp_ns (N,)            of the frame
    scene (N,)               recording that the frame is of
    position_m (N, 3)        truth; NaN where there is none
    label (N,)               true class, -1 where unknown
    severity (N, M)          of the corruption that was injected; 0 is clean
    kind (N, M)              its name, or "clean"
    nodes (N, M)             present sensor nodes
    latent (N, D)            the controller's embedding under the first variant; NaN where it was not asked
    mean_m (N, V, 3), covariance_m2 (N, V, 3, 3)   NaN where nothing ran
    scores (N, V, K)         probabilities of the classes; NaN where nothing ran
    qoi (N, V, M)            NaN where not judged
    active (N, V, L)         whether a layer ran, counted as it ran
    cost (N, V, M), spent, granted (N, V), unit (N, V)   what was spent and granted, in the unit
    violation (N, V)         the layers that ran cost more than was granted
    unlike (N, V)            the layers that ran are not those that were listed
    reason (N, V)            of the allocation
    source (N, V)            who asked for the budget
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from admn_ros.config import ModelConfig
from admn_ros.errors import InputError
from admn_ros.evaluation.layer_meter import Layers
from admn_ros.inference.engine import Estimate
from admn_ros.sample import Modality, MultimodalSample
from admn_ros.sensing.corruption.corruption import CorruptionLabel

Columns = dict[str, npt.NDArray[Any]]
TIMES = ("controller_ms", "network_ms")
CLEAN = CorruptionLabel()


class FrameRows:
    """Gathers frames into columns. Times, which differ from run to run, are columns of their own.

    Args:
        config: of the model.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._rows: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def begin(self, index: int, scene: str, sample: MultimodalSample,
              labels: Mapping[Modality, CorruptionLabel]) -> None:
        """Start a frame; its variants follow in order."""
        target, modalities = sample.target, self._config.modalities
        done = [labels.get(m, CLEAN) for m in modalities]
        self._rows.append({
            "index": index, "stamp_ns": sample.stamp_ns, "scene": scene,
            "position_m": (math.nan,) * 3 if target is None else target.position_m,
            "label": -1 if target is None else target.label,
            "severity": [label.severity for label in done], "kind": [label.kind for label in done],
            "nodes": [int(sample.present[m].sum()) if m in sample.present else 0 for m in modalities]})

    def put_latent(self, latent: npt.NDArray[np.float64]) -> None:
        """The controller's embedding (D,) of the frame."""
        self._rows[-1]["latent"] = latent.astype(np.float32)

    def add(self, estimate: Estimate, ran: Layers, violation: bool) -> None:
        """What one variant gave for the frame."""
        row, config, a = self._rows[-1], self._config, estimate.allocation
        nothing = (np.full(3, np.nan), np.full((3, 3), np.nan), np.full(len(config.classes), np.nan))
        values = {
            "mean_m": nothing[0] if estimate.mean_m is None else estimate.mean_m,
            "covariance_m2": nothing[1] if estimate.covariance_m2 is None else estimate.covariance_m2,
            "scores": nothing[2] if estimate.scores is None else estimate.scores,
            "qoi": [estimate.qoi.get(m, math.nan) for m in config.modalities],
            "active": [i in ran[m] for m, depth in config.depths.items() for i in range(depth)],
            "cost": [a.cost.get(m, 0.0) for m in config.modalities],
            "spent": a.spent, "granted": a.granted_limit, "unit": a.granted_unit, "violation": violation,
            "unlike": any(ran[m] != a.active.get(m, ()) for m in config.modalities),
            "reason": str(a.reason), "source": a.requested.source,
            "controller_ms": estimate.controller_ms, "network_ms": estimate.network_ms}
        for name, value in values.items():
            row.setdefault(name, []).append(value)

    def take(self) -> Columns:
        """Columns of the frames so far, which are then forgotten."""
        rows, self._rows = self._rows, []
        if not rows:
            return {}
        return {name: np.asarray([row[name] for row in rows]) for name in rows[0]}


def join(parts: Sequence[Columns]) -> Columns:
    """Columns one after another; empty parts are left out."""
    full = [part for part in parts if part]
    return {name: np.concatenate([part[name] for part in full]) for name in full[0]} if full else {}


def split_times(columns: Columns) -> tuple[Columns, Columns]:
    """What repeats exactly, and the times."""
    return ({k: x for k, x in columns.items() if k not in TIMES}, {k: x for k, x in columns.items() if k in TIMES})


def write_columns(path: Path, columns: Columns) -> None:
    """Write an .npz, whole or not at all; the same columns give the same bytes.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    partial = path.with_name(f".partial-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez_compressed(file, **columns)  # type: ignore[arg-type]
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(str(path), error.strerror or "unwritable", "a writable folder with space") from error


def read_columns(path: Path) -> Columns:
    """Read an .npz of `write_columns`.

    Raises:
        InputError: it is missing or broken.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib and NumPy each have errors of their own for broken files
        raise InputError(str(path), f"nothing that can be read ({error})", "a file of `admn evaluate`") from error
