# SPDX-License-Identifier: Apache-2.0
"""The storage files of a recording: found, decompressed, opened, compared with the metadata, read in order."""

from __future__ import annotations

import heapq
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from rosbags.rosbag2.reader import zstd  # type: ignore[attr-defined]  # the module that rosbags chose

from admn_ros.errors import InputError
from admn_ros.recordings.bag_metadata import METADATA, BagMetadata, read_metadata, stored_metadata
from admn_ros.recordings.mcap_file import McapFile
from admn_ros.recordings.sqlite_file import SqliteFile
from admn_ros.recordings.storage_file import READABLE, Channel, StorageFile, unreadable

_PACKED = (".zstd", ".zst")
_OPENERS: Mapping[str, type[McapFile] | type[SqliteFile]] = {".mcap": McapFile, ".db3": SqliteFile}
_MOST_FILES = 100_000
"""Largest number of a split file; larger ones are dates or times."""
_SPLIT = re.compile(r"(.*)_(\d+)\.(?:mcap|db3)(?:\.zstd?)?", re.DOTALL | re.IGNORECASE)


class BagFiles:
    """The storage files of a recording, open.

    Args:
        path: folder of a recording, or one storage file.

    Attributes:
        files: files, in the order of their first messages.
        metadata: metadata of the recording; of a single file, those that it carries itself.
        remarks: what is known to be lost, or may be, one sentence each.

    Raises:
        InputError: there is no recording, it is damaged, or it has fewer messages than its metadata counts.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.remarks = path, list[str]()
        self._stack = ExitStack()
        try:
            folder = path.is_dir()
            _check_path(path, folder)
            self.metadata = read_metadata(path) if folder else BagMetadata((path.name,))
            self.files = [self._open(self._place(name) if folder else path) for name in self.metadata.files]
            if folder:
                self._check_files()
            else:
                self._check_single()
            self._check_counts()
            self._sort()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def read(self, wanted: Mapping[StorageFile, Mapping[int, str]], start_ns: int | None,
             stop_ns: int | None) -> Iterator[tuple[str, int, bytes]]:
        """Yield topic, record stamp in ns and content of messages, in the order of the stamps.

        Files that overlap in time are merged.

        Args:
            wanted: topics of each file by channel.
            start_ns: first record stamp; None for the beginning.
            stop_ns: end of the record stamps, exclusive; None for the end.
        """
        group: list[StorageFile] = []
        for file in [*(file for file in self.files if wanted.get(file)), None]:
            if group and (file is None or file.start_ns > max(other.end_ns for other in group)):
                yield from heapq.merge(*(_topics_of(f, wanted[f], start_ns, stop_ns) for f in group),
                                       key=lambda message: message[1])
                group = []
            if file is not None:
                group.append(file)

    # --- parts -------------------------------------------------------------------------------------

    def _place(self, name: str) -> Path:
        """Return the file of the recording's folder that the metadata name.

        Raises:
            InputError: it is missing.
        """
        place = self.path / name
        # A player that decompressed a recording leaves the plain file, and the metadata as they were.
        for found in (place, place.with_suffix("") if place.suffix in _PACKED else place):
            if found.is_file():
                return found
        raise unreadable(self.path, f"{name} is missing, which {METADATA} lists")

    def _open(self, named: Path) -> StorageFile:
        place = self._unpacked(named) if named.suffix in _PACKED else named
        opener = _OPENERS.get(place.suffix.lower())
        if opener is None:
            raise unreadable(self.path, f"a storage file {place.name}")
        try:
            file = opener(place)
        except InputError as error:
            if place == named:
                raise
            raise InputError(str(named), error.found, error.allowed) from error   # not the name of the copy
        self._stack.callback(file.close)
        which = "" if named == self.path else f"{place.name}: "
        self.remarks.extend(f"{which}{remark}" for remark in file.remarks)
        return file

    def _unpacked(self, packed: Path) -> Path:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="admn-bag-")))
        place = folder / packed.stem
        try:
            with zstd.open(packed, "rb") as source, place.open("wb") as target:
                shutil.copyfileobj(source, target)
        except OSError as error:
            raise InputError(str(packed), f"no space to decompress it ({error.strerror or error})",
                             f"space in {tempfile.gettempdir()}, or a file decompressed with `zstd -d`") from error
        except (zstd.ZstdError, EOFError) as error:
            raise unreadable(packed, f"zstd: {error}") from error
        return place

    def _check_files(self) -> None:
        """Remark on files that the metadata do not list, and on gaps between the numbers of split files."""
        listed = {name.removesuffix(suffix) for name in self.metadata.files for suffix in ("", *_PACKED)}
        others = sorted(place.name for place in self.path.iterdir()
                        if _is_storage(Path(place.stem) if place.suffix in _PACKED else place))
        strangers = [name for name in others if name not in listed and name not in self.metadata.files]
        if strangers:
            self.remarks.append(f"{METADATA} does not list {', '.join(strangers)}, not read (`ros2 bag reindex`)")
        gaps = _gaps(self.metadata.files)
        if gaps:
            self.remarks.append(f"of its split files number {', '.join(gaps)} is missing")

    def _check_single(self) -> None:
        """Compare a single file with what it says itself about the messages that it should have."""
        (file,), name = self.files, self.path.name
        if file.metadata == "" and not file.remarks:
            self.remarks.append("the recorder did not finish it: it lacks its own metadata, and may lack last messages")
        stored = stored_metadata(file.metadata) if file.metadata else None
        if stored is None:
            return
        expected = stored.counts_by_file.get(name)
        if expected is None and len(stored.files) == 1:   # it was renamed
            expected = sum(stored.counts.values())
        there = sum(channel.count for channel in file.channels)
        if expected is not None and there < expected:
            raise self._too_few(expected - there, "all topics")
        if expected is not None and there > expected and not file.remarks:
            self.remarks.append(f"the recorder did not finish it: {there} messages, {expected} in its own metadata; "
                                "its last ones may be missing")
        self.metadata = BagMetadata((name,), encodings=stored.encodings, qos=stored.qos, custom=stored.custom)

    def _check_counts(self) -> None:
        there = Counter[str]()
        for channel in self.channels():
            there[channel.topic] += channel.count
        missing = {topic: count - there[topic] for topic, count in self.metadata.counts.items() if count > there[topic]}
        if missing:
            raise self._too_few(sum(missing.values()), ", ".join(missing))
        more = sum(there[topic] - count for topic, count in self.metadata.counts.items())
        if more:
            self.remarks.append(f"{more} messages more than {METADATA} counts: it is older than the files, or edited")

    def _too_few(self, count: int, where: str) -> InputError:
        why = f" ({'; '.join(self.remarks)})" if self.remarks else ""
        return InputError(str(self.path), f"{count} messages fewer than its metadata counts on {where}{why}",
                          f"{READABLE}, complete (`ros2 bag reindex` counts anew)")

    def channels(self) -> Iterator[Channel]:
        """Yield the channels of all files."""
        for file in self.files:
            yield from file.channels

    def _sort(self) -> None:
        ordered = sorted((file for file in self.files), key=lambda file: file.start_ns)
        with_messages = [file for file in self.files if any(channel.count for channel in file.channels)]
        if [f for f in ordered if f in with_messages] != with_messages:
            self.remarks.append(f"{METADATA} lists its files in another order than their stamps; read by stamp")
        self.files = ordered


def _topics_of(file: StorageFile, topics: Mapping[int, str], start_ns: int | None,
               stop_ns: int | None) -> Iterator[tuple[str, int, bytes]]:
    for channel, stamp_ns, data in file.read(list(topics), start_ns, stop_ns):
        yield topics[channel], stamp_ns, data


def _gaps(names: Sequence[str]) -> list[str]:
    """Return the numbers that are missing among those of split files, which count from 0; ranges as `3 to 7`.

    Numbers that no recording reaches are dates or times, and one file alone need not be a part.
    """
    found = [match for name in names if (match := _SPLIT.fullmatch(name))]
    numbers = sorted({int(match[2]) for match in found})
    if len(numbers) < 2 or len(found) < len(names) or len({match[1] for match in found}) > 1:
        return []
    if numbers[-1] > _MOST_FILES:
        return []
    return [str(after - 1) if after - before == 2 else f"{before + 1} to {after - 1}"
            for before, after in pairwise([-1, *numbers]) if after - before > 1]


def bags_within(folder: Path) -> list[Path]:
    """Return the recordings in the folders of a folder that is none itself, up to two levels below it."""
    if (folder / METADATA).is_file():
        return []
    return sorted(found.parent for levels in ("*", "*/*") for found in folder.glob(f"{levels}/{METADATA}"))


def _is_storage(place: Path) -> bool:
    """Return whether a file has the name of a storage file. macOS leaves notes beside files: `._NAME`."""
    return place.suffix.lower() in _OPENERS and not place.name.startswith("._")


def _check_path(path: Path, folder: bool) -> None:
    if not path.exists():
        raise InputError.missing(str(path), READABLE)
    if folder:
        within = bags_within(path)
        if within:
            names = [str(each.relative_to(path)) for each in within]
            raise InputError(str(path), "a folder of recordings", f"one or several of them, such as "
                                                                  f"{', '.join(names[:3])}")
        if not (path / METADATA).is_file():
            alone = sorted(place.name for place in path.iterdir() if _is_storage(place))
            hint = f"; {alone[0]} can be read by itself" if alone else ""
            raise InputError(str(path), f"a folder without {METADATA}",
                             f"{READABLE} (`ros2 bag reindex` writes a lost one{hint})")
    elif path.suffix == ".bag":
        raise InputError(str(path), "a ROS 1 bag", f"{READABLE} (`rosbags-convert` converts it)")
    elif path.suffix.lower() not in (*_OPENERS, *_PACKED):
        raise InputError(str(path), f"a file {path.suffix or 'without suffix'}", READABLE)
