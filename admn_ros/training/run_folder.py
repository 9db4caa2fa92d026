# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: atomic checkpoints, and metrics as CSV, JSON lines and TensorBoard events."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from tensorboardX import SummaryWriter
from torch import Tensor, optim

from admn_ros.errors import ConfigError, InputError
from admn_ros.files import read_json, write_errors, write_text
from admn_ros.training.stage import Stage

FORMAT = "admn-run-1"
WEIGHTS, BEST, OPTIMIZER, META = "weights.safetensors", "best.safetensors", "optimizer.pt", "run.json"
LINES, TABLE, EVENTS = "metrics.jsonl", "metrics.csv", "tensorboard"
_PREFIX, _PARTIAL = "checkpoint-", ".partial-"
_COPIES = 10
"""Required disk space per byte of trained weights: current and best weights and Adam's two moments, all twice while a
checkpoint is replaced, and the model."""

Row = dict[str, Any]
"""Metrics of an epoch by name, with `epoch` from 1."""


@dataclass(frozen=True)
class RunState:
    """State of a run at the end of an epoch.

    Attributes:
        epochs_done: number of finished epochs.
        rows: metrics of all epochs so far.
        best: trained weights of the best epoch, on the CPU; None if the run keeps its last weights.
    """

    epochs_done: int
    rows: list[Row]
    best: Mapping[str, Tensor] | None = None


class RunFolder:
    """The folder that a run writes.

    Args:
        path: folder, created if needed.
        identity: JSON values that a run must share with the checkpoint that it resumes from.
        frozen: fingerprint of the stage, which it must share too.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], frozen: str) -> None:
        self.path, self._frozen = path, frozen
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._events: SummaryWriter | None = None

    def begin(self, stage: Stage, *, resume: bool) -> None:
        """Check before training that the run can write its folder, and remove partial files.

        Raises:
            InputError: the folder cannot be written, has too little space, or has a run and `resume` is False.
        """
        trained = sum(p.numel() * p.element_size() for p in stage.trainable().values())
        with write_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / f"{_PARTIAL}probe"
            try:
                _write(probe, b"x" * 4096)
            finally:
                probe.unlink(missing_ok=True)
            free = shutil.disk_usage(self.path).free
            for left in self.path.glob(f"{_PARTIAL}*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        if free < _COPIES * trained:
            raise InputError(f"free space in {self.path}", f"{free / 2**20:.0f} MiB",
                             f"at least {_COPIES * trained / 2**20:.0f} MiB")
        if self._checkpoints() and not resume:
            raise InputError(str(self.path), "an earlier run", "a new folder, or resume")

    def save(self, stage: Stage, optimizer: optim.Optimizer, state: RunState) -> None:
        """Write a checkpoint and the metrics. The old checkpoint is removed when the new one is complete.

        Raises:
            InputError: the disk is full or the folder cannot be written.
        """
        final = self.path / f"{_PREFIX}{state.epochs_done:05d}"
        partial = self.path / f"{_PARTIAL}{final.name}"
        meta = {"format": FORMAT, "epochs_done": state.epochs_done, "rows": state.rows, "identity": self._identity,
                "frozen": self._frozen}
        buffer = io.BytesIO()
        torch.save(optimizer.state_dict(), buffer)
        with write_errors(self.path):
            try:
                partial.mkdir(parents=True)
                # Serialized in memory: written directly, the savers do not report a full disk as OSError.
                _write(partial / WEIGHTS, save_tensors(trained_weights(stage)))
                if state.best is not None:
                    _write(partial / BEST, save_tensors(dict(state.best)))
                _write(partial / OPTIMIZER, buffer.getbuffer())
                _write(partial / META, json.dumps(meta).encode())
                partial.replace(final)
            except OSError:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            for old in self._checkpoints()[:-1]:
                shutil.rmtree(old)
            self._write_metrics(state.rows)

    def restore(self, stage: Stage, optimizer: optim.Optimizer) -> RunState:
        """Load the newest checkpoint into stage and optimizer; without a checkpoint the run is at its start.

        Raises:
            ConfigError: the checkpoint is of a run with another configuration or other frozen weights.
            InputError: a file of the checkpoint is broken.
        """
        found = self._checkpoints()
        if not found:
            return RunState(0, [])
        folder = found[-1]
        meta = _read_meta(folder)
        self._check(meta["identity"], folder)
        if meta["frozen"] != self._frozen:
            raise ConfigError(f"{folder}: frozen weights", "those of another model",
                              "those of the model folder that the run started from")
        device = next(iter(stage.trainable().values())).device
        try:
            assign(stage, load_tensors((folder / WEIGHTS).read_bytes()), folder)
            best = load_tensors((folder / BEST).read_bytes()) if (folder / BEST).exists() else None
            state = torch.load(folder / OPTIMIZER, map_location=device, weights_only=True)
            optimizer.load_state_dict(state)
        except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, EOFError) as error:
            if isinstance(error, InputError):
                raise
            reason = " ".join(str(error).split())
            raise InputError(str(folder), f"a broken checkpoint ({reason})", "a checkpoint written by a run") from error
        return RunState(meta["epochs_done"], meta["rows"], best)

    def _check(self, other: Mapping[str, Any], folder: Path) -> None:
        mine = _flat(self._identity)
        theirs = _flat(other)
        for key in sorted(mine.keys() | theirs.keys()):
            if mine.get(key) != theirs.get(key):
                raise ConfigError(f"{folder}: {key}", mine.get(key), f"{theirs.get(key)}, as in the checkpoint")

    def _checkpoints(self) -> list[Path]:
        """Return the complete checkpoints, oldest first."""
        return sorted(self.path.glob(f"{_PREFIX}*"))

    def _write_metrics(self, rows: list[Row]) -> None:
        # Rewritten as a whole: epochs are few, and the files always match the checkpoint.
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = io.StringIO()
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write_text(self.path / LINES, lines)
        write_text(self.path / TABLE, table.getvalue())
        if self._events is None:
            # A resumed run hides what an interrupted run wrote from this epoch on. The writer's queue is unbounded:
            # its thread ends when the disk is full, and a full queue would then block.
            self._events = SummaryWriter(str(self.path / EVENTS), purge_step=len(rows) if len(rows) > 1 else None,
                                         max_queue=0, flush_secs=10, filename_suffix=f".{time.time_ns()}")
        for name, value in rows[-1].items():
            if name != "epoch":
                self._events.add_scalar(name, value, rows[-1]["epoch"])

    def close(self) -> None:
        """Close the TensorBoard writer."""
        if self._events is not None:
            self._events.close()


def trained_weights(stage: Stage) -> dict[str, Tensor]:
    """Return copies of the trained weights of a stage, on the CPU."""
    return {name: p.detach().to("cpu", copy=True).contiguous() for name, p in stage.trainable().items()}


def assign(stage: Stage, weights: Mapping[str, Tensor], place: Path) -> None:
    """Copy weights into a stage.

    Args:
        stage: stage to change.
        weights: trained weights by name.
        place: origin of the weights, for error messages.

    Raises:
        ConfigError: names or shapes are not those of the trained weights of the stage.
    """
    parameters = stage.trainable()
    shapes = {name: tuple(p.shape) for name, p in parameters.items()}
    found = {name: tuple(w.shape) for name, w in weights.items()}
    if shapes != found:
        wrong = sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name))
        raise ConfigError(f"{place}: {wrong[0]}", found.get(wrong[0]), shapes.get(wrong[0]))
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


def _write(path: Path, data: bytes | memoryview) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_meta(folder: Path) -> dict[str, Any]:
    meta = read_json(folder / META)
    if meta.get("format") != FORMAT:
        raise InputError(str(folder / META), f"format {meta.get('format')}", FORMAT)
    return meta


def _flat(values: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Flatten nested mappings to dotted names, so that an error can name a difference."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{place}{key}.")
        else:
            flat[f"{place}{key}"] = value
    return flat
