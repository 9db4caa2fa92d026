# SPDX-License-Identifier: Apache-2.0
"""Reading of files: what is no file, too large or something else is refused, in bounded time and memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from admn_ros.config import read_yaml
from admn_ros.datasets.caches import load_cache
from admn_ros.datasets.hdf5_stream import Hdf5Stream
from admn_ros.errors import InputError
from admn_ros.evaluation.budgets import TracedBudget
from admn_ros.files import MAX_JSON, MAX_TEXT, read_bytes, read_json, read_text
from admn_ros.model.official.safe_unpickle import read_foreign, read_safetensors
from admn_ros.replay.track_file import read_track

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n"


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, found in ((tmp_path / "pipe", "a device or a pipe"), (Path("/dev/zero"), "a device or a pipe"),
                        (tmp_path, "Is a directory"), (tmp_path / "none", "No such file or directory"),
                        (tmp_path / "a\0b", "unreadable")):
        with pytest.raises(InputError, match=f"found {found}; allowed: a file"):
            read_bytes(path, "a file")


def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 41)
    for read, most in ((read_text, MAX_TEXT), (read_json, MAX_JSON)):
        with pytest.raises(InputError, match=f"found {1 << 41} bytes; allowed: a text of at most {most} bytes"):
            read(tmp_path / "large", "a text")


@pytest.mark.parametrize(("content", "found"), [
    ("a: 1".encode("utf-16"), "text in UTF-16; allowed: a text in UTF-8"),
    (b"\x7fELF\x80", "bytes that are not UTF-8; allowed: a text in UTF-8"),
    (POINTER.encode(), "a Git LFS pointer; `git lfs pull` downloads the file; allowed: a text"),
    (b"\n <!DOCTYPE html>\n<html>", "a web page; allowed: a text"),
    (b'\xef\xbb\xbf<?xml version="1.0"?><Error/>', "an XML document, such as the error of a download; allowed: a text"),
])
def test_other_content_is_named(content: bytes, found: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_text(tmp_path / "file", "a text")
    assert str(caught.value) == f"{tmp_path / 'file'}: found {found}"


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_text(tmp_path / "file", "a text") == '{"a": 1}' and read_json(tmp_path / "file") == {"a": 1}


@pytest.mark.parametrize(("text", "found"), [
    ("[" * 100_000, "nested too deeply"), ('{"a": ' + "1" * 5000 + "}", "a number of 5000 characters"),
    ("[1]", "list"), ("", "an unreadable file (Expecting value")])
def test_json_is_bounded(text: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(InputError) as caught:
        read_json(tmp_path / "file")
    assert found in str(caught.value) and "\n" not in str(caught.value)


def test_every_reader_of_files_refuses_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "mocap.hdf5").symlink_to("/dev/zero")
    readers: list[Callable[[Path], object]] = [
        read_yaml, load_cache, read_foreign, Hdf5Stream, read_safetensors, lambda path: read_track(path, 0),
        lambda path: TracedBudget(path, 0.0)]
    for read in readers:
        for path in (tmp_path / "pipe", tmp_path / "mocap.hdf5"):
            with pytest.raises(InputError, match="found a device or a pipe"):
                read(path)
