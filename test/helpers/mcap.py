# SPDX-License-Identifier: Apache-2.0
"""MCAP files of recorders other than ROS 2's: any profile, any encoding, with no index."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

MAGIC = b"\x89MCAP0\r\n"


@dataclass(frozen=True)
class McapChannel:
    """A channel of a file: topic, type, encoding and text of the definition, encoding of the messages."""

    topic: str
    type: str
    schema: str = "ros2msg"
    definition: bytes = b""
    encoding: str = "cdr"
    qos: str | None = None


def mcap_bytes(channels: Iterable[McapChannel], messages: Iterable[tuple[str, int, bytes]],
               profile: str = "ros2") -> bytes:
    """Return a file without summary; messages are topic, record stamp in ns, and content."""
    records, numbers = [_record(1, _text(profile) + _text("test"))], {}
    for number, channel in enumerate(channels, start=1):
        numbers[channel.topic] = number
        metadata = b"" if channel.qos is None else _text("offered_qos_profiles") + _text(channel.qos)
        schema = number if channel.type else 0
        if schema:
            records.append(_record(3, struct.pack("<H", schema) + _text(channel.type) + _text(channel.schema)
                                   + struct.pack("<I", len(channel.definition)) + channel.definition))
        records.append(_record(4, struct.pack("<HH", number, schema) + _text(channel.topic) + _text(channel.encoding)
                               + struct.pack("<I", len(metadata)) + metadata))
    for topic, stamp_ns, content in messages:
        records.append(_record(5, struct.pack("<HIQQ", numbers[topic], 0, stamp_ns, stamp_ns) + content))
    return MAGIC + b"".join(records) + _record(15, bytes(4)) + _record(2, bytes(20)) + MAGIC


def _record(operation: int, content: bytes) -> bytes:
    return struct.pack("<BQ", operation, len(content)) + content


def _text(text: str) -> bytes:
    return struct.pack("<I", len(text.encode())) + text.encode()
