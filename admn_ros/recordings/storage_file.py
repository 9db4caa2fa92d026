# SPDX-License-Identifier: Apache-2.0
"""What the readers of both storage formats have in common: channels, remarks, and the error for what is unreadable."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rosbags.rosbag2.storage_mcap import DECOMPRESSORS

from admn_ros.errors import InputError

READABLE = "a rosbag2 folder with its metadata.yaml, or one .mcap or .db3 file"
CDR = "cdr"
_MAX_REASON = 200
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
"""First bytes of a zstd frame; CDR begins with 0."""


@dataclass(frozen=True)
class Channel:
    """A topic of a storage file, as its recorder described it.

    Attributes:
        id: identifier within the file.
        topic: topic.
        type: message type, as it was recorded.
        serialization: encoding of the messages, such as "cdr" or "json".
        schema: encoding of the definition, such as "ros2msg", "ros2idl" or "jsonschema"; empty if there is none.
        definition: text of the definition; empty if there is none.
        qos: offered QoS profiles as YAML; empty if not recorded.
        count: number of messages.
    """

    id: int
    topic: str
    type: str
    serialization: str
    schema: str
    definition: str
    qos: str
    count: int


class StorageFile(Protocol):
    """An open storage file of a recording.

    Attributes:
        path: path of the file.
        channels: topics of the file.
        start_ns: first record stamp; 0 without messages.
        end_ns: last record stamp; 0 without messages.
        metadata: metadata of the recording that the recorder stored in the file, as YAML; empty if they are still to be
            written, None if the file has no place for them.
        remarks: what the file lost or may have lost.
    """

    path: Path
    channels: list[Channel]
    start_ns: int
    end_ns: int
    metadata: str | None
    remarks: list[str]

    def read(self, ids: Collection[int], start_ns: int | None, stop_ns: int | None) -> Iterator[tuple[int, int, bytes]]:
        """Yield channel, record stamp in ns and content of messages, in the order of the stamps."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def plain(content: bytes) -> bytes:
    """Return the content of a message without the compression of `ros2 bag record --compression-mode message`."""
    return DECOMPRESSORS["zstd"](content, 0) if content[:4] == _ZSTD_MAGIC else content


def unreadable(path: Path, reason: str) -> InputError:
    """Return the error for a recording that is damaged, or none."""
    return InputError(str(path), f"a bag that cannot be read ({reason})",
                      f"{READABLE}, complete (an interrupted recording: `ros2 bag reindex`, `mcap recover`)")


def reason_of(error: Exception) -> str:
    """Return the message of another library in one line, at most `_MAX_REASON` characters of it."""
    text = " ".join(str(error.args[0]).split()) if error.args else ""
    shown = text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}..."
    return f"{type(error).__name__}: {shown}".rstrip(": ")
