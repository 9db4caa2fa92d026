# SPDX-License-Identifier: Apache-2.0
"""Files written whole or not at all, files read in bounded memory, JSON, and fingerprints."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from admn_ros.errors import InputError

WRITABLE = "a writable folder with space"
MAX_TEXT: Final = 1 << 20
"""Largest text that people write by hand, in bytes."""
MAX_JSON: Final = 64 << 20
"""Largest JSON file, in bytes."""
MAX_DATA: Final = 1 << 30
"""Largest file that is read whole, in bytes."""
MAX_DIGITS: Final = 64
"""Characters of a number in a JSON file."""
_WHOLE_BYTES = 1 << 20
"""Half of the largest file that is hashed whole; of larger ones both ends and the size are."""


@contextmanager
def write_errors(path: Path, allowed: str = WRITABLE) -> Iterator[None]:
    """Turn an `OSError` of the block into an `InputError` that names the path.

    Args:
        path: file or folder that the block writes.
        allowed: what the error message asks for.

    Raises:
        InputError: the block raised an `OSError`.
    """
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(str(path), "a file in the place of a folder", allowed) from error
    except OSError as error:
        found = error.strerror or (f"an incomplete write ({error})" if str(error) else "unwritable")
        raise InputError(str(path), found, allowed) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields:
        Partial file beside `path`, with the same suffix; their folder is created if needed. The partial file takes the
        place of `path` when the block succeeds, and is removed when the block fails.

    Raises:
        InputError: the file cannot be written.
    """
    partial = path.with_name(f".partial-{path.name}")
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Write a folder whole or not at all.

    Yields:
        New, empty folder beside `path`. It takes the place of `path` when the block succeeds, and is removed when the
        block fails.

    Raises:
        InputError: the folder cannot be made or replaced. Errors of the block are its own.
    """
    partial = path.with_name(f".partial-{path.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with write_errors(path):
            partial.mkdir(parents=True)
        yield partial
        with write_errors(path):
            if path.is_dir():
                shutil.rmtree(path)
            partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files by name into a folder: all of them, or none.

    Raises:
        InputError: a file cannot be written.
    """
    new = not folder.exists()
    try:
        with ExitStack() as files:
            for name, content in contents.items():
                files.enter_context(replacing(folder / name)).write_bytes(content)
    except BaseException:
        if new:
            with suppress(OSError):
                folder.rmdir()
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all.

    Raises:
        InputError: the file cannot be written.
        ValueError: a value is NaN or infinite.
    """
    write_text(path, json_text(value))


def json_text(value: Mapping[str, Any]) -> str:
    """Format a mapping as JSON, the way `write_json` stores it."""
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def read_bytes(path: Path, allowed: str, most: int = MAX_DATA) -> bytes:
    """Read a file; what is no file, such as a device or a pipe, is neither waited for nor read.

    Args:
        path: file to read.
        allowed: what the error message asks for.
        most: largest size in bytes.

    Raises:
        InputError: the file cannot be read, or is too large.
    """
    data, size = _content(path, allowed, most + 1)
    if len(data) > most:
        raise InputError(str(path), f"{max(len(data), size)} bytes", f"{allowed} of at most {most} bytes")
    return data


def read_head(path: Path, allowed: str, most: int = 512) -> bytes:
    """Read the beginning of a file, and refuse what is no file or holds something else (`other_content`).

    Args:
        path: file to read.
        allowed: what the error message asks for.
        most: number of bytes.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    head, _ = _content(path, allowed, most)
    other = other_content(head)
    if other is not None:
        raise InputError(str(path), other, allowed)
    return head


def _content(path: Path, allowed: str, most: int) -> tuple[bytes, int]:
    """Return the first bytes of a file, at most `most`, and its size."""
    try:
        # Without O_NONBLOCK, opening a pipe waits for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            regular = stat.S_ISREG(status.st_mode)
            data = file.read(most) if regular else b""
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise InputError(str(path), getattr(error, "strerror", None) or "unreadable", allowed) from error
    if not regular:
        raise InputError(str(path), "a device or a pipe", allowed)
    return data, status.st_size


def read_text(path: Path, allowed: str, most: int = MAX_TEXT) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Args:
        path: file to read.
        allowed: what the error message asks for.
        most: largest size in bytes.

    Raises:
        InputError: the file cannot be read, is too large, or is no text in UTF-8.
    """
    read_head(path, allowed)
    data = read_bytes(path, allowed, most)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = "text in UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "bytes that are not UTF-8"
        raise InputError(str(path), found, f"{allowed} in UTF-8") from error


def other_content(head: bytes) -> str | None:
    """Name what often lies in the place of a file after a download that failed; None for anything else.

    Args:
        head: beginning of the file, 64 bytes or more.
    """
    start = head[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer; `git lfs pull` downloads the file"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if start.startswith((b"<?xml", b"<error")):
        return "an XML document, such as the error of a download"
    return None


def parse_json(text: str) -> object:
    """Parse JSON whose numbers have at most `MAX_DIGITS` characters.

    Raises:
        ValueError: the text is not JSON, is nested too deeply, or has a longer number.
    """
    try:
        return json.loads(text, parse_int=_short_int)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _short_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} characters")
    return int(digits)


def read_json(path: Path, allowed: str = "a JSON file") -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: file to read.
        allowed: what the error message asks for.

    Raises:
        InputError: the file is missing, too large, is not JSON, or holds no object.
    """
    try:
        found = parse_json(read_text(path, allowed, MAX_JSON))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(path), f"an unreadable file ({error})", allowed) from error
    if not isinstance(found, dict):
        raise InputError(str(path), type(found).__name__, "a JSON object")
    return found


def cache_folder() -> Path:
    """Return the folder for files that can be made again: `$ADMN_CACHE`, or `admn_ros` in the user's cache."""
    own = os.environ.get("ADMN_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "admn_ros"


def file_identity(file: Path) -> dict[str, str]:
    """Return the name and the hash of a file.

    Raises:
        InputError: the file cannot be read.
    """
    return {"name": file.name, "fingerprint": fingerprint([file], file.parent)}


def source_fingerprint(path: Path, split: str | None = None) -> str:
    """Hash the names, sizes and ends of the files of a recording or dataset.

    Args:
        path: bag file, bag folder or dataset folder.
        split: only this split of a dataset counts.

    Raises:
        InputError: the path does not exist.
    """
    if path.is_file():
        return fingerprint([path], path.parent)
    if not path.is_dir():
        raise InputError.missing(str(path), "a dataset folder or a recording")
    part = path if split is None or not (path / split).is_dir() else path / split
    files = sorted(p for p in part.rglob("*") if p.is_file())
    return fingerprint([*(path / name for name in ("plan.json", "dataset.json")), *files], path)


def fingerprint(files: Iterable[Path], folder: Path, *, whole: bool = False) -> str:
    """Hash files with their names below `folder`; files that do not exist are left out.

    Args:
        files: in the order in which they are hashed.
        folder: names in the hash are relative to it.
        whole: hash every byte, of large files too.

    Raises:
        InputError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        if not file.is_file():
            continue
        try:
            with file.open("rb") as opened:
                size = opened.seek(0, 2)
                opened.seek(0)
                digest.update(f"{file.relative_to(folder)} {size}\n".encode())
                if whole or size <= 2 * _WHOLE_BYTES:
                    while chunk := opened.read(_WHOLE_BYTES):
                        digest.update(chunk)
                else:
                    digest.update(opened.read(_WHOLE_BYTES))
                    opened.seek(-_WHOLE_BYTES, 2)
                    digest.update(opened.read())
        except OSError as error:
            raise InputError(str(file), error.strerror or "unreadable", "a readable file") from error
    return digest.hexdigest()
