# SPDX-License-Identifier: Apache-2.0
"""Reading of MCAP files, with or without index, also those that a crashed recorder left.

The package `mcap` reads the records. Its own readers of whole files do not do: they give nothing of a file whose end is
missing, keep a file without chunks in memory to sort it, and pass over zeros and records of a wrong length.
"""

from __future__ import annotations

import heapq
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from mcap import records as mcap
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.reader import FOOTER_SIZE
from mcap.stream_reader import StreamReader
from mcap.writer import MCAP0_MAGIC
from rosbags.rosbag2.storage_mcap import decompress

from admn_ros.errors import InputError
from admn_ros.recordings.storage_file import Channel, reason_of, unreadable

_USED = frozenset(Opcode) - {Opcode.ATTACHMENT, Opcode.ATTACHMENT_INDEX, Opcode.MESSAGE_INDEX, Opcode.SUMMARY_OFFSET}
_RECORD_HEAD = struct.Struct("<BQ")
_RUN_BYTES = 4 << 20
"""Messages outside of chunks are read in runs of about this size."""
_NOTE, _NOTE_KEY = "rosbag2", "serialized_metadata"


@dataclass
class _Block:
    """A chunk, or a run of records outside of chunks.

    Attributes:
        at: where the chunk or the first record begins.
        run: bytes of the records of a run; 0 for a chunk.
        first_ns: first record stamp.
        last_ns: last record stamp.
        counts: messages by channel; None if that is unknown.
    """

    at: int
    run: int = 0
    first_ns: int = 1 << 64
    last_ns: int = 0
    counts: Counter[int] | None = field(default_factory=Counter)

    def count(self, message: mcap.Message) -> None:
        if self.counts is not None:
            self.counts[message.channel_id] += 1
        self.first_ns, self.last_ns = min(self.first_ns, message.log_time), max(self.last_ns, message.log_time)


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
        self._size = self._scanned = 0
        self._schemas: dict[int, mcap.Schema] = {}
        self._channels: dict[int, mcap.Channel] = {}
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
                for number, message in enumerate(self._messages(block)):
                    if message.channel_id in wanted and low <= message.log_time < high:
                        heapq.heappush(ready, (message.log_time, block.at, number, message.channel_id, message.data))
            if ready:
                stamp_ns, _, _, channel, data = heapq.heappop(ready)
                yield channel, stamp_ns, data

    # --- parts -------------------------------------------------------------------------------------

    def _open(self) -> Counter[int]:
        """Find blocks and channels; return the number of messages by channel."""
        self._size = self._file.seek(0, 2)
        self._file.seek(0)
        if not self._size:
            raise unreadable(self.path, "an empty file")
        if self._file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
            raise unreadable(self.path, "no MCAP file")
        first = self._record(len(MCAP0_MAGIC))
        if not isinstance(first, mcap.Header):
            raise unreadable(self.path, f"a {type(first).__name__} in the place of the header")
        start = self._file.tell()
        footer = self._footer(start)
        if footer is None:
            return self._scan_unfinished(start)
        summary, end = footer
        counts = self._index(summary, end) if summary else None
        return counts if counts is not None else self._scan(start, summary or end)

    def _record(self, at: int) -> mcap.McapRecord:
        """Read the record that begins at `at`."""
        self._file.seek(at)
        found = next(_records(self._file, self._size), None)
        if found is None or found[0] != at:
            raise ValueError(f"no record at {at}")
        return found[1]

    def _footer(self, start: int) -> tuple[int, int] | None:
        """Return where the summary begins (0 if there is none) and ends; None without a footer."""
        end = self._size - FOOTER_SIZE - len(MCAP0_MAGIC)
        if end < start:
            return None
        try:
            footer = self._record(end)
        except Exception:  # the end of an unfinished file is anything
            return None
        if not isinstance(footer, mcap.Footer) or self._file.read() != MCAP0_MAGIC:
            return None
        summary = footer.summary_start
        if summary and not start <= summary <= end:
            raise unreadable(self.path, "a summary outside of the file")
        if summary and footer.summary_crc:
            self._file.seek(summary)
            if crc32(self._file.read(end + FOOTER_SIZE - 4 - summary)) != footer.summary_crc:
                raise unreadable(self.path, "a damaged summary")
        return summary, end

    def _index(self, start: int, end: int) -> Counter[int] | None:
        """Read the summary; None if it does not index the whole file."""
        self._file.seek(start)
        statistics, notes = None, []
        for _, record in _records(self._file, end):
            if isinstance(record, mcap.ChunkIndex):
                self._blocks.append(_indexed(record))
            elif isinstance(record, mcap.Statistics):
                statistics = record
            elif isinstance(record, mcap.MetadataIndex):
                notes.append(record.offset)
            else:
                self._note(record)
        if statistics is not None:
            counts, messages = Counter(statistics.channel_message_counts), statistics.message_count
            whole = counts.total() == messages and statistics.chunk_count == len(self._blocks) and (
                self._blocks or not messages)
            if whole and counts.keys() <= self._channels.keys():
                for at in notes:
                    self._note(self._record(at))
                return counts
        self._blocks.clear()
        return None

    def _scan(self, start: int, end: int) -> Counter[int]:
        """Read the data section from end to end."""
        self._file.seek(start)
        self._scanned, run = start, None
        for at, record in _records(self._file, end):
            past = self._file.tell()
            if isinstance(record, mcap.Chunk):
                run = None
                self._add_chunk(at, record)
            elif isinstance(record, mcap.Message):
                if run is None or past - run.at > _RUN_BYTES:
                    run = _Block(at)
                    self._blocks.append(run)
                run.count(record)
                run.run = past - run.at
            elif isinstance(record, mcap.DataEnd):
                break
            else:
                self._note(record)
            self._scanned = past
        return self._counts()

    def _scan_unfinished(self, start: int) -> Counter[int]:
        try:
            self._scan(start, self._size)
            why = "it has no index"
        except Exception as error:  # the decompressors raise many kinds of exceptions
            with suppress(Exception):   # what is no part of a chunk can raise any
                self._scan_cut_chunk()
            why = f"its end cannot be read ({reason_of(error)})"
        counts = self._counts()
        if not counts:
            raise unreadable(self.path, "cut off before its first message was complete")
        self.remarks.append(f"the recorder did not finish it: {why}; read: {self._scanned} of {self._size} bytes")
        return counts

    def _scan_cut_chunk(self) -> None:
        """Read the complete records of a chunk without compression that is cut off."""
        self._file.seek(self._scanned)
        operation, _ = _RECORD_HEAD.unpack(self._file.read(_RECORD_HEAD.size))
        if operation != Opcode.CHUNK:
            return
        chunk = mcap.Chunk.read(ReadDataStream(self._file))   # with what is there of its data
        if chunk.compression:
            return
        block = _Block(self._file.tell() - len(chunk.data))
        self._file.seek(block.at)
        for _, record in _records(self._file, self._size):
            if not block.run:
                self._blocks.append(block)
            self._add(record, block)
            self._scanned = self._file.tell()
            block.run = self._scanned - block.at

    def _counts(self) -> Counter[int]:
        return sum((block.counts for block in self._blocks if block.counts), Counter[int]())

    def _add_chunk(self, at: int, chunk: mcap.Chunk) -> None:
        block = _Block(at)
        for record in _chunk_records(chunk):
            self._add(record, block)
        self._blocks.append(block)

    def _add(self, record: mcap.McapRecord, block: _Block) -> None:
        """Count a message in its block, or keep what another record says."""
        if isinstance(record, mcap.Message):
            block.count(record)
        else:
            self._note(record)

    def _note(self, record: mcap.McapRecord) -> None:
        """Keep what a record outside of the messages says."""
        if isinstance(record, mcap.Schema):
            self._schemas[record.id] = record
        elif isinstance(record, mcap.Channel):
            self._channels[record.id] = record
        elif isinstance(record, mcap.Metadata) and record.name == _NOTE:
            self.metadata = record.metadata.get(_NOTE_KEY)

    def _channel(self, number: int, count: int) -> Channel:
        channel = self._channels[number]
        schema = self._schemas.get(channel.schema_id, mcap.Schema(0, b"", "", ""))
        return Channel(number, channel.topic, schema.name, channel.message_encoding, schema.encoding,
                       schema.data.decode(errors="replace"), channel.metadata.get("offered_qos_profiles", ""), count)

    def _messages(self, block: _Block) -> Iterator[mcap.Message]:
        """Yield the messages of a block."""
        if block.run:
            self._file.seek(block.at)
            records = _records(BytesIO(self._file.read(block.run)), block.run)
            return (record for _, record in records if isinstance(record, mcap.Message))
        chunk = self._record(block.at)
        if not isinstance(chunk, mcap.Chunk):
            raise unreadable(self.path, f"a {type(chunk).__name__} where its index has a chunk")
        return (record for record in _chunk_records(chunk) if isinstance(record, mcap.Message))


def _records(stream: BinaryIO, end: int) -> Iterator[tuple[int, mcap.McapRecord]]:
    """Yield where each record begins, and the record, up to `end`; pass over those that are not used here.

    Raises:
        ValueError: a record has another length than its content, or reaches over the end.
    """
    records = StreamReader(stream, skip_magic=True, emit_chunks=True).records
    while (at := stream.tell()) < end:
        operation, size = _RECORD_HEAD.unpack(stream.read(_RECORD_HEAD.size))
        past = at + _RECORD_HEAD.size + size
        complete = operation and past <= end
        if complete and operation not in _USED:
            stream.seek(past)
            continue
        stream.seek(at)
        record = next(records) if complete else None
        if record is None or stream.tell() != past:   # the library reads over the end of a damaged record
            raise ValueError(f"a record {operation} of {size} bytes at {at}")
        yield at, record


def _chunk_records(chunk: mcap.Chunk) -> Iterator[mcap.McapRecord]:
    content = decompress(chunk.data, chunk.compression, chunk.uncompressed_size, chunk.uncompressed_crc)
    return (record for _, record in _records(BytesIO(content), len(content)))


def _indexed(record: mcap.ChunkIndex) -> _Block:
    """Return the chunk that an index record describes."""
    channels = Counter(list(record.message_index_offsets))
    return _Block(record.chunk_start_offset, 0, record.message_start_time, record.message_end_time, channels or None)
