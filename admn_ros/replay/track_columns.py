# SPDX-License-Identifier: Apache-2.0
"""Columns of a file of ground truth: which of them hold the time and the position, and in which unit.

Known are tables with a header, in a comment or not, such as those of EuRoC, `rostopic echo -p` and PlotJuggler, and
tables without one: TUM, EuRoC, and `ros2 topic echo --csv`.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from admn_ros.errors import InputError

TIME_UNITS = {name: unit for unit, names in {
    "s": "s sec secs second seconds", "ms": "ms msec msecs millisecond milliseconds",
    "us": "us µs μs usec usecs microsecond microseconds",
    "ns": "ns nsec nsecs nanosec nanosecs nanosecond nanoseconds"}.items() for name in names.split()}
METRES = {name: metres for metres, names in {
    1.0: "m metre metres meter meters", 0.01: "cm centimetre centimetres centimeter centimeters",
    0.001: "mm millimetre millimetres millimeter millimeters"}.items() for name in names.split()}
_TIMES = ("time", "timestamp", "timestamps", "stamp", "times", "t")
_AXES = tuple((axis, f"t{axis}", f"p{axis}", f"pos{axis}", f"position{axis}") for axis in "xyz")
_NO_POSITION = {"orientation", "quat", "quaternion", "q", "rotation", "rot", "euler", "linear", "angular", "twist",
                "velocity", "vel", "v", "acceleration", "accel", "acc", "a", "w", "b", "bw", "ba", "gyro", "covariance"}
"""Words before x, y or z by which a column is no position."""


@dataclass(frozen=True)
class Columns:
    """Columns of a table.

    Attributes:
        time: index of the time; or those of its seconds and of the nanoseconds to add.
        unit: unit of the time that the header states, a key of `admn_ros.replay.track_times.NS_PER`; None if unknown.
        axes: index of x, y and z; that of z is None if it is not known.
        metres: length of one unit of the position, in metres.
        named: name of the time column, for errors.
    """

    time: tuple[int, ...]
    unit: str | None
    axes: tuple[int, int, int | None]
    metres: float = 1.0
    named: str = "time"


@dataclass(frozen=True)
class _Name:
    """Name of a column, in words, without its unit."""

    index: int
    text: str
    words: tuple[str, ...]
    unit: str | None


def split_cells(line: str) -> list[str]:
    """Return the cells of a line that is separated by semicolons, commas, tabs or spaces."""
    separator = next((each for each in ";\t," if each in line and not (each == "\t" and " " in line)), None)
    if separator is None:
        return [cell.strip("\"'") for cell in re.sub(r"\s+([\[(])", r"\1", line).split()]
    try:
        cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    except csv.Error:
        cells = line.split(separator)
    return [cell.strip().strip("\"'") for cell in cells]


def is_number(cell: str) -> bool:
    """Return whether a cell is a number, finite or not, with a point or a comma."""
    try:
        float(cell.replace(",", ".", 1))
    except ValueError:
        return False
    return True


def named_columns(field: str, cells: Sequence[str]) -> Columns:
    """Find the columns by their names.

    Args:
        field: file and line, for errors.
        cells: names of the columns.

    Raises:
        InputError: there is no time or no position, or there are several positions.
    """
    names = [_name(index, cell) for index, cell in enumerate(cells)]
    time = _time_columns(names)
    axes = [_axis(field, names, known) for known in _AXES]
    x, y, z = axes
    if time is None or x is None or y is None:
        raise InputError(f"{field}: columns", ", ".join(cells), "a time (time_s, timestamp [ns], field.header.stamp, "
                         "...), x and y, and z if it is known")
    units = {each.unit for each in axes if each is not None}
    metres = METRES.get(next(iter(units)) or "m") if len(units) == 1 else None
    if metres is None:
        raise InputError(f"{field}: unit of the position", ", ".join(sorted(map(str, units))), "one of m, cm, mm")
    seconds = cells[time[0].index]
    return Columns(tuple(each.index for each in time), "s" if len(time) > 1 else TIME_UNITS.get(time[0].unit or ""),
                   (x.index, y.index, None if z is None else z.index), metres, seconds)


def names_a_position(cells: Sequence[str]) -> bool:
    """Return whether some of the cells are names of x and y, so that they are a header."""
    words = [_name(index, cell).words for index, cell in enumerate(cells)]
    return all(any(name and name[-1] in known for name in words) for known in _AXES[:2])


def unnamed_columns(field: str, cells: Sequence[str]) -> Columns:
    """Find the columns of a table without a header, by its first line.

    Args:
        field: file and line, for errors.
        cells: first line.

    Raises:
        InputError: the line has no time or no position.
    """
    if len(cells) >= 6 and is_number(cells[0]) and is_number(cells[1]) and not is_number(cells[2]):
        first = next((k for k, cell in enumerate(cells) if k > 2 and is_number(cell)), len(cells))
        if first + 3 <= len(cells):
            return Columns((0, 1), "s", (first, first + 1, first + 2))
    if _is_matrix(cells):
        raise InputError(field, f"{len(cells)} numbers, which look like the matrix of a pose (KITTI), without a time",
                         "time x y z qx qy qz qw; paste the times of the poses in front of them")
    if len(cells) < 4 or not all(map(is_number, cells[:4])):
        raise InputError(field, f"the line {' '.join(cells)[:60]!r}",
                         "time x y z qx qy qz qw, or a header such as time_s,x,y,z")
    return Columns((0,), None, (1, 2, 3))


def _is_matrix(cells: Sequence[str]) -> bool:
    """Return whether cells are the matrix of a pose, row by row, without or with its last row."""
    if len(cells) not in (12, 16) or not all(map(is_number, cells)):
        return False
    rows = ([float(cell) for cell in cells[first:first + 3]] for first in (0, 4, 8))
    return all(math.isclose(math.hypot(*row), 1.0, abs_tol=0.01) for row in rows)


def _name(index: int, cell: str) -> _Name:
    text = cell.strip().lstrip("#%").strip()
    found = re.fullmatch(r"(.*?)[\s_]*[\[(]\s*([^\])]*?)\s*[\])]", text)
    unit = found.group(2).lower() if found else None
    # camelCase counts as words: posX, headerStamp.
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", found.group(1) if found else text)
    words = [word for word in re.split(r"[./:\s_]+", spaced.lower()) if word]
    if found is None and len(words) > 1 and words[-1] in (*TIME_UNITS, *METRES):
        unit = words.pop()
    elif found is None and len(words) == 1 and len(words[0]) > 1 and words[0] in TIME_UNITS:
        unit, words = words[0], ["time"]
    return _Name(index, text, tuple(words), unit)


def _time_columns(names: Sequence[_Name]) -> list[_Name] | None:
    """Return the column of the time, or those of its seconds and nanoseconds; None if there is none."""
    found = [name for name in names if name.words and name.words[-1] in _TIMES]
    if not found:
        return None
    # The stamp of the measurement comes before that of the recorder.
    best = next((name for name in found if "header" in name.words), found[0])
    if TIME_UNITS.get(best.unit or "") != "s":
        return [best]
    # Two units of one name are the two fields of a stamp of ROS.
    rest = [name for name in found if name.words == best.words and TIME_UNITS.get(name.unit or "") == "ns"]
    return [best, *rest[:1]]


def _axis(field: str, names: Sequence[_Name], known: Sequence[str]) -> _Name | None:
    """Return the column of one axis; None if there is none."""
    found = [name for name in names if name.words and name.words[-1] in known
             and not _NO_POSITION.intersection(name.words[:-1])]
    found = [name for name in found if len(name.words) == 1] or found
    if len(found) > 1:
        raise InputError(f"{field}: columns for {known[0]}", ", ".join(name.text for name in found), "one")
    return found[0] if found else None
