# SPDX-License-Identifier: Apache-2.0
"""Files of one kind in a tree of folders, of which a few may be broken."""

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
"""A tree may have this share of broken files, and always so many."""


class FileTree:
    """All files below a folder with one of some endings, sorted by path.

    Large public collections have broken files, and a run of days must not end at one. In the place of a broken
    file the next whole one is read. Each is named once as a warning and kept in `broken`; when there are too many
    (`BROKEN_SHARE`, `BROKEN_FEW`), reading fails.

    classes: folders directly below the root that hold files; their order gives the labels.
    broken: path -> why it could not be read, as far as files were read by this process.
    """

    def __init__(self, root: str | Path, endings: tuple[str, ...], what: str) -> None:
        """List the files. Symbolic links to folders below the root are not followed; hidden files are passed over.

        Args:
            root: folder.
            endings: in lower case, with dot; the case of files does not matter.
            what: the files, for errors.

        Raises:
            InputError: no such folder, or no such files in it.
        """
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
        """Number of a file's class, -1 directly below the root."""
        parts = path.relative_to(self.root).parts
        return self.classes.index(parts[0]) if len(parts) > 1 else -1

    def read(self, index: int, load: Callable[[Path], T]) -> tuple[Path, T]:
        """Load a file, or the next one that can be loaded; the path that it was.

        Raises:
            InputError: too many files are broken.
            IndexError: no such file.
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
        LOG.warning("%s; another file takes its place", error)
        if len(self.broken) > max(BROKEN_FEW, BROKEN_SHARE * len(self)):
            raise self._too_many() from error

    def _too_many(self) -> InputError:
        first = next(iter(self.broken.values()))
        return InputError(str(self.root), f"{len(self.broken)} broken of {len(self)} files; the first: {first}",
                          f"at most {max(BROKEN_FEW, int(BROKEN_SHARE * len(self)))} broken, and one whole")
