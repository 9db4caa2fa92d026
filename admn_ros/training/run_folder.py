# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: checkpoints that are whole or not there, and its figures: CSV, JSON lines, TensorBoard."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, optim

from admn_ros.errors import ConfigError, InputError
from admn_ros.training.event_file import EventFile
from admn_ros.training.stage import Stage

FORMAT = "admn-run-1"
WEIGHTS, BEST, OPTIMIZER, META = "weights.safetensors", "best.safetensors", "optimizer.pt", "run.json"
LINES, TABLE, EVENTS = "metrics.jsonl", "metrics.csv", "tensorboard"
_PREFIX, _PARTIAL = "checkpoint-", ".partial-"
_COPIES = 10
"""Disk wanted per byte of trained weights: they, the best, Adam's two moments, all twice while replaced; the model."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Progressed:
    """State of a run at the end of an epoch.

    rows: figures of all epochs so far.
    best: trained weights of the best epoch, on the CPU; None when the last are kept.
    """

    epochs_done: int
    rows: list[Row]
    best: Mapping[str, Tensor] | None = None


class RunFolder:
    """Where a run writes.

    Args:
        path: created if needed.
        identity: JSON values that a run must share with the checkpoint it goes on from.
        frozen: fingerprint of its stage, likewise.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], frozen: str) -> None:
        self.path, self._frozen = path, frozen
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._events: EventFile | None = None

    def begin(self, stage: Stage, *, resume: bool) -> None:
        """Make sure early that the run can write here.

        Raises:
            InputError: the folder cannot be written, has too little space, or holds a run that is not resumed.
        """
        trained = sum(p.numel() * p.element_size() for p in stage.trainable().values())
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / f"{_PARTIAL}probe"
            _write(probe, b"x" * 4096)
            probe.unlink()
            free = shutil.disk_usage(self.path).free
            for left in self.path.glob(f"{_PARTIAL}*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        except OSError as error:
            raise _unwritable(self.path, error) from error
        if free < _COPIES * trained:
            raise InputError(f"free space in {self.path}", f"{free / 2**20:.0f} MiB",
                             f"at least {_COPIES * trained / 2**20:.0f} MiB")
        if self._checkpoints() and not resume:
            raise InputError(str(self.path), "a run", "a new folder, or resume")

    def save(self, stage: Stage, optimizer: optim.Optimizer, state: Progressed) -> None:
        """Write a checkpoint and the figures. The old checkpoint goes when the new one is whole.

        Raises:
            InputError: the disk is full or the folder cannot be written.
        """
        final = self.path / f"{_PREFIX}{state.epochs_done:05d}"
        partial = self.path / f"{_PARTIAL}{final.name}"
        meta = {"format": FORMAT, "epochs_done": state.epochs_done, "rows": state.rows, "identity": self._identity,
                "frozen": self._frozen}
        buffer = io.BytesIO()
        torch.save(optimizer.state_dict(), buffer)
        try:
            partial.mkdir(parents=True)
            # Through memory: of the two savers one says a full disk as RuntimeError and one in words of its own.
            _write(partial / WEIGHTS, save_tensors(trained_weights(stage)))
            if state.best is not None:
                _write(partial / BEST, save_tensors(dict(state.best)))
            _write(partial / OPTIMIZER, buffer.getbuffer())
            _write(partial / META, json.dumps(meta).encode())
            partial.replace(final)
            for old in self._checkpoints()[:-1]:
                shutil.rmtree(old)
            self._write_figures(state.rows)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise _unwritable(self.path, error) from error

    def restore(self, stage: Stage, optimizer: optim.Optimizer) -> Progressed:
        """Load the newest checkpoint into stage and optimizer; a folder without one is at its beginning.

        Raises:
            ConfigError: the checkpoint is of a run with another configuration or other frozen weights.
            InputError: a file of it is broken.
        """
        found = self._checkpoints()
        if not found:
            return Progressed(0, [])
        folder = found[-1]
        meta = _read_meta(folder)
        self._check(meta["identity"], folder)
        if meta["frozen"] != self._frozen:
            raise ConfigError(f"{folder}: frozen weights", "those of another model",
                              "the model folder that the run began from")
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
            raise InputError(str(folder), f"a broken checkpoint ({reason})", "one that a run wrote") from error
        return Progressed(meta["epochs_done"], meta["rows"], best)

    def _check(self, other: Mapping[str, Any], folder: Path) -> None:
        mine = _flat(self._identity)
        theirs = _flat(other)
        for key in sorted(mine.keys() | theirs.keys()):
            if mine.get(key) != theirs.get(key):
                raise ConfigError(f"{folder}: {key}", mine.get(key), f"{theirs.get(key)}, with which the run began")

    def _checkpoints(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return sorted(self.path.glob(f"{_PREFIX}*"))

    def _write_figures(self, rows: list[Row]) -> None:
        """Written anew each time: epochs are few, and what is there always fits the checkpoint."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = io.StringIO()
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        for name, text in ((LINES, lines), (TABLE, table.getvalue())):
            partial = self.path / f"{_PARTIAL}{name}"
            _write(partial, text.encode())
            partial.replace(self.path / name)
        self._events = self._events or EventFile(self.path / EVENTS, first_epoch=len(rows))
        self._events.write(rows[-1])

    def close(self) -> None:
        """Close what is open."""
        if self._events is not None:
            self._events.close()


def trained_weights(stage: Stage) -> dict[str, Tensor]:
    """Copies of what a stage trains, on the CPU."""
    return {name: p.detach().to("cpu", copy=True).contiguous() for name, p in stage.trainable().items()}


def assign(stage: Stage, weights: Mapping[str, Tensor], place: Path) -> None:
    """Put weights into a stage.

    Raises:
        ConfigError: names or shapes are not those that the stage trains.
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


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(str(path), error.strerror or "unwritable", "a writable folder with space")


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(str(folder / META), f"nothing that can be read ({error})", "JSON") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(str(folder / META), "another format", FORMAT)
    return meta


def _flat(values: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Nested mappings to dotted names, so that a difference can be named."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{place}{key}.")
        else:
            flat[f"{place}{key}"] = value
    return flat
