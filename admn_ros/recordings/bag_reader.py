# SPDX-License-Identifier: Apache-2.0
"""Reading rosbag2 recordings (sqlite3 and mcap) without ROS."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from admn_ros.errors import InputError
from admn_ros.recordings.bag_messages import Message
from admn_ros.recordings.bag_types import typestore

_READABLE = "a rosbag2 folder with its metadata.yaml, or one .mcap or .db3 file"


@dataclass(frozen=True)
class TopicInfo:
    """A topic of a bag.

    Attributes:
        type: message type, such as `sensor_msgs/msg/Image`.
        count: number of messages.
        durability: durability that publishers offered, such as "transient_local"; None if not recorded.
        reliability: reliability that publishers offered, such as "reliable"; None if not recorded.
    """

    type: str
    count: int
    durability: str | None
    reliability: str | None

    @property
    def latched(self) -> bool:
        """Whether late subscribers get the last message."""
        return self.durability == "transient_local"


class BagReader:
    """A rosbag2 recording: a folder (sqlite3 or mcap, with or without zstd) or a single storage file.

    Use it as a context manager. Iteration yields (topic, record stamp in ns, CDR bytes) in the order of the record
    stamps; a split bag is read file by file. An empty bag is valid. Message definitions in the bag take precedence over
    those of Jazzy and of this package.

    Args:
        path: bag folder, or .mcap or .db3 file.

    Attributes:
        path: path of the bag.
        topics: topics by name.

    Raises:
        InputError: the path does not exist, is no bag, has no metadata, or is truncated or corrupt.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._stores: dict[str, Typestore] = {}
        _check_path(self.path)
        try:
            self._reader = Reader(self.path)
            self._reader.open()
        except Exception as error:  # rosbags raises many kinds of exceptions for broken files
            raise self._broken(error) from error
        self._open = True
        self.topics: dict[str, TopicInfo] = {}
        self._connections: dict[str, list[Connection]] = {}
        for connection in self._reader.connections:
            self._connections.setdefault(connection.topic, []).append(connection)
        for topic, connections in sorted(self._connections.items()):
            self.topics[topic] = _topic_info(connections)

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the files. Closing twice does nothing."""
        if self._open:
            self._open = False
            self._reader.close()

    @property
    def message_count(self) -> int:
        """Number of messages of all topics."""
        return self._reader.message_count

    @property
    def start_ns(self) -> int:
        """Record stamp of the first message; 0 in an empty bag."""
        return self._reader.start_time if self.message_count else 0

    @property
    def end_ns(self) -> int:
        """Record stamp of the last message; 0 in an empty bag."""
        return self._reader.end_time - 1 if self.message_count else 0

    @property
    def custom_data(self) -> dict[str, str]:
        """Custom data in the metadata (see `BagWriter.note`)."""
        custom = getattr(getattr(self._reader.storage, "metadata", None), "custom", None)
        return dict(custom) if custom else {}

    def __iter__(self) -> Iterator[tuple[str, int, bytes]]:
        return self.raw()

    def raw(self, topics: Collection[str] | None = None, start_ns: int | None = None,
            stop_ns: int | None = None) -> Iterator[tuple[str, int, bytes]]:
        """Yield topic, record stamp in ns, and CDR bytes of messages.

        Args:
            topics: topics to read; None for all.
            start_ns: first record stamp; None for the beginning.
            stop_ns: end of the record stamps, exclusive; None for the end.

        Raises:
            InputError: the file is damaged, or has fewer messages than its metadata counts.
        """
        for connection, stamp_ns, data in self._read(self._select(topics), start_ns, stop_ns):
            yield connection.topic, stamp_ns, bytes(data)

    def messages(self, topics: Collection[str] | None = None, start_ns: int | None = None,
                 stop_ns: int | None = None) -> Iterator[tuple[str, int, Message]]:
        """Yield the same as `raw`, with rosbags message objects in place of bytes.

        Raises:
            InputError: a topic is not in the bag, or its type is unknown (use `raw`).
        """
        for connection, stamp_ns, data in self._read(self._select(topics), start_ns, stop_ns):
            yield connection.topic, stamp_ns, self._decode(connection, data)

    def deserialize(self, topic: str, raw: bytes) -> Message:
        """Return the message object of CDR bytes of a topic.

        Raises:
            InputError: there is no such topic, its type is unknown, or the bytes are broken.
        """
        (connection, *others) = self._select([topic])
        if any(other.msgtype != connection.msgtype for other in others):
            raise InputError(f"{self.path}: {topic}", self.topics[topic].type, "one type on a topic")
        return self._decode(connection, raw)

    def _select(self, topics: Collection[str] | None) -> list[Connection]:
        names = list(self._connections) if topics is None else list(topics)
        for name in names:
            if name not in self._connections:
                raise InputError(f"{self.path}: topic", name, ", ".join(self.topics) or "none: the bag has no topics")
        return [connection for name in names for connection in self._connections[name]]

    def _read(self, connections: list[Connection], start_ns: int | None,
              stop_ns: int | None) -> Iterator[tuple[Connection, int, bytes]]:
        if not self._open:
            raise InputError(str(self.path), "a closed bag", "reading before close()")
        if not connections:
            return
        messages, left = self._reader.messages(connections, start_ns, stop_ns), sum(c.msgcount for c in connections)
        while True:
            try:
                item = next(messages)
            except StopIteration:
                break
            except Exception as error:  # damage inside the file
                raise self._broken(error) from error
            left -= 1
            yield item
        if left > 0 and start_ns is None and stop_ns is None:
            raise InputError(str(self.path), f"{left} messages fewer than its metadata counts on "
                                             f"{', '.join(dict.fromkeys(c.topic for c in connections))}",
                             f"{_READABLE}, complete (`ros2 bag reindex` counts anew)")

    def _decode(self, connection: Connection, data: bytes) -> Message:
        name, field = connection.msgtype, f"{self.path}: {connection.topic}"
        store = self._stores.get(name)
        if store is None:
            store = self._stores[name] = self._store_for(connection)
        if name not in store.fielddefs:
            raise InputError(field, f"message type {name}, which this bag does not define",
                             "a type of ROS 2 Jazzy or admn_ros, or a bag with its definition; it can be read raw")
        try:
            return store.deserialize_cdr(data, name)
        except Exception as error:  # rosbags raises many kinds of exceptions
            raise InputError(field, f"bytes that are not a {name} ({_reason(error)})", "intact CDR") from error

    def _store_for(self, connection: Connection) -> Typestore:
        """Return the type as it was recorded; its fields can differ from those of our type of the same name."""
        definition = connection.msgdef
        if definition.format is MessageDefinitionFormat.NONE:
            return typestore()
        try:
            if definition.format is MessageDefinitionFormat.MSG:
                types = get_types_from_msg(definition.data, connection.msgtype)
            else:
                # The text has several IDL files, each after a ruler and a line "IDL: name".
                parts = [part for part in definition.data.split("=" * 80 + "\n") if part.strip()]
                types = {}
                for part in parts:
                    types |= get_types_from_idl(part.split("\n", 1)[1] if part.startswith("IDL: ") else part)
            store = get_typestore(Stores.EMPTY)
            store.register(types)
        except Exception as error:  # rosbags raises many kinds of exceptions
            raise InputError(f"{self.path}: {connection.topic}",
                             f"a definition of {connection.msgtype} that cannot be parsed ({_reason(error)})",
                             "a ROS 2 message definition; the topic can be read raw") from error
        return store

    def _broken(self, error: Exception) -> InputError:
        return InputError(str(self.path), f"a bag that cannot be read ({_reason(error)})",
                          f"{_READABLE}, complete (an interrupted recording: `ros2 bag reindex`, `mcap recover`)")


def _check_path(path: Path) -> None:
    if not path.exists():
        raise InputError(str(path), "nothing there", _READABLE)
    if path.is_dir():
        if not (path / "metadata.yaml").is_file():
            raise InputError(str(path), "a folder without metadata.yaml",
                             f"{_READABLE} (`ros2 bag reindex` writes a lost one)")
    elif path.suffix == ".bag":
        raise InputError(str(path), "a ROS 1 bag", f"{_READABLE} (`rosbags-convert` converts it)")
    elif path.suffix not in (".mcap", ".db3"):
        raise InputError(str(path), f"a file {path.suffix or 'without suffix'}", _READABLE)


def _topic_info(connections: list[Connection]) -> TopicInfo:
    profiles = [p for c in connections if isinstance(c.ext, ConnectionExtRosbag2) for p in c.ext.offered_qos_profiles]
    # One latched publisher makes the topic latched in a replay, and likewise one reliable publisher.
    durabilities = [p.durability.name.lower() for p in profiles]
    reliabilities = [p.reliability.name.lower() for p in profiles]
    return TopicInfo(
        type=", ".join(dict.fromkeys(c.msgtype for c in connections)),
        count=sum(c.msgcount for c in connections),
        durability=_prefer("transient_local", durabilities),
        reliability=_prefer("reliable", reliabilities))


def _prefer(wish: str, found: list[str]) -> str | None:
    if not found:
        return None
    return wish if wish in found else found[0]


def _reason(error: Exception) -> str:
    """Return the message of another library in one line."""
    text: Any = error.args[0] if error.args else ""
    return f"{type(error).__name__}: {' '.join(str(text).split())}".rstrip(": ")
