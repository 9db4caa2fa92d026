# SPDX-License-Identifier: Apache-2.0
"""Reading of MCAP files, with or without index, also those that a crashed recorder left.

Source of the format: https://mcap.dev/spec.
"""

from __future__ import annotations

import heapq
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from rosbags.rosbag2.storage_mcap import decompress

from admn_ros.errors import InputError
from admn_ros.recordings.storage_file import Channel, reason_of, unreadable

_MAGIC = b"\x89MCAP0\r\n"
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 1, 2, 3, 4, 5, 6
_CHUNK_INDEX, _STATISTICS, _METADATA, _METADATA_INDEX, _DATA_END = 8, 11, 12, 13, 15
_RECORD_HEAD, _CHUNK_HEAD, _MESSAGE_HEAD = 9, 28, 22
"""Bytes before the content of a record, before the compression of a chunk, and before the data of a message."""
_CRC_AT = _RECORD_HEAD + 24
"""Where the checksum of a chunk is, from the beginning of its record."""
_FOOTER_BYTES = _RECORD_HEAD + 20 + len(_MAGIC)
_RUN_BYTES = 4 << 20
"""Messages outside of chunks are read in runs of about this size."""
_NOTE, _NOTE_KEY = "rosbag2", "serialized_metadata"


class _Record:
    """The fields of a record, one after the other."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from(f"<{layout}", self.content, self.at)
        self.at += struct.calcsize(f"<{layout}")
        return values

    def blob(self, size_layout: str = "I") -> bytes:
        (size,) = self.take(size_layout)
        found = self.content[self.at:self.at + size]
        if len(found) < size:
            raise ValueError(f"a field of {size} bytes in a record with {len(found)}")
        self.at += size
        return found

    def text(self) -> str:
        return self.blob().decode()

    def texts(self) -> dict[str, str]:
        pairs, found = _Record(self.blob()), {}
        while pairs.at < len(pairs.content):
            key = pairs.text()
            found[key] = pairs.text()
        return found


@dataclass
class _Block:
    """A chunk, or a run of records outside of chunks, which is a chunk without compression.

    Attributes:
        at: where the records begin.
        stored: bytes in the file.
        size: bytes of the records.
        compression: name of the compression; empty for none.
        crc_at: where the checksum of the records is; 0 if there is none.
        first_ns: first record stamp.
        last_ns: last record stamp.
        counts: messages by channel; None if that is unknown.
    """

    at: int
    stored: int
    size: int
    compression: str = ""
    crc_at: int = 0
    first_ns: int = 1 << 64
    last_ns: int = 0
    counts: Counter[int] | None = field(default_factory=Counter)

    def count(self, channel: int, stamp_ns: int) -> None:
        if self.counts is not None:
            self.counts[channel] += 1
        self.first_ns, self.last_ns = min(self.first_ns, stamp_ns), max(self.last_ns, stamp_ns)


class McapFile:
    """An MCAP file of a recording. See `StorageFile`.

    Without an index the file is read once from end to end. Of a file without an end, which a crashed recorder leaves,
    what is complete is read.

    Args:
        path: file to read.

    Raises:
        InputError: the file is damaged or is no MCAP file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.remarks = path, list[str]()
        self.metadata: str | None = None
        self._blocks: list[_Block] = []
        self._scanned = 0
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._channels: dict[int, tuple[int, str, str, str]] = {}
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise unreadable(path, error.strerror or "unreadable") from error
        try:
            counts = self._open()
            self.channels = [self._channel(number, counts[number]) for number in self._channels]
        except InputError:
            self.close()
            raise
        except Exception as error:  # the decompressors raise many kinds of exceptions
            self.close()
            raise unreadable(path, reason_of(error)) from error
        used = [block for block in self._blocks if block.last_ns]   # an empty chunk has the stamps 0 and 0
        self.start_ns = min((block.first_ns for block in used), default=0)
        self.end_ns = max((block.last_ns for block in used), default=0)

    def close(self) -> None:
        """See `StorageFile`."""
        self._file.close()

    def read(self, ids: Collection[int], start_ns: int | None, stop_ns: int | None) -> Iterator[tuple[int, int, bytes]]:
        """See `StorageFile`."""
        wanted, low, high = set(ids), -1 if start_ns is None else start_ns, 1 << 64 if stop_ns is None else stop_ns
        waiting = [block for block in self._blocks if low <= block.last_ns and block.first_ns < high
                   and (block.counts is None or not wanted.isdisjoint(block.counts))]
        waiting.sort(key=lambda block: (-block.first_ns, -block.at))
        ready: list[tuple[int, int, int, int, bytes]] = []
        while waiting or ready:
            while waiting and (not ready or waiting[-1].first_ns <= ready[0][0]):
                block = waiting.pop()
                for number, (channel, stamp_ns, data) in enumerate(self._messages(block)):
                    if channel in wanted and low <= stamp_ns < high:
                        heapq.heappush(ready, (stamp_ns, block.at, number, channel, data))
            if ready:
                stamp_ns, _, _, channel, data = heapq.heappop(ready)
                yield channel, stamp_ns, data

    # --- parts -------------------------------------------------------------------------------------

    def _open(self) -> Counter[int]:
        """Find blocks and channels; return the number of messages by channel."""
        file = self._file
        size = file.seek(0, 2)
        file.seek(0)
        if not size:
            raise unreadable(self.path, "an empty file")
        if file.read(len(_MAGIC)) != _MAGIC:
            raise unreadable(self.path, "no MCAP file")
        operation, _ = self._record(size)
        if operation != _HEADER:
            raise unreadable(self.path, f"a record {operation} in the place of the header")
        start = file.tell()
        footer = self._footer(size, start)
        if footer is None:
            return self._scan_unfinished(start, size)
        summary, end = footer
        counts = self._index(summary, end) if summary else None
        return counts if counts is not None else self._scan(start, summary or end)

    def _footer(self, size: int, start: int) -> tuple[int, int] | None:
        """Return where the summary begins (0 if there is none) and ends; None without a footer."""
        end = size - _FOOTER_BYTES
        if end < start:
            return None
        self._file.seek(end)
        footer = self._file.read(_FOOTER_BYTES)
        if footer[-len(_MAGIC):] != _MAGIC or footer[:_RECORD_HEAD] != struct.pack("<BQ", _FOOTER, 20):
            return None
        summary, _, crc = struct.unpack_from("<QQI", footer, _RECORD_HEAD)
        if summary and not start <= summary <= end:
            raise unreadable(self.path, "a summary outside of the file")
        if summary and crc:
            self._file.seek(summary)
            if crc32(self._file.read(end - summary) + footer[:_RECORD_HEAD + 16]) != crc:
                raise unreadable(self.path, "a damaged summary")
        return summary, end

    def _record(self, end: int) -> tuple[int, bytes]:
        """Read a record that ends before `end`."""
        operation, size = struct.unpack("<BQ", self._file.read(_RECORD_HEAD))
        if not operation or self._file.tell() + size > end:
            raise ValueError(f"a record {operation} of {size} bytes at {self._file.tell() - _RECORD_HEAD}")
        return operation, self._file.read(size)

    def _index(self, start: int, end: int) -> Counter[int] | None:
        """Read the summary; None if it does not index the whole file."""
        self._file.seek(start)
        statistics, notes = None, []
        while self._file.tell() < end:
            operation, content = self._record(end)
            record = _Record(content)
            if operation == _CHUNK_INDEX:
                self._blocks.append(_indexed(record))
            elif operation == _STATISTICS:
                statistics = record.take("QHIIIIQQ"), _Record(record.blob())
            elif operation == _METADATA_INDEX:
                notes.append(record.take("QQ")[0])
            else:
                self._note(operation, record)
        counts = Counter[int]()
        if statistics is not None:
            (messages, _, _, _, _, chunks, *_), by_channel = statistics
            while by_channel.at < len(by_channel.content):
                number, count = by_channel.take("HQ")
                counts[number] += count
            whole = counts.total() == messages and chunks == len(self._blocks) and (chunks or not messages)
            if whole and counts.keys() <= self._channels.keys():
                for at in notes:
                    self._file.seek(at)
                    self._note(*_pair(self._record(end)))
                return counts
        self._blocks.clear()
        return None

    def _scan(self, start: int, end: int) -> Counter[int]:
        """Read the data section from end to end."""
        self._file.seek(start)
        run: _Block | None = None
        while (at := self._file.tell()) < end:
            self._scanned = at
            operation, content = self._record(end)
            if operation == _MESSAGE:
                if run is None or at + _RECORD_HEAD + len(content) - run.at > _RUN_BYTES:
                    run = _Block(at, 0, 0)
                    self._blocks.append(run)
                self._add(operation, content, run)
                run.stored = run.size = self._file.tell() - run.at
            elif operation == _CHUNK:
                self._add_chunk(at, content)
                run = None
            elif operation == _DATA_END:
                break
            else:
                self._note(operation, _Record(content))
        return sum((block.counts for block in self._blocks if block.counts), Counter[int]())

    def _scan_unfinished(self, start: int, size: int) -> Counter[int]:
        try:
            self._scan(start, size)
            why = "it has no index"
        except Exception as error:  # the decompressors raise many kinds of exceptions
            self._scan_cut_chunk(size)
            why = f"its end cannot be read ({reason_of(error)})"
        counts = sum((block.counts for block in self._blocks if block.counts), Counter[int]())
        if not counts:
            raise unreadable(self.path, "cut off before its first message was complete")
        self.remarks.append(f"the recorder did not finish it: {why}; read: {self._scanned} of {size} bytes")
        return counts

    def _scan_cut_chunk(self, end: int) -> None:
        """Read the complete records of a chunk without compression that is cut off."""
        self._file.seek(self._scanned)
        record = _Record(self._file.read(end - self._scanned))
        with suppress(ValueError, struct.error):
            operation, *_ = record.take("BQQQQI")
            if operation != _CHUNK or record.text():
                return
            record.take("Q")
            block = _Block(self._scanned + record.at, 0, 0)
            self._blocks.append(block)
            while True:
                operation, content = *record.take("B"), record.blob("Q")
                self._add(operation, content, block)
                block.stored = block.size = record.at - (block.at - self._scanned)
        if self._blocks and self._blocks[-1].at > self._scanned:
            self._scanned = self._blocks[-1].at + self._blocks[-1].stored

    def _add_chunk(self, at: int, content: bytes) -> None:
        record = _Record(content)
        _, _, size, crc = record.take("QQQI")
        compression, (stored,) = record.text(), record.take("Q")
        block = _Block(at + _RECORD_HEAD + record.at, stored, size, compression, at + _CRC_AT)
        for operation, inner in _records(decompress(content[record.at:record.at + stored], compression, size, crc)):
            self._add(operation, inner, block)
        self._blocks.append(block)

    def _add(self, operation: int, content: bytes, block: _Block) -> None:
        """Count a message in its block, or keep what another record says."""
        if operation == _MESSAGE:
            channel, _, stamp_ns = _Record(content).take("HIQ")
            block.count(channel, stamp_ns)
        else:
            self._note(operation, _Record(content))

    def _note(self, operation: int, record: _Record) -> None:
        """Keep what a record outside of the messages says."""
        if operation == _SCHEMA:
            (number,) = record.take("H")
            name, encoding = record.text(), record.text()
            self._schemas[number] = name, encoding, record.blob().decode(errors="replace")
        elif operation == _CHANNEL:
            number, schema = record.take("HH")
            topic, serialization = record.text(), record.text()
            self._channels[number] = schema, topic, serialization, record.texts().get("offered_qos_profiles", "")
        elif operation == _METADATA and record.text() == _NOTE:
            self.metadata = record.texts().get(_NOTE_KEY)

    def _channel(self, number: int, count: int) -> Channel:
        schema, topic, serialization, qos = self._channels[number]
        name, encoding, text = self._schemas.get(schema, ("", "", ""))
        return Channel(number, topic, name, serialization, encoding, text, qos, count)

    def _messages(self, block: _Block) -> Iterator[tuple[int, int, bytes]]:
        """Yield channel, record stamp and data of the messages of a block."""
        self._file.seek(block.crc_at)
        (crc,) = struct.unpack("<I", self._file.read(4)) if block.crc_at else (0,)
        self._file.seek(block.at)
        stored = self._file.read(block.stored)
        for operation, content in _records(decompress(stored, block.compression, block.size, crc)):
            if operation == _MESSAGE:
                channel, _, stamp_ns = _Record(content).take("HIQ")
                yield channel, stamp_ns, content[_MESSAGE_HEAD:]


def _pair(record: tuple[int, bytes]) -> tuple[int, _Record]:
    return record[0], _Record(record[1])


def _records(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield operation and content of the records of a chunk."""
    record = _Record(content)
    while record.at < len(content):
        (operation,) = record.take("B")
        yield operation, record.blob("Q")


def _indexed(record: _Record) -> _Block:
    """Return the chunk that an index record describes."""
    first_ns, last_ns, at, _ = record.take("QQQQ")
    channels = _Record(record.blob())
    counts = Counter(channels.take("HQ")[0] for _ in range(len(channels.content) // 10))
    record.take("Q")
    compression, (stored, size) = record.text(), record.take("QQ")
    data_at = at + _RECORD_HEAD + _CHUNK_HEAD + 4 + len(compression) + 8
    return _Block(data_at, stored, size, compression, at + _CRC_AT, first_ns, last_ns, counts or None)
