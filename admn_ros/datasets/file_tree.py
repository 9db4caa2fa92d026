# SPDX-License-Identifier: Apache-2.0
"""Files of one kind in a tree of folders, a few of which may be broken."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from admn_ros.datasets.source import check_index
from admn_ros.errors import InputError

T = TypeVar("T")
LOG = logging.getLogger(__name__)
BROKEN_SHARE, BROKEN_FEW = 0.01, 3
"""Tolerated share of broken files, and the number of them that is tolerated in any tree."""


class FileTree:
    """All files below a folder with certain suffixes, sorted by path.

    Large public collections contain broken files, which must not end a run of several days. The next intact file takes
    the place of a broken one. Each broken file is logged once as a warning. Reading fails if there are too many
    (`BROKEN_SHARE`, `BROKEN_FEW`).

    Symbolic links to folders are not followed, and hidden files are skipped.

    Args:
        root: folder.
        endings: suffixes in lower case, with dot; the case of the files does not matter.
        what: noun for the files, used in error messages.

    Attributes:
        paths: the files.
        classes: folders directly below the root that contain files; their order gives the labels.
        broken: error message of each broken file that this process has read.

    Raises:
        InputError: there is no such folder, or no such file in it.
    """

    def __init__(self, root: str | Path, endings: tuple[str, ...], what: str) -> None:
        self.root = Path(root)
        self._wanted = f"{what} ({', '.join(endings)}), in folders of classes or in any other tree"
        if not self.root.is_dir():
            raise InputError(str(self.root), "no folder", f"a folder with {self._wanted}")
        held = sorted(p for p in self.root.rglob("*") if p.suffix and not p.name.startswith("."))
        self.paths = tuple(p for p in held if p.suffix.lower() in endings and p.is_file())
        if not self.paths:
            others = Counter(p.suffix.lower() for p in held if p.is_file()).most_common(3)
            found = ", ".join(f"{count} files {ending}" for ending, count in others) or "no files"
            raise InputError(str(self.root), found, self._wanted)
        self.classes = tuple(sorted({parts[0] for p in self.paths
                                     if len(parts := p.relative_to(self.root).parts) > 1}))
        self.broken: dict[Path, str] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def label(self, path: Path) -> int:
        """Return the class number of a file; -1 directly below the root."""
        parts = path.relative_to(self.root).parts
        return self.classes.index(parts[0]) if len(parts) > 1 else -1

    def read(self, index: int, load: Callable[[Path], T]) -> tuple[Path, T]:
        """Load a file, or the next intact one, and return its path and content.

        Raises:
            InputError: too many files are broken.
            IndexError: there is no such file.
        """
        first = check_index(index, len(self))
        for step in range(len(self)):
            path = self.paths[(first + step) % len(self)]
            if path in self.broken:
                continue
            try:
                return path, load(path)
            except InputError as error:
                self._note(path, error)
        raise self._too_many()

    def _note(self, path: Path, error: InputError) -> None:
        self.broken[path] = str(error)
        LOG.warning("%s; the next file takes its place", error)
        if len(self.broken) > max(BROKEN_FEW, BROKEN_SHARE * len(self)):
            raise self._too_many() from error

    def _too_many(self) -> InputError:
        first = next(iter(self.broken.values()))
        return InputError(str(self.root), f"{len(self.broken)} broken of {len(self)} files; the first: {first}",
                          f"at most {max(BROKEN_FEW, int(BROKEN_SHARE * len(self)))} broken, and one intact")
