# SPDX-License-Identifier: Apache-2.0
"""Reading of foreign checkpoints as plain tensors, without running code in them."""

from __future__ import annotations

import argparse
import contextlib
import re
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

from admn_ros.errors import InputError, ModelError
from admn_ros.files import read_head
from admn_ros.model.official.state_dict import find_weights

CHECKPOINT = "a checkpoint as torch.save or safetensors writes it"
OTHERS = ((b"\x1f\x8b", 0, "a gzip archive; unpack it"), (b"BZh", 0, "a bzip2 archive; unpack it"),
          (b"\xfd7zXZ", 0, "an xz archive; unpack it"), (b"\x28\xb5\x2f\xfd", 0, "a zstd archive; unpack it"),
          (b"7z\xbc\xaf", 0, "a 7z archive; unpack it"), (b"ustar", 257, "a tar archive; unpack it"),
          (b"\x89HDF", 0, "an HDF5 file"), (b"\x93NUMPY", 0, "a NumPy array"), (b"GGUF", 0, "a GGUF file"))
"""Bytes at an offset by which files are known that are no checkpoints, and what they are."""
STARTS = (b"PK", b"\x80")
"""Beginnings of what torch.save writes: an archive, or a pickle of its older format."""


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


def read_foreign(path: str | Path, key: str | None = None) -> dict[str, Tensor]:
    """Read the weights of a foreign checkpoint, on the CPU, by their plain names (`find_weights`).

    The content of the file decides how it is read, not its name. PyTorch files are read with `weights_only`, so that no
    code in them runs.

    Args:
        path: checkpoint of PyTorch or safetensors.
        key: where the weights are in the file; None for the usual places.

    Raises:
        ModelError: the file is missing, broken or of another type, has no weights, has objects that only code could
            rebuild, or has tensors that are larger than the file.
    """
    path = Path(path)
    if not path.exists():
        raise ModelError.missing(str(path), "a checkpoint file")
    weights = find_weights(_read(path), str(path), key)
    for name, value in weights.items():
        _check_plain(f"{path}: {name}", value)
    return weights


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file on the CPU.

    Raises:
        ModelError: the file is missing, broken, or something else.
    """
    _head(path)
    try:
        weights: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(str(path), f"a broken file ({_line(error)})", "a complete safetensors file") from error
    return weights


def _read(path: Path) -> object:
    head = _head(path)
    if head[8:9] == b"{":
        return read_safetensors(path)
    if path.suffix == ".safetensors":
        raise ModelError(str(path), "a broken file (no safetensors header)", "a complete safetensors file")
    if not head.startswith(STARTS):
        raise ModelError(str(path), f"a broken or other file, which begins with {head[:24]!r}", CHECKPOINT)
    return _read_pickled(path)


def _head(path: Path) -> bytes:
    """Return the first bytes of a file that may be a checkpoint."""
    try:
        head = read_head(path, CHECKPOINT)
    except InputError as error:
        raise ModelError(error.field, error.found, error.allowed) from error
    found = next((what for magic, at, what in OTHERS if head[at:at + len(magic)] == magic), None) if head else \
        "an empty file"
    if found is not None:
        raise ModelError(str(path), found, CHECKPOINT)
    return head


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
            named = re.search(r"GLOBAL ([\w.]+)", str(error))
            found = f"objects that only code could rebuild ({named[1]})" if named else \
                "objects that only code could rebuild, or a broken file"
            raise ModelError(str(path), found, f"plain tensors: save the state dict alone, or {CHECKPOINT}") from error
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
    if not any(e.filename.endswith("data.pkl") for e in entries):
        raise ModelError(str(path), f"a zip archive with {entries[0].filename if entries else 'nothing'}", CHECKPOINT)
    if any("/code/" in e.filename for e in entries):
        raise ModelError(str(path), "a program of TorchScript", f"its state dict, in {CHECKPOINT}")
    if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > \
            path.stat().st_size:
        raise ModelError(str(path), "a compressed archive", "a file as torch.save writes it")


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
