# SPDX-License-Identifier: Apache-2.0
"""Output folder of an evaluation. Finished parts are complete files; results.json is written last.

    file                     content
    run.json                 identity of the evaluation; a resumed run must have the same
    parts/NAME/              finished units, until all of them are done
    records/NAME.npz         frames of each corruption (`admn_ros.evaluation.records`)
    times/NAME.npz           milliseconds of each frame, which differ from run to run
    timings.json             speed and machine
    results.json             figures; the last entry is "complete": true
    context.json, moments/   excerpts of the recordings for the report (`admn_ros.evaluation.report.context`)
    report.html, figures/    report
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from admn_ros.errors import InputError
from admn_ros.evaluation.records import Columns, join, read_columns, write_columns
from admn_ros.files import (
    MAX_JSON,
    json_text,
    read_json,
    read_text,
    replacing_folder,
    write_errors,
    write_json,
    write_text,
)

FAMILY = "admn-evaluation-"
FORMAT = FAMILY + "2"
RUN, RESULTS, TIMINGS, PARTS, RECORDS, TIMES, UNIT = (
    "run.json", "results.json", "timings.json", "parts", "records", "times", "unit.json")
REPORT, FIGURES, CONTEXT, MOMENTS = "report.html", "figures", "context.json", "moments"


class UnitWriter:
    """Writer of one unit.

    Args:
        folder: folder of the unit; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._parts = folder, 0

    def add(self, columns: Columns) -> None:
        """Write the next records."""
        write_columns(self._folder / f"{self._parts:05d}.npz", columns)
        self._parts += 1

    def describe(self, metadata: Mapping[str, Any]) -> None:
        """Write the metadata, JSON values."""
        write_json(self._folder / UNIT, metadata)


class ResultsFolder:
    """Output folder of an evaluation.

    Args:
        path: folder; it is created if needed.
        identity: JSON values that a resumed run must share.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self._text = json_text({"format": FORMAT, **identity})

    def begin(self, *, resume: bool, force: bool) -> None:
        """Prepare the folder.

        Args:
            resume: keep finished units of the same evaluation.
            force: delete an evaluation that is in the folder.

        Raises:
            InputError: the folder cannot be written, or holds other files, or an evaluation that is not resumed.
        """
        run = self.path / RUN
        with write_errors(self.path):
            if self.path.exists() and not self.path.is_dir():
                raise InputError(str(self.path), "a file", "a folder")
            exists = run.is_file()
            if not exists and self.path.is_dir() and any(self.path.iterdir()):
                raise InputError(str(self.path), "files that are not an evaluation", "a new or empty folder")
            if exists and not str(read_json(run).get("format", "")).startswith(FAMILY):
                raise InputError(str(run), "a file that is not an evaluation", "a new or empty folder")
            if exists and not force:
                self._check(run, resume)
            elif exists:
                self._clear()
            for left in self.path.glob(f"{PARTS}/.partial-*"):
                shutil.rmtree(left)
            if not exists or force:
                self.path.mkdir(parents=True, exist_ok=True)
                write_text(run, self._text)

    def _check(self, run: Path, resume: bool) -> None:
        if not resume:
            raise InputError(str(self.path), "an evaluation", "a new folder, --resume or --force")
        if read_text(run, "the settings of an evaluation", MAX_JSON) != self._text:
            raise InputError(str(self.path), "an evaluation of another model, other data or other arguments",
                             "the same arguments to resume it, a new folder, or --force")

    def _clear(self) -> None:
        # Results first: a folder without them does not count as complete.
        for name in (RESULTS, REPORT, TIMINGS, CONTEXT, RUN):
            (self.path / name).unlink(missing_ok=True)
        for name in (PARTS, RECORDS, TIMES, FIGURES, MOMENTS):
            shutil.rmtree(self.path / name, ignore_errors=True)

    @property
    def is_complete(self) -> bool:
        """Whether results.json exists."""
        return (self.path / RESULTS).is_file()

    def is_done(self, unit: str) -> bool:
        """Return whether a unit is finished."""
        return (self.path / PARTS / unit / UNIT).is_file()

    @contextmanager
    def unit(self, name: str) -> Iterator[UnitWriter]:
        """Write a unit whole or not at all.

        Args:
            name: name of the unit.

        Yields:
            Writer of the records and the metadata. The unit is finished when the block succeeds.

        Raises:
            InputError: the folder cannot be written.
        """
        with replacing_folder(self.path / PARTS / name) as partial:
            yield UnitWriter(partial)

    def read_unit(self, unit: str) -> Columns:
        """Read the records of a finished unit.

        Raises:
            InputError: a file is broken.
        """
        return join([read_columns(file) for file in sorted((self.path / PARTS / unit).glob("*.npz"))])

    def unit_metadata(self, unit: str) -> dict[str, Any]:
        """Read the metadata of a finished unit.

        Raises:
            InputError: the file is broken.
        """
        return read_json(self.path / PARTS / unit / UNIT)

    def finish(self, results: Mapping[str, Any], timings: Mapping[str, Any]) -> None:
        """Write timings and results, results last, and delete the units."""
        write_json(self.path / TIMINGS, timings)
        write_json(self.path / RESULTS, {"format": FORMAT, **results, "complete": True})
        shutil.rmtree(self.path / PARTS, ignore_errors=True)

    def results(self) -> dict[str, Any]:
        """Read results.json of a complete evaluation."""
        return read_results(self.path)


def read_results(folder: Path) -> dict[str, Any]:
    """Read results.json of a complete evaluation.

    Raises:
        InputError: the file is missing, broken or not complete.
    """
    found = read_json(folder / RESULTS)
    if found.get("format") != FORMAT or found.get("complete") is not True:
        raise InputError(str(folder / RESULTS), "incomplete results, or those of another version",
                         f"results of `admn evaluate` ({FORMAT})")
    return found
