# SPDX-License-Identifier: Apache-2.0
"""Safe reading of pickled caches of other projects.

A pickle is a program that names functions and calls them. This reader allows only the few names that rebuild arrays,
scalars and tensors. They are bound to stand-ins, which check their arguments, as NumPy's own functions do not. Any
other name raises an error, and no code of the pickle is executed.
"""

from __future__ import annotations

import io
import pickle  # only here; see the class below and test/test_house.py
import pickletools
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from admn_ros.errors import InputError
from admn_ros.files import read_bytes

MAX_BYTES = 4 << 30
"""Size limit of a file in bytes."""
_ALLOWED = "arrays, numbers, strings, lists, tuples, dicts and sets"
_KINDS = "biufcSU"  # kinds of dtypes without pointers
_MAX_DEPTH = 64
Item = Any  # the content of a pickle is known only after reading


def load_cache(path: str | Path) -> Item:
    """Read a pickle, or a file of `torch.save`, of arrays and plain Python values.

    Tensors become arrays, including tensors of a GPU. A file of `torch.save` is read by torch with weights_only.

    Raises:
        InputError: the file cannot be read, is broken or cut off, is larger than `MAX_BYTES`, or contains anything but
            arrays and plain values. The message gives a forbidden name.
    """
    path = Path(path)
    data = read_bytes(path, "a cache file", MAX_BYTES)
    if data[:4] == b"PK\x03\x04":
        return _plain(_torch_load(data, str(path)), str(path))
    _check_program(data, str(path))
    try:
        item = _ArrayUnpickler(io.BytesIO(data)).load()
    except InputError as error:
        raise error.within(str(path)) from error
    except Exception as error:  # Untrusted instructions can fail in any way.
        raise _broken(str(path), error) from error
    return _plain(item, str(path))


def _broken(place: str, error: Exception) -> InputError:
    return InputError(place, f"a broken pickle ({' '.join(str(error).split())[:200] or type(error).__name__})",
                      f"a complete pickle of {_ALLOWED}")


def _torch_load(data: bytes, place: str) -> Item:
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        # Torch's message goes on to recommend switching the check off.
        reason = " ".join(str(error).split())[:160]
        raise InputError(place, f"a torch file that is broken or holds more than tensors ({reason})",
                         f"tensors, {_ALLOWED}") from error


def _check_program(data: bytes, place: str) -> None:
    """Check for what the unpickler does not handle: forbidden names, huge memo indices, a cut-off end."""
    stream = io.BytesIO(data)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            _check_instruction(opcode.name, argument, len(data))
    except InputError as error:
        raise error.within(place) from error
    except Exception as error:
        raise _broken(place, error) from error
    if stream.read(1):
        raise InputError(place, "bytes after the end of the pickle", "one pickle")


def _check_instruction(name: str, argument: object, size: int) -> None:
    if name == "GLOBAL":
        module, _, item = str(argument).partition(" ")
        _rebuilder(module, item)
    elif name in ("INST", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"):
        raise InputError("instruction", name, _ALLOWED)
    elif name in ("PUT", "BINPUT", "LONG_BINPUT") and int(str(argument)) > size:
        # The memo is a table that grows to its largest index.
        raise InputError("memo index", argument, f"at most {size}, the size of the file")


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that knows only the names in `_REBUILDERS`, bound to the stand-ins."""

    def find_class(self, module: str, name: str) -> Callable[..., Item]:
        return _rebuilder(module, name)


def _rebuilder(module: str, name: str) -> Callable[..., Item]:
    found = _REBUILDERS.get((module.replace("numpy._core", "numpy.core"), name))
    if found is None:
        raise InputError("pickle", f"{module}.{name}", _ALLOWED)
    return found


# --- stand-ins -------------------------------------------------------------------------------------


class _Name:
    """Stand-in of a permitted name. A pickle can call it but not modify it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Item]) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> Item:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise InputError("pickle", "a state for a function", _ALLOWED)


class _DType:
    """Stand-in of numpy.dtype: a kind without pointers, whose state sets only the byte order."""

    def __init__(self, code: str, align: object = False, copy: object = False) -> None:
        dtype = np.dtype(code) if isinstance(code, str) else None
        if dtype is None or dtype.kind not in _KINDS or dtype.fields is not None or dtype.subdtype is not None:
            raise InputError("dtype", repr(code), f"kinds {_KINDS}")
        self.dtype = dtype

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise InputError("dtype", "fields or an odd byte order", "a plain dtype")
        self.dtype = self.dtype if order in "|=" else self.dtype.newbyteorder(order)


class _Rebuilt:
    """Stand-in of an array that gets its content with its state."""

    def __init__(self) -> None:
        self.array: npt.NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        self.array = _from_buffer(raw, dtype, shape, "F" if fortran else "C")


def _no_call(*arguments: object) -> Item:
    raise InputError("pickle", "a call of numpy.ndarray", "numpy.ndarray as an argument alone")


_NDARRAY = _Name(_no_call)


def _reconstruct(kind: object, shape: object, code: object) -> _Rebuilt:
    if kind is not _NDARRAY:
        raise InputError("array", "a subclass of numpy.ndarray", "numpy.ndarray")
    return _Rebuilt()


def _from_buffer(raw: object, dtype: object, shape: object, order: object) -> npt.NDArray[Any]:
    """Return an array of the bytes; the sizes must match."""
    if not isinstance(dtype, _DType) or not isinstance(raw, bytes | bytearray) or not isinstance(shape, tuple):
        raise InputError("array", f"{type(raw).__name__} and {type(dtype).__name__}", "bytes and a dtype")
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise InputError("array", f"shape {shape}", "sizes")
    flat: npt.NDArray[Any] = np.frombuffer(raw, dtype.dtype) if raw else np.empty(0, dtype.dtype)
    # A copy, because the caller may write into the array.
    copied: npt.NDArray[Any] = flat.reshape(shape, order="F" if order == "F" else "C").copy(order="K")
    return copied


def _scalar(dtype: object, raw: object) -> Item:
    return _from_buffer(_latin(raw, "latin1") if isinstance(raw, str) else raw, dtype, (), "C")[()]


def _latin(text: object, encoding: object) -> bytes:
    """Stand-in of _codecs.encode, which protocols below 3 use to write bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise InputError("encode", repr(encoding), "latin1")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Stand-in of bytes, which protocols below 3 call without arguments. A number would allocate memory."""
    return b""


def _bytearray(data: object = b"", encoding: object = None) -> bytearray:
    """Stand-in of bytearray for bytes, or for a string in protocols below 3. A number would allocate memory."""
    if not isinstance(data, bytes | str):
        raise InputError("bytearray", type(data).__name__, "bytes")
    return bytearray(data if isinstance(data, bytes) else _latin(data, encoding))


def _storage(data: object) -> Item:
    """Stand-in of torch.storage._load_from_bytes, which reads a file of `torch.save` inside the pickle."""
    if not isinstance(data, bytes):
        raise InputError("tensor", type(data).__name__, "bytes")
    return _torch_load(data, "tensor")


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...],
            *ignored: object) -> npt.NDArray[Any]:
    if not isinstance(storage, torch.TypedStorage):
        raise InputError("tensor", type(storage).__name__, "a storage")
    held = storage._untyped_storage.nbytes() // storage.dtype.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min((offset, *size, *stride)) < 0 or (0 not in size and last >= held):
        raise InputError("tensor", f"size {size}, stride {stride}, offset {offset}", f"{held} values")
    # Strides of 0 could expand a small storage.
    if int(np.prod(size, dtype=np.float64)) > held:
        raise InputError("tensor", f"size {size}", f"at most {held} values")
    tensor = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage, offset, size, stride)
    copied: npt.NDArray[Any] = tensor.numpy().copy()
    return copied


_FUNCTIONS: dict[tuple[str, str], Callable[..., Item]] = {
    ("numpy", "dtype"): _DType, ("numpy", "ndarray"): _NDARRAY,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct, ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("collections", "OrderedDict"): OrderedDict, ("_codecs", "encode"): _latin,
    ("builtins", "set"): set, ("builtins", "frozenset"): frozenset, ("builtins", "complex"): complex,
    ("__builtin__", "set"): set, ("__builtin__", "frozenset"): frozenset, ("__builtin__", "complex"): complex,
    ("builtins", "bytearray"): _bytearray, ("__builtin__", "bytearray"): _bytearray,
    ("__builtin__", "bytes"): _no_bytes,
    ("torch.storage", "_load_from_bytes"): _storage, ("torch._utils", "_rebuild_tensor_v2"): _tensor,
}
_REBUILDERS = {names: f if isinstance(f, _Name) else _Name(f) for names, f in _FUNCTIONS.items()}


# --- after reading ---------------------------------------------------------------------------------


_LEAVES = (bool, int, float, complex, str, bytes, bytearray, type(None), np.generic, np.ndarray)


def _plain(item: Item, place: str) -> Item:
    """Replace stand-ins and tensors with arrays in nested containers."""
    try:
        return _convert(item, {}, 0)
    except InputError as error:
        raise error.within(place) from error
    except (TypeError, RuntimeError) as error:  # arrays as keys; tensors without a NumPy type (bfloat16, sparse)
        raise InputError(place, " ".join(str(error).split())[:160], _ALLOWED) from error


def _convert(x: Item, done: dict[int, Item], depth: int) -> Item:
    """Convert an item once; `done` has the converted items by identity."""
    if depth > _MAX_DEPTH:
        raise InputError("containers", f"nested more than {_MAX_DEPTH} deep", "a plain cache")
    if id(x) not in done:
        done[id(x)] = _convert_once(x, done, depth + 1)
    return done[id(x)]


def _convert_once(x: Item, done: dict[int, Item], depth: int) -> Item:
    if isinstance(x, _Rebuilt) and x.array is not None:
        return x.array
    if isinstance(x, torch.Tensor):
        return x.detach().numpy()
    if isinstance(x, dict):
        return {_convert(k, done, depth): _convert(v, done, depth) for k, v in x.items()}
    for kind in (list, tuple, set, frozenset):
        if isinstance(x, kind):
            return kind(_convert(v, done, depth) for v in x)
    if not isinstance(x, _LEAVES):
        raise InputError("pickle", f"a bare {type(x).__name__}", _ALLOWED)
    return x
