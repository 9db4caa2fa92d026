# SPDX-License-Identifier: Apache-2.0
"""Reading of foreign checkpoints as plain tensors, without running code in them."""

from __future__ import annotations

import argparse
import contextlib
import zipfile
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from admn_ros.errors import ModelError

PICKLED, SAFE = (".pt", ".pth", ".bin"), ".safetensors"
WRAPPERS = ("model", "state_dict", "model_state_dict")


@dataclass(frozen=True)
class ImportReport:
    """Result of an import, printed as a few lines.

    Attributes:
        loaded: own weights that were loaded, some with another number of channels.
        interpolated: own weights that were loaded from a resampled tensor.
        ignored: foreign tensors without a counterpart.
        missing: own weights without a foreign counterpart, which are unchanged.
        notes: notes for the user, one sentence each.
    """

    loaded: tuple[str, ...]
    interpolated: tuple[str, ...]
    ignored: tuple[str, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> list[tuple[str, int, str]]:
        """Category, number of tensors, and their modules."""
        return [(what, len(names), _parts(names)) for what, names in (
            ("loaded", self.loaded), ("interpolated", self.interpolated), ("ignored", self.ignored),
            ("missing", self.missing))]

    def __str__(self) -> str:
        lines = [f"{what}: {count} ({parts})" if count else f"{what}: none" for what, count, parts in self.rows]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def read_foreign(path: str | Path) -> dict[str, Tensor]:
    """Read the weights of a foreign checkpoint, on the CPU.

    PyTorch files are read with `weights_only`, so that no code in them runs. The weights may be wrapped in `model`,
    `state_dict` or `model_state_dict`, and their names may start with `module.`.

    Args:
        path: checkpoint (.pt, .pth, .bin or .safetensors).

    Raises:
        ModelError: the file is missing, broken or of another type, has no weights, has objects that only code could
            rebuild, or has tensors that are larger than the file.
    """
    path = Path(path)
    if not path.exists():
        raise ModelError.missing(str(path), "a checkpoint file")
    if not path.is_file():
        raise ModelError(str(path), "a folder", "a checkpoint file")
    if path.suffix == SAFE:
        try:
            held: object = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ModelError(str(path), f"a broken file ({_line(error)})", "a complete safetensors file") from error
    elif path.suffix in PICKLED:
        held = _read_pickled(path)
    else:
        raise ModelError(str(path), f"a {path.suffix or 'nameless'} file", ", ".join((*PICKLED, SAFE)))
    for wrapper in _chain(held):
        held = wrapper
    weights = {str(name).removeprefix("module."): value for name, value in held.items()
               if isinstance(value, Tensor)} if isinstance(held, dict) else {}
    if not weights:
        raise ModelError(str(path), f"a {type(held).__name__} without weights", "a dict of tensors")
    for name, value in weights.items():
        _check_plain(f"{path}: {name}", value)
    return weights


def _check_plain(place: str, value: Tensor) -> None:
    """Refuse tensors that are not stored value by value: a few bytes could declare a huge one."""
    if value.layout is not torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
        raise ModelError(place, "a sparse, quantized, complex or empty tensor", "plain numbers")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ModelError(place, f"shape {tuple(value.shape)} with fewer stored values", "a tensor with all its values")


def _read_pickled(path: Path) -> object:
    _check_stored(path)
    # Training scripts store their command line beside the weights. A Namespace is a plain record, which weights_only
    # rebuilds without running code; PyTorch before 2.5 has no way to allow it.
    allow = getattr(torch.serialization, "safe_globals", None)
    context: AbstractContextManager[object] = allow([argparse.Namespace]) if allow else contextlib.nullcontext()
    try:
        with context:
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # PyTorch raises several types here, one of them from a module that this package must not import.
        if "weights_only" in str(error) or "Weights only" in str(error):
            raise ModelError(str(path), "objects that only code could rebuild, or a broken file",
                             "plain tensors; save the state dict alone") from error
        raise ModelError(str(path), f"a broken file ({_line(error)})", "a complete PyTorch file") from error


def _check_stored(path: Path) -> None:
    """Refuse compressed archives, which may grow when they are read; PyTorch writes archives uncompressed.

    Raises:
        ModelError: the archive is broken or compressed.
    """
    if not zipfile.is_zipfile(path):
        return  # PyTorch's older format, or not a checkpoint
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ModelError(str(path), f"a broken file ({_line(error)})", "a complete PyTorch file") from error
    if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > \
            path.stat().st_size:
        raise ModelError(str(path), "a compressed archive", "a file as torch.save writes it")


def _chain(held: object) -> Iterable[object]:
    """Yield the contents of the wrappers, from outside to inside."""
    while isinstance(held, dict):
        inner = next((held[w] for w in WRAPPERS if isinstance(held.get(w), dict)), None)
        if inner is None:
            return
        held = inner
        yield held


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _parts(names: Iterable[str]) -> str:
    """List the modules of weight names, at most two levels deep, with their counts."""
    counts = Counter(_part(name) for name in names)
    return ", ".join(f"{part} x{n}" if n > 1 else part for part, n in counts.items())


def _part(name: str) -> str:
    steps = name.split(".")[:-1] or [name]
    until = next((i for i, step in enumerate(steps) if step.isdigit()), len(steps))
    return ".".join(steps[:max(1, min(until, 2))])
