# SPDX-License-Identifier: Apache-2.0
"""Reading and writing rosbag2 recordings (sqlite3 and mcap) without ROS."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinitionFormat,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from admn_ros.datasets.bag_messages import Message
from admn_ros.datasets.bag_types import typestore
from admn_ros.errors import InputError

__all__ = ["BagReader", "BagWriter", "Storage", "TopicInfo", "typestore"]

Storage = Literal["mcap", "sqlite3"]
STORAGES: dict[str, StoragePlugin] = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_READABLE = "a rosbag2 folder with its metadata.yaml, or one .mcap or .db3 file"
_FOREVER = QosTime(0, 0)


@dataclass(frozen=True)
class TopicInfo:
    """A topic of a bag.

    type: message type, `sensor_msgs/msg/Image`.
    count: messages.
    durability, reliability: as the recorder saw them offered ("transient_local", "reliable", ...);
        None where the bag does not say.
    """

    type: str
    count: int
    durability: str | None
    reliability: str | None

    @property
    def latched(self) -> bool:
        """Whether a late subscriber must still get the last message."""
        return self.durability == "transient_local"


class BagReader:
    """A rosbag2 recording: folder (sqlite3, mcap, zstd-compressed or not) or one bare storage file.

    Use it as a context manager. Iteration gives (topic, record stamp ns, CDR bytes) in the order of the
    record stamps; a split bag is read file after file. An empty bag is allowed: `message_count` is 0.
    The bag's own message definitions are used where it has them, else those of Jazzy and ours.

    Raises:
        InputError: the path is missing, is not a bag, has no metadata, or is truncated or corrupt.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._stores: dict[str, Typestore] = {}
        _check_path(self.path)
        try:
            self._reader = Reader(self.path)
            self._reader.open()
        except Exception as error:  # on broken files rosbags raises whatever its parsing trips over
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
        """Messages of all topics."""
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
        """What the writer noted in the metadata (`BagWriter.note`)."""
        custom = getattr(getattr(self._reader.storage, "metadata", None), "custom", None)
        return dict(custom) if custom else {}

    def __iter__(self) -> Iterator[tuple[str, int, bytes]]:
        return self.raw()

    def raw(self, topics: Collection[str] | None = None, start_ns: int | None = None,
            stop_ns: int | None = None) -> Iterator[tuple[str, int, bytes]]:
        """(topic, record stamp ns, CDR bytes) of some topics (default: all), in [start_ns, stop_ns)."""
        for connection, stamp_ns, data in self._read(self._select(topics), start_ns, stop_ns):
            yield connection.topic, stamp_ns, bytes(data)

    def messages(self, topics: Collection[str] | None = None, start_ns: int | None = None,
                 stop_ns: int | None = None) -> Iterator[tuple[str, int, Message]]:
        """Like `raw`, with rosbags message objects.

        Raises:
            InputError: a topic is not in the bag, or its type is unknown here (read it raw instead).
        """
        for connection, stamp_ns, data in self._read(self._select(topics), start_ns, stop_ns):
            yield connection.topic, stamp_ns, self._decode(connection, data)

    def deserialize(self, topic: str, raw: bytes) -> Message:
        """The message object of a topic's CDR bytes.

        Raises:
            InputError: no such topic, unknown type, or broken bytes.
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
        messages = self._reader.messages(connections, start_ns, stop_ns)
        while True:
            try:
                item = next(messages)
            except StopIteration:
                return
            except Exception as error:  # see __init__: damage inside the file shows here
                raise self._broken(error) from error
            yield item

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
        except Exception as error:  # rosbags raises what it trips over
            raise InputError(field, f"bytes that are not a {name} ({_said(error)})", "intact CDR") from error

    def _store_for(self, connection: Connection) -> Typestore:
        """The type as the recorder knew it: its fields can differ from ours of the same name."""
        definition = connection.msgdef
        if definition.format is MessageDefinitionFormat.NONE:
            return typestore()
        try:
            if definition.format is MessageDefinitionFormat.MSG:
                types = get_types_from_msg(definition.data, connection.msgtype)
            else:
                # Several IDL files in one text, each under a line "IDL: name" after a ruler.
                parts = [part for part in definition.data.split("=" * 80 + "\n") if part.strip()]
                types = {}
                for part in parts:
                    types |= get_types_from_idl(part.split("\n", 1)[1] if part.startswith("IDL: ") else part)
            store = get_typestore(Stores.EMPTY)
            store.register(types)
        except Exception as error:  # see __init__
            raise InputError(f"{self.path}: {connection.topic}",
                             f"a definition of {connection.msgtype} that cannot be parsed ({_said(error)})",
                             "a ROS 2 message definition; the topic can be read raw") from error
        return store

    def _broken(self, error: Exception) -> InputError:
        return InputError(str(self.path), f"a bag that cannot be read ({_said(error)})",
                          f"{_READABLE}, complete (an interrupted recording: `ros2 bag reindex`, `mcap recover`)")


class BagWriter:
    """Writes a rosbag2 folder (version 9) that carries its message definitions.

    Use it as a context manager. Topics are reliable and volatile unless `add_topic` says otherwise.

    path: the folder to create; it must not exist.
    storage: "mcap" or "sqlite3".
    compress: zstd on the mcap chunks. Only for mcap.
    keep_partial: what an exception inside the `with` leaves: a complete bag of what was written until
        then (for a recorder), or nothing (for a converter, which can then be run again).

    Raises:
        InputError: the path exists, the storage is unknown, or the disk refuses.
    """

    def __init__(self, path: str | Path, storage: str = "mcap", *, compress: bool = False,
                 keep_partial: bool = False) -> None:
        self.path = Path(path)
        self._keep_partial = keep_partial
        self._topics: dict[str, Connection] = {}
        if storage not in STORAGES:
            raise InputError("storage", repr(storage), " or ".join(STORAGES))
        if compress and storage != "mcap":
            raise InputError("compress", f"True with {storage}", "only with mcap")
        if self.path.exists():
            raise InputError(str(self.path), "an existing path", "a new folder; bags are never overwritten")
        try:
            self._writer = Writer(self.path, version=9, storage_plugin=STORAGES[storage])
            if compress:
                self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
        except OSError as error:
            raise self._refused(error) from error
        self._open = True

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is None or self._keep_partial:
            self.close()
        else:
            self._discard()

    def add_topic(self, topic: str, msgtype: str, *, latched: bool = False, best_effort: bool = False) -> None:
        """Declare a topic before its first message, to give it a QoS. Latched is transient local.

        Raises:
            InputError: the topic is there already, or the type is unknown.
        """
        if topic in self._topics:
            raise InputError("topic", f"{topic} a second time", "each topic once")
        if msgtype not in typestore().fielddefs:
            raise InputError(f"type of {topic}", msgtype, "a type of ROS 2 Jazzy or admn_ros")
        self._check_open()
        self._topics[topic] = self._writer.add_connection(
            topic, msgtype, typestore=typestore(), offered_qos_profiles=[_qos(latched, best_effort)])

    def write(self, topic: str, msgtype: str, message: Message, stamp_ns: int) -> None:
        """Write a message object (`bag_messages`) with its record stamp in nanoseconds.

        Raises:
            InputError: the type does not fit the topic or the message, or the disk refuses.
        """
        found = getattr(message, "__msgtype__", type(message).__name__)
        if found != msgtype:
            raise InputError(f"message on {topic}", found, msgtype)
        self.write_raw(topic, msgtype, typestore().serialize_cdr(message, msgtype), stamp_ns)

    def write_raw(self, topic: str, msgtype: str, cdr: bytes | memoryview, stamp_ns: int) -> None:
        """Write CDR bytes as they came, with their record stamp in nanoseconds."""
        if topic not in self._topics:
            self.add_topic(topic, msgtype)
        connection = self._topics[topic]
        if connection.msgtype != msgtype:
            raise InputError(f"type of {topic}", msgtype, connection.msgtype)
        self._check_open()
        try:
            self._writer.write(connection, stamp_ns, cdr)
        except OSError as error:
            raise self._refused(error) from error

    def note(self, custom_data: Mapping[str, str]) -> None:
        """Put words of our own into the metadata; `BagReader.custom_data` reads them."""
        for key, value in custom_data.items():
            self._writer.set_custom_data(key, value)

    def close(self) -> None:
        """Finish the bag. Closing twice does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            self._writer.close()
        except OSError as error:
            raise self._refused(error) from error

    def _discard(self) -> None:
        if self._open:
            self._open = False
            self._writer.abort()
        shutil.rmtree(self.path, ignore_errors=True)  # ours: __init__ refuses a path that exists

    def _check_open(self) -> None:
        if not self._open:
            raise InputError(str(self.path), "a closed bag", "writing before close()")

    def _refused(self, error: OSError) -> InputError:
        return InputError(str(self.path), error.strerror or str(error), "a folder that can be written")


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
    # One latched publisher among several is enough to replay the topic latched; likewise reliable.
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


def _qos(latched: bool, best_effort: bool) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST, depth=1 if latched else 10,
        reliability=QosReliability.BEST_EFFORT if best_effort else QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_FOREVER, lifespan=_FOREVER, liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER, avoid_ros_namespace_conventions=False)


def _said(error: Exception) -> str:
    """The other library's words in one line."""
    text: Any = error.args[0] if error.args else ""
    return f"{type(error).__name__}: {' '.join(str(text).split())}".rstrip(": ")
