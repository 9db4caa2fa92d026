# SPDX-License-Identifier: Apache-2.0
"""The folder of an evaluation. What is finished is there whole; results.json comes last.

    run.json           what is evaluated; a run that continues must be of the same
    parts/NAME/        finished pieces, until all are
    records/NAME.npz   frames of each corruption (`admn_ros.evaluation.records`)
    times/NAME.npz     milliseconds of each frame, which differ from run to run
    timings.json       speed and machine
    results.json       the figures; its last entry is "complete": true
    context.json       and moments/: what a report needs of the recordings (`admn_ros.evaluation.report.context`)
    report.html        and figures/: the report
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from admn_ros.errors import InputError
from admn_ros.evaluation.records import Columns, join, read_columns, write_columns
from admn_ros.files import json_text, read_json, write_json, write_text

FORMAT = "admn-evaluation-1"
RUN, RESULTS, TIMINGS, PARTS, RECORDS, TIMES, UNIT = (
    "run.json", "results.json", "timings.json", "parts", "records", "times", "unit.json")
REPORT, FIGURES, CONTEXT, MOMENTS = "report.html", "figures", "context.json", "moments"


class ResultsFolder:
    """Where an evaluation writes.

    Args:
        path: created if needed.
        identity: JSON values that a run shares with the one it continues.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self._text = json_text({"format": FORMAT, **identity})

    def begin(self, *, resume: bool, force: bool) -> None:
        """Start, or continue.

        Args:
            resume: keep finished pieces of the same evaluation.
            force: remove an evaluation that is there.

        Raises:
            InputError: the folder cannot be written, or holds something else, or an evaluation that is not continued.
        """
        run = self.path / RUN
        try:
            if self.path.exists() and not self.path.is_dir():
                raise InputError(str(self.path), "a file", "a folder")
            there = run.is_file()
            if not there and self.path.is_dir() and any(self.path.iterdir()):
                raise InputError(str(self.path), "something that is no evaluation", "a new or empty folder")
            if there and read_json(run).get("format") != FORMAT:
                raise InputError(str(run), "something that is no evaluation", "a new or empty folder")
            if there and not force:
                self._check(run, resume)
            elif there:
                self._clear()
            for left in self.path.glob(f"{PARTS}/.partial-*"):
                shutil.rmtree(left)
            if not there or force:
                self.path.mkdir(parents=True, exist_ok=True)
                write_text(run, self._text)
        except OSError as error:
            raise InputError(str(self.path), error.strerror or "unwritable", "a writable folder") from error

    def _check(self, run: Path, resume: bool) -> None:
        if not resume:
            raise InputError(str(self.path), "an evaluation", "a new folder, --resume or --force")
        if run.read_text(encoding="utf-8") != self._text:
            raise InputError(str(self.path), "an evaluation of another model, other data or other arguments",
                             "the same, to continue it; or a new folder, or --force")

    def _clear(self) -> None:
        # The results first: without them nothing passes for whole.
        for name in (RESULTS, REPORT, TIMINGS, CONTEXT, RUN):
            (self.path / name).unlink(missing_ok=True)
        for name in (PARTS, RECORDS, TIMES, FIGURES, MOMENTS):
            shutil.rmtree(self.path / name, ignore_errors=True)

    @property
    def is_complete(self) -> bool:
        """Whether results are there."""
        return (self.path / RESULTS).is_file()

    def is_done(self, unit: str) -> bool:
        """Whether a piece is finished."""
        return (self.path / PARTS / unit / UNIT).is_file()

    def write_unit(self, unit: str, parts: Iterable[Columns], describe: Any) -> None:
        """Write a finished piece: its columns as they come, then what is to be said of it.

        Args:
            unit: name.
            parts: columns, one file each.
            describe: called when all are written; gives JSON.

        Raises:
            InputError: the disk is full or the folder cannot be written; or what making the columns raises.
        """
        partial, final = self.path / PARTS / f".partial-{unit}", self.path / PARTS / unit
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            for number, columns in enumerate(parts):
                write_columns(partial / f"{number:05d}.npz", columns)
            write_text(partial / UNIT, json_text(describe()))
            partial.replace(final)
        except OSError as error:
            raise InputError(str(final), error.strerror or "unwritable", "a writable folder with space") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def read_unit(self, unit: str) -> Columns:
        """Columns of a finished piece.

        Raises:
            InputError: a file is broken.
        """
        return join([read_columns(file) for file in sorted((self.path / PARTS / unit).glob("*.npz"))])

    def said_of(self, unit: str) -> dict[str, Any]:
        """What was said of a finished piece.

        Raises:
            InputError: the file is broken.
        """
        said: dict[str, Any] = read_json(self.path / PARTS / unit / UNIT)["said"]
        return said

    def finish(self, results: Mapping[str, Any], timings: Mapping[str, Any]) -> None:
        """Write figures, results last, and remove the pieces."""
        write_json(self.path / TIMINGS, timings)
        write_json(self.path / RESULTS, {"format": FORMAT, **results, "complete": True})
        shutil.rmtree(self.path / PARTS, ignore_errors=True)

    def results(self) -> dict[str, Any]:
        """Figures of a complete evaluation."""
        return read_results(self.path)


def read_results(folder: Path) -> dict[str, Any]:
    """results.json of an evaluation.

    Raises:
        InputError: there is none, it is broken, or it is not complete.
    """
    found = read_json(folder / RESULTS)
    if found.get("format") != FORMAT or found.get("complete") is not True:
        raise InputError(str(folder / RESULTS), "no complete results", f"results of `admn evaluate` ({FORMAT})")
    return found
