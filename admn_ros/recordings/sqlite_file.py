# SPDX-License-Identifier: Apache-2.0
"""Reading of the sqlite3 files of rosbag2, of every schema version, also those that a crashed recorder left.

Source of the formats of write-ahead log and journal: https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from admn_ros.errors import InputError
from admn_ros.recordings.storage_file import CDR, Channel, reason_of, unreadable

_MAGIC = b"SQLite format 3\0"
_JOURNAL_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
_WAL_MAGICS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_METADATA_SINCE = 4
"""Schema version from which on a recorder writes metadata into the file."""
_WAL_HEADER, _FRAME_HEADER = 32, 24
"""Bytes before the first frame of a write-ahead log, and before the page of each frame."""


class SqliteFile:
    """A sqlite3 file of a recording. See `StorageFile`.

    A write-ahead log or a rollback journal beside the file belongs to it. Both are applied to a copy, because the
    folder may be read-only, and because reading must not change a recording.

    Args:
        path: file to read.

    Raises:
        InputError: the file is damaged or is no recording, or its write-ahead log cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.remarks = path, list[str]()
        self._stack = ExitStack()
        try:
            place = self._consistent(path.resolve())
            _check_size(place, path)
            # A URI, quoted: `immutable` neither locks the file nor makes files beside it.
            uri = f"file://{quote(os.fsencode(place.absolute()))}?immutable=1"
            self._base = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._stack.callback(self._base.close)
            self.channels = self._channels()
            self.start_ns, self.end_ns = self._times()
            self.metadata = self._metadata()
        except InputError:
            self.close()
            raise
        except Exception as error:  # damage has many faces: no database, no table, no text, no number
            self.close()
            raise unreadable(path, reason_of(error)) from error

    def close(self) -> None:
        """See `StorageFile`."""
        self._stack.close()

    def read(self, ids: Collection[int], start_ns: int | None, stop_ns: int | None) -> Iterator[tuple[int, int, bytes]]:
        """See `StorageFile`."""
        marks = ",".join("?" for _ in ids)
        query, values = f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks})", [*ids]
        for bound, limit in ((" AND timestamp >= ?", start_ns), (" AND timestamp < ?", stop_ns)):
            if limit is not None:
                query, values = query + bound, [*values, limit]
        for channel, stamp_ns, data in self._base.execute(query + " ORDER BY timestamp, rowid", values):
            if not isinstance(stamp_ns, int) or not isinstance(data, bytes):   # SQLite takes any value in any column
                raise unreadable(self.path, f"a message with the record stamp {stamp_ns!r:.40} and "
                                            f"{'content' if isinstance(data, bytes) else 'no binary content'}")
            yield channel, stamp_ns, data

    # --- parts -------------------------------------------------------------------------------------

    def _consistent(self, file: Path) -> Path:
        """Return the file, or the copy of it to which its write-ahead log or its journal was applied."""
        wal, journal = (file.with_name(file.name + end) for end in ("-wal", "-journal"))
        if wal.is_file() and wal.stat().st_size:
            beside = wal
        elif journal.is_file() and _starts_with(journal, _JOURNAL_MAGIC):
            beside = journal
        else:
            return file
        try:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="admn-bag-")))
            copy = folder / "bag.db3"
            shutil.copyfile(file, copy)
            shutil.copyfile(beside, copy.with_name(copy.name + beside.name[len(file.name):]))
        except OSError as error:
            raise InputError(str(beside), f"a recording that was not finished, and no copy of it ({error.strerror})",
                             f"space for a copy in {tempfile.gettempdir()}, or a finished {file.name}") from error
        base = sqlite3.connect(copy)
        try:
            used = base.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
            base.execute("SELECT count(*) FROM sqlite_master").fetchone()   # applies a journal
        finally:
            base.close()
        self._remark_on(beside, used if beside == wal else None)
        return copy

    def _remark_on(self, beside: Path, used: int | None) -> None:
        if used is None:
            self.remarks.append(f"the recorder did not finish it: a last transaction was undone by {beside.name}")
            return
        written = _frames(beside)
        if written and used <= 0:
            raise InputError(str(beside), f"a write-ahead log of {written} pages that does not fit or is damaged",
                             f"the log as the recorder wrote it; without it, {self.path.name} lacks messages")
        lost = f"; {written - used} of its {written} pages were not complete" if written > used else ""
        self.remarks.append(f"the recorder did not finish it: read together with {beside.name}{lost}")

    def _columns(self, table: str) -> set[str]:
        return {row[1] for row in self._base.execute(f"PRAGMA table_info({table})")}

    def _channels(self) -> list[Channel]:
        columns = self._columns("topics")
        if not {"id", "name", "type"} <= columns or not {"topic_id", "timestamp", "data"} <= self._columns("messages"):
            raise unreadable(self.path, "no tables of a recording")
        counts = dict(self._base.execute("SELECT topic_id, count(*) FROM messages GROUP BY topic_id"))
        definitions = self._definitions()
        found = []
        optional = {"serialization_format": CDR, "offered_qos_profiles": "", "type_description_hash": ""}
        chosen = [name if name in columns else f"'{default}'" for name, default in optional.items()]
        for number, topic, kind, serialization, qos, digest in self._base.execute(
                f"SELECT id, name, type, {', '.join(chosen)} FROM topics ORDER BY id"):
            if not isinstance(topic, str) or not isinstance(kind, str):
                raise unreadable(self.path, f"the topic {topic!r:.40} of type {kind!r:.40}")
            schema, text = definitions.get((kind, digest)) or definitions.get((kind, "")) or ("", "")
            found.append(Channel(number, topic, kind, serialization or CDR, schema, text, qos or "",
                                 counts.pop(number, 0)))
        if counts:
            raise unreadable(self.path, f"{sum(counts.values())} messages of topics that it does not list")
        return found

    def _times(self) -> tuple[int, int]:
        first, last = self._base.execute(
            "SELECT ifnull(min(timestamp), 0), ifnull(max(timestamp), 0) FROM messages").fetchone()
        if not isinstance(first, int) or not isinstance(last, int):   # text counts as larger than any number
            raise unreadable(self.path, f"a message with the record stamp {last!r:.40}")
        return first, last

    def _definitions(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Return encoding and text of each definition, by type and hash, and by type alone."""
        columns = self._columns("message_definitions")
        if not {"topic_type", "encoding", "encoded_message_definition"} <= columns:
            return {}
        digest = "type_description_hash" if "type_description_hash" in columns else "''"
        found = {}
        for kind, encoding, text, of in self._base.execute(
                f"SELECT topic_type, encoding, encoded_message_definition, {digest} FROM message_definitions"):
            found[kind, of] = found[kind, ""] = encoding or "", text or ""
        return found

    def _metadata(self) -> str | None:
        if not {"id", "metadata"} <= self._columns("metadata"):
            return None
        row = self._base.execute("SELECT metadata FROM metadata ORDER BY id DESC LIMIT 1").fetchone()
        if row:
            return str(row[0])
        # Recorders of version 3, those of Humble, have the table and never fill it.
        if "schema_version" not in self._columns("schema"):
            return None
        (version,) = self._base.execute("SELECT max(schema_version) FROM schema").fetchone()
        return None if version is None or int(version) < _METADATA_SINCE else ""


def _starts_with(file: Path, magic: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(magic)) == magic


def _check_size(file: Path, named: Path) -> None:
    """Raise an error for a file that is no database or ends before its last page."""
    with file.open("rb") as opened:
        head, size = opened.read(100), opened.seek(0, os.SEEK_END)
    if not size:
        raise unreadable(named, "an empty file")
    if len(head) < 100 or not head.startswith(_MAGIC):
        raise unreadable(named, "no SQLite database")
    page_bytes, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
    whole = pages * (65536 if page_bytes == 1 else page_bytes)
    # Very old versions of SQLite leave the number of pages 0, or do not update it with the change counter.
    if head[24:28] == head[92:96] and size < whole:
        raise unreadable(named, f"truncated: {size} of {whole} bytes")


def _frames(wal: Path) -> int:
    """Return the number of frames that were written to a log since it was last begun, the last one possibly cut.

    A log whose header is damaged counts as one frame.
    """
    with wal.open("rb") as opened:
        header = opened.read(_WAL_HEADER)
        if len(header) < _WAL_HEADER or not _is_sound(header):
            return 1
        page_bytes = int.from_bytes(header[8:12], "big")
        salts, count = header[16:24], 0
        while frame := opened.read(_FRAME_HEADER):
            if len(frame) == _FRAME_HEADER and struct.unpack_from("8s", frame, 8)[0] != salts:
                break   # left over from an earlier turn of the log
            count += 1
            opened.seek(page_bytes, os.SEEK_CUR)
        return count


def _is_sound(header: bytes) -> bool:
    """Return whether magic number and checksum of a log's header are right: the checksum of zeros is zero."""
    if header[:4] not in _WAL_MAGICS:
        return False
    order = ">" if header[3] & 1 else "<"
    first = second = 0
    for left, right in struct.iter_unpack(f"{order}II", header[:24]):
        first = (first + left + second) & 0xFFFFFFFF
        second = (second + right + first) & 0xFFFFFFFF
    return struct.pack(">II", first, second) == header[24:]
