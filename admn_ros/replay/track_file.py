# SPDX-License-Identifier: Apache-2.0
"""Reader of files of ground truth: positions over time in CSV and TUM tables, in the time of a recording."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np

from admn_ros.errors import InputError
from admn_ros.files import read_bytes, read_head
from admn_ros.replay.ground_truth import NS, Track
from admn_ros.replay.track_columns import (
    Columns,
    is_number,
    named_columns,
    names_a_position,
    split_cells,
    unnamed_columns,
)
from admn_ros.replay.track_times import NS_PER, BagTimes, find_scale

KIND = "a CSV or TUM file of positions"
COMMENTS = ("#", "%")
WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""Beginnings of texts in UTF-16."""
LARGEST_TIME = Decimal(10) ** 19
"""Bound of the times of a file, in any unit."""
LARGEST_STAMP_NS = 2**63 - 1


@dataclass(frozen=True)
class _Line:
    """Line of a file, with its number, counted from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class _Row:
    """Time in the unit of the file, and position in metres."""

    line: int
    time: Decimal
    position_m: tuple[float, float, float]


def read_track(path: Path, bag: BagTimes) -> Track:
    """Read a track from a file.

    A line without a finite position is left out; the origin of the track counts these lines.

    Args:
        path: table of CSV or TUM kind; see `admn_ros.replay.track_columns`.
        bag: times of the recording, by which unit and origin of the times are understood.

    Raises:
        InputError: the file cannot be read, a line is malformed, times do not ascend, or they do not overlap with the
            recording.
    """
    comments, lines = _read_lines(path)
    columns, lines = _columns(path, comments, lines)
    rows = [_row(path, line, columns) for line in lines]
    finite = [row for row in rows if np.isfinite(row.position_m).all()]
    if not finite:
        raise InputError(str(path), "no finite position", KIND)
    _check_order(path, finite)
    scale = find_scale(f"{path}: {columns.named}", [float(row.time) for row in finite], columns.unit, bag)
    stamps_ns = [scale.origin_ns + round(row.time * NS_PER[scale.unit]) for row in finite]
    if max(map(abs, stamps_ns)) > LARGEST_STAMP_NS:
        raise InputError(f"{path}: {columns.named}", f"{finite[-1].time}", "times that fit in 64 bits of nanoseconds")
    origin = f"{path.name}, in {scale}"
    if len(finite) < len(rows):
        first = next(row.line for row in rows if not np.isfinite(row.position_m).all())
        origin += f"; {len(rows) - len(finite)} lines without a position left out, the first is line {first}"
    return Track.of(np.array(stamps_ns, np.int64), np.array([row.position_m for row in finite], np.float64), origin)


def _read_lines(path: Path) -> tuple[list[_Line], list[_Line]]:
    """Return the comments and the other lines of a file, without empty ones."""
    head, content = read_head(path, KIND), read_bytes(path, KIND)
    if b"\0" in head and not head.startswith(WIDE):
        raise InputError(str(path), "a file that is no text, such as a spreadsheet or a recording", KIND)
    try:
        text = content.decode("utf-16" if content.startswith(WIDE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"an unreadable file ({error})", KIND) from error
    lines = [_Line(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    # `%time,...` and `#timestamp [ns],...` are headers of columns; they are comments of other tables.
    comments = [line for line in lines if line.text.startswith(COMMENTS)]
    others = [line for line in lines if not line.text.startswith(COMMENTS)]
    if not others:
        raise InputError(str(path), "an empty file", KIND)
    return comments, others


def _columns(path: Path, comments: Sequence[_Line], lines: list[_Line]) -> tuple[Columns, list[_Line]]:
    """Return the columns of a table, and its lines without the header."""
    first = split_cells(lines[0].text)
    if not is_number(first[0]):
        header, rows = lines[0], lines[1:]
        columns = named_columns(f"{path}: line {header.number}", first)
        if not rows:
            raise InputError(str(path), "no line after the header", KIND)
        return columns, rows
    for comment in reversed([line for line in comments if line.number < lines[0].number]):
        names = split_cells(comment.text.lstrip("#% "))
        if len(names) == len(first):
            try:
                return named_columns(f"{path}: line {comment.number}", names), lines
            except InputError:
                if names_a_position(names):
                    raise
                continue  # a remark
    return unnamed_columns(f"{path}: line {lines[0].number}", first), lines


def _row(path: Path, line: _Line, columns: Columns) -> _Row:
    cells = split_cells(line.text)
    try:
        time = sum((_time(cells[index]) / (NS if k else 1) for k, index in enumerate(columns.time)), Decimal(0))
        x, y, z = (0.0 if index is None else _length(cells[index]) * columns.metres for index in columns.axes)
    except (IndexError, ValueError, ArithmeticError) as error:
        raise InputError(f"{path}: line {line.number}", repr(line.text[:60]),
                         f"{columns.named} and positions as numbers") from error
    return _Row(line.number, time, (x, y, z))


def _time(cell: str) -> Decimal:
    time = Decimal(cell.replace(",", ".", 1))
    if not (time.is_finite() and -LARGEST_TIME < time < LARGEST_TIME):
        raise ValueError(cell)
    return time


def _length(cell: str) -> float:
    """Return a coordinate; NaN where it is not known."""
    return float(cell.replace(",", ".", 1)) if cell else np.nan


def _check_order(path: Path, rows: Sequence[_Row]) -> None:
    """Check that times ascend. Lines that repeat time and position are no contradiction.

    Raises:
        InputError: a time is before the last one, or a time has two positions.
    """
    for before, row in pairwise(rows):
        if row.time < before.time:
            raise InputError(f"{path}: line {row.line}", f"time {row.time} after {before.time}",
                             "ascending times; sort the lines, or split the file if it holds several takes")
        if row.time == before.time and row.position_m != before.position_m:
            raise InputError(f"{path}: line {row.line}", f"time {row.time} again, with another position",
                             "one position at a time")
