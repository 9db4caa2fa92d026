# SPDX-License-Identifier: Apache-2.0
"""Pickles: arrays are read, any other name raises an error, and no code is executed."""

from __future__ import annotations

import builtins
import collections
import functools
import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from admn_ros.datasets.caches import load_cache
from admn_ros.errors import InputError


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def reread(tmp_path: Path, item: object, protocol: int) -> Any:
    path = tmp_path / "tmp.pickle"
    path.write_bytes(pickle.dumps(item, protocol=protocol))
    return load_cache(path)


@pytest.mark.parametrize("protocol", range(6))
def test_what_the_official_caches_hold(tmp_path: Path, protocol: int) -> None:
    rng = np.random.default_rng(0)
    item = {
        ("mocap", "mocap"): {"gt_positions": rng.normal(size=(1, 3)), "gt_ids": [3], "gt_rot": np.eye(3)[None]},
        ("zed_camera_left", "node_1"): rng.random((3, 27, 48), dtype=np.float32),
        ("realsense_camera_depth", "node_1"): rng.random((12, 16)).astype(np.float16),
        ("gamma", "gamma"): np.float64(5.0), "tuple": ((np.zeros((1, 8, 4), np.float32), np.int64(3)), 2),
        "odd": (None, True, 2**70, -1.5, "ä", b"\x00\xff", {1, 2}, frozenset((3,)), 2j, bytearray(b"ab")),
        "orders": [np.asfortranarray(rng.random((3, 4))), rng.random((4, 6))[::2, ::3], np.arange(3, dtype=">i4"),
                   np.zeros((0, 3), np.uint8), np.array(7), np.array(["red", "green"]), np.array([True, False])],
    }
    assert same(item, reread(tmp_path, item, protocol))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=hnp.arrays(st.one_of(hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(),
                                  hnp.boolean_dtypes()), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)),
       protocol=st.integers(0, 5))
def test_any_array(tmp_path: Path, array: np.ndarray, protocol: int) -> None:
    assert same(array, reread(tmp_path, array, protocol))


@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_in_pickles_and_torch_files(tmp_path: Path, protocol: int) -> None:
    tensor = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    item = {"data": {("a", "node_1"): tensor, "view": tensor[:, 1, ::2]}, "gt_pos": torch.tensor([1, 2]), "n": 3}
    expected = {"data": {("a", "node_1"): tensor.numpy(), "view": tensor[:, 1, ::2].numpy()},
                "gt_pos": np.array([1, 2]), "n": 3}
    assert same(expected, reread(tmp_path, item, protocol))
    torch.save(item, tmp_path / "zip.pt")
    assert same(expected, load_cache(tmp_path / "zip.pt"))


# --- what is refused -------------------------------------------------------------------------------


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def hostile(target: Path) -> dict[str, object]:
    make = f"open({str(target)!r}, 'w')"
    return {
        "system": Call(os.system, f"touch {target}"), "eval": Call(eval, make), "exec": Call(exec, make),
        "open": Call(open, str(target), "w"), "getattr": Call(getattr, os, "system"),
        "import": Call(builtins.__import__, "os"), "mkdir": Call(os.mkdir, str(target)),
        "partial": Call(functools.partial, os.mkdir, str(target)), "numpy load": Call(np.load, str(target)),
        "numpy save": Call(np.save, str(target), [1]), "torch load": Call(torch.load, str(target)),
        "deque": collections.deque([1]), "path": Path("x"), "nested": {"a": [1, (Call(os.mkdir, str(target)),)]},
        "in an array": np.array([Call(os.mkdir, str(target))], dtype=object), "structured": np.zeros(2, "i4,f4"),
        "exception": ValueError("x"), "range": range(3), "matrix": np.ma.zeros(3), "when": np.datetime64(1, "s"),
    }


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_foreign_is_ever_called(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "created"
    for name, item in hostile(target).items():
        if name == "getattr":
            continue  # a module cannot be pickled; its bytes are below
        with pytest.raises(InputError) as caught:
            reread(tmp_path, item, protocol)
        assert not target.exists(), name
        assert "tmp.pickle" in str(caught.value)


def test_the_payloads_would_work(tmp_path: Path) -> None:
    """The test above proves nothing unless the payload does create the file for a careless reader."""
    target = tmp_path / "created"
    pickle.loads(pickle.dumps(hostile(target)["system"]))
    assert target.exists()


@pytest.mark.parametrize(("item", "name"), [
    (Call(os.system, "true"), r"(posix|nt)\.system"), (Call(eval, "1"), r"(__builtin__|builtins)\.eval"),
    (collections.deque([1]), r"collections\.deque"), (Path("x"), r"pathlib")])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_the_forbidden_name_is_named(tmp_path: Path, item: object, name: str, protocol: int) -> None:
    with pytest.raises(InputError, match=name):
        reread(tmp_path, item, protocol)


def module_name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


STACK_GLOBAL = b"\x80\x04" + text("os") + text("system") + b"\x93" + text("touch created") + b"\x85R."
RAW = {
    "stack global": (STACK_GLOBAL, r"os\.system"),
    "instance": (b"(S'touch created'\nios\nsystem\n.", "INST"),
    "dotted name": (module_name("numpy", "dtype.__class__") + b".", r"dtype\.__class__"),
    "renamed module": (module_name("numpy.core._core.multiarray", "scalar") + b".", "numpy"),
    "extension": (b"\x80\x02\x82\x01.", "EXT1"),
    "persistent": (b"Pname\n.", "PERSID"),
    "bare function": (module_name("_codecs", "encode") + b".", "bare"),
    "changed function": (module_name("_codecs", "encode") + b"}(S'__doc__'\nS'x'\nub.", "state"),
    "changed by slots": (module_name("_codecs", "encode") + b"N}(S'x'\nI1\nu\x86b.", "state"),
    "new object": (b"\x80\x02" + module_name("collections", "OrderedDict") + b")\x81.", "NEWOBJ"),
    "codec": (module_name("_codecs", "encode") + b"(S'x'\nS'zlib'\ntR.", "latin1"),
    "object dtype": (module_name("numpy", "dtype") + b"(S'O8'\ntR.", "kinds"),
    "dtype of fields": (module_name("numpy", "dtype") + b"(S'i4,O'\ntR.", "kinds"),
    "called array": (module_name("numpy", "ndarray") + b"((I2\ntR.", "pickle"),
    "empty array": (module_name("numpy.core.multiarray", "_reconstruct") + module_name("numpy", "ndarray")
                    + b"(I0\ntS'b'\n\x87R.", "bare"),
    "array of another class": (module_name("numpy.core.multiarray", "_reconstruct") + module_name("numpy", "dtype")
                               + b"(I0\ntS'b'\n\x87R.", "subclass"),
    "memo bomb": (b"\x80\x02K\x01r\xff\xff\xff\xff.", "memo index"),
    "size for bytes": (b"c__builtin__\nbytearray\n(I9999999999999\ntR.", "bytearray"),
    "huge bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b".", "broken"),
    "huge bytearray": (b"\x80\x05\x96" + struct.pack("<Q", 1 << 50) + b".", "broken"),
    "out of band": (b"\x80\x05\x97.", "broken"),
    "no end": (b"\x80\x04K\x01", "broken"),
    "two": (b"\x80\x04K\x01.\x80\x04K\x02.", "after the end"),
    "cycle": (b"\x80\x02]q\x00h\x00a.", "nested"),
    "unhashable key": (b"\x80\x02}]K\x01s.", "unhashable"),
    "nothing": (b"", "broken"),
    "noise": (bytes(range(256)), "broken"),
    "zip": (b"PK\x03\x04 and no more", "torch file"),
}


@pytest.mark.parametrize("name", RAW)
def test_handmade_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    data, words = RAW[name]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "cache.pickle"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        load_cache(path)
    assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def test_shared_parts_do_not_multiply(tmp_path: Path) -> None:
    """Thirty lists, each with the one before twice: 2^30 entries if shared parts were not seen as such."""
    item: list[Any] = [np.zeros(2)]
    for _ in range(30):
        item = [item, item]
    found = reread(tmp_path, item, 4)
    assert found[0] is found[1]


@pytest.mark.parametrize(("offset", "size", "stride"), [
    (0, (2, 3), (300, 1)), (5, (2, 3), (3, 1)), (0, (600, 3), (0, 0)), (-1, (2,), (1,)), (0, (2,), (-1,)),
    (0, (1 << 40, 1 << 40), (0, 0)), (0, (2,), (1, 1)), ("x", (2,), (1,))])
def test_tensors_that_reach_beyond_their_storage(tmp_path: Path, offset: Any, size: Any, stride: Any) -> None:
    storage = torch.TypedStorage(wrap_storage=torch.arange(6.0).untyped_storage(), dtype=torch.float32, _internal=True)
    build = torch._utils._rebuild_tensor_v2
    good = reread(tmp_path, Call(build, storage, 0, (2, 3), (3, 1), False, collections.OrderedDict()), 2)
    assert np.array_equal(good, np.arange(6.0).reshape(2, 3))
    with pytest.raises(InputError):
        reread(tmp_path, Call(build, storage, offset, size, stride, False, collections.OrderedDict()), 2)


def test_lies_about_sizes(tmp_path: Path) -> None:
    good = pickle.dumps(np.arange(6, dtype=np.float32), protocol=2)
    for old, new in ((b"K\x06\x85", b"K\x07\x85"), (b"K\x06\x85", b"K\x05\x85"), (b"f4", b"f8"), (b"f4", b"O8")):
        assert good.count(old) == 1
        (tmp_path / "x").write_bytes(good.replace(old, new))
        with pytest.raises(InputError):
            load_cache(tmp_path / "x")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.booleans())
def test_broken_bytes_give_a_value_or_one_error(tmp_path: Path, at: int, value: int, cut: bool) -> None:
    buffer = io.BytesIO()
    pickle.dump({("a", 1): np.arange(5.0), "t": torch.ones(2), "s": np.float32(1)}, buffer, protocol=2)
    data = bytearray(buffer.getvalue())
    data[at % len(data)] = value
    (tmp_path / "x").write_bytes(data[:at % len(data)] if cut else data)
    try:
        load_cache(tmp_path / "x")
    except InputError as error:
        assert str(tmp_path) in str(error)


def test_torch_files_of_more_than_tensors(tmp_path: Path) -> None:
    target = tmp_path / "created"
    torch.save({"x": Call(os.mkdir, str(target))}, tmp_path / "x.pt")
    torch.save({"x": torch.zeros(2, dtype=torch.bfloat16)}, tmp_path / "b.pt")
    for name in ("x.pt", "b.pt", "absent"):
        with pytest.raises(InputError, match=name):
            load_cache(tmp_path / name)
    assert not target.exists()
