# SPDX-License-Identifier: Apache-2.0
"""Writing of rosbag2 recordings without ROS."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer

from admn_ros.errors import InputError
from admn_ros.recordings.bag_messages import Message
from admn_ros.recordings.bag_types import typestore

STORAGES: dict[str, StoragePlugin] = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_FOREVER = QosTime(0, 0)


class _SqliteFile(Sqlite3Writer):
    """The sqlite3 file of a bag, under a name that SQLite takes literally: rosbags makes a URI of it."""

    def __init__(self, path: Path, compression: CompressionMode) -> None:
        self.path = path / f"{_storage_name(path)}.db3"
        self.conn = sqlite3.connect(self.path.absolute(), uri=False)
        self.conn.executescript(self.SQLITE_SCHEMA)
        self.cursor = self.conn.cursor()


class _McapFile(McapWriter):
    """The mcap file of a bag, under a name that metadata.yaml can hold."""

    def __init__(self, path: Path, compression: CompressionMode) -> None:
        super().__init__(path, compression)
        self.path = self.path.rename(path / f"{_storage_name(path)}.mcap")


class _Files(Writer):
    STORAGE_PLUGINS = {StoragePlugin.MCAP: _McapFile, StoragePlugin.SQLITE3: _SqliteFile}  # noqa: RUF012


class BagWriter:
    """Writes a rosbag2 folder (version 9) with its message definitions.

    Use it as a context manager. Topics are reliable and volatile by default. An exception inside the `with`, or an
    error of the storage (a full disk), leaves nothing, so that a conversion can be repeated.

    Args:
        path: folder to create; it must not exist.
        storage: "mcap" or "sqlite3".
        compress: whether to compress mcap chunks with zstd.

    Raises:
        InputError: the path exists, the storage is unknown, or the folder cannot be written.
    """

    def __init__(self, path: str | Path, storage: str = "mcap", *, compress: bool = False) -> None:
        self.path = Path(path)
        self._open = False
        self._topics: dict[str, Connection] = {}
        if storage not in STORAGES:
            raise InputError("storage", repr(storage), " or ".join(STORAGES))
        if compress and storage != "mcap":
            raise InputError("compress", f"True with {storage}", "only with mcap")
        with self._storage_errors():
            if self.path.exists():
                raise InputError(str(self.path), "an existing path", "a new folder; bags are never overwritten")
            self._writer = _Files(self.path, version=9, storage_plugin=STORAGES[storage])
            if compress:
                self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._open = True
        with self._storage_errors():
            self._writer.open()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def add_topic(self, topic: str, msgtype: str, *, latched: bool = False, best_effort: bool = False) -> None:
        """Declare the QoS of a topic before its first message.

        Args:
            topic: topic.
            msgtype: message type.
            latched: whether the durability is transient local.
            best_effort: whether the reliability is best effort.

        Raises:
            InputError: the topic exists already, or the type is unknown.
        """
        if topic in self._topics:
            raise InputError("topic", f"{topic} a second time", "each topic once")
        if msgtype not in typestore().fielddefs:
            raise InputError(f"type of {topic}", msgtype, "a type of ROS 2 Jazzy or admn_ros")
        self._check_open()
        with self._storage_errors():
            self._topics[topic] = self._writer.add_connection(
                topic, msgtype, typestore=typestore(), offered_qos_profiles=[_qos(latched, best_effort)])

    def write(self, topic: str, msgtype: str, message: Message, stamp_ns: int) -> None:
        """Write a message object (`bag_messages`) with its record stamp in nanoseconds.

        Raises:
            InputError: the type does not match the topic or the message, or the bag cannot be written.
        """
        found = getattr(message, "__msgtype__", type(message).__name__)
        if found != msgtype:
            raise InputError(f"message on {topic}", found, msgtype)
        self.write_raw(topic, msgtype, typestore().serialize_cdr(message, msgtype), stamp_ns)

    def write_raw(self, topic: str, msgtype: str, cdr: bytes | memoryview, stamp_ns: int) -> None:
        """Write CDR bytes with their record stamp in nanoseconds; errors as in `write`."""
        if topic not in self._topics:
            self.add_topic(topic, msgtype)
        connection = self._topics[topic]
        if connection.msgtype != msgtype:
            raise InputError(f"type of {topic}", msgtype, connection.msgtype)
        self._check_open()
        with self._storage_errors():
            self._writer.write(connection, stamp_ns, cdr)

    def note(self, custom_data: Mapping[str, str]) -> None:
        """Add custom data to the metadata; `BagReader.custom_data` returns them."""
        for key, value in custom_data.items():
            self._writer.set_custom_data(key, value)

    def close(self) -> None:
        """Finish the bag. Closing twice does nothing."""
        if not self._open:
            return
        with self._storage_errors():
            self._writer.close()
        self._open = False

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Turn an error of the storage into an `InputError`, and end the bag: SQLite may have dropped its messages."""
        try:
            yield
        except (OSError, sqlite3.Error, UnicodeError) as error:
            if self._open:
                self._discard()
            raise InputError(str(self.path), getattr(error, "strerror", None) or str(error) or type(error).__name__,
                             "a folder that can be written, with space") from error

    def _discard(self) -> None:
        if self._open:
            self._open = False
            with suppress(OSError, sqlite3.Error):   # closing flushes, which fails again on a full disk
                self._writer.abort()
        shutil.rmtree(self.path, ignore_errors=True)  # created by __init__

    def _check_open(self) -> None:
        if not self._open:
            raise InputError(str(self.path), "a closed bag", "writing before close()")


def _storage_name(folder: Path) -> str:
    """Return the name of the storage file without its suffix: that of the folder, if it can stand in YAML."""
    return folder.name if folder.name.isprintable() else "bag"


def _qos(latched: bool, best_effort: bool) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST, depth=1 if latched else 10,
        reliability=QosReliability.BEST_EFFORT if best_effort else QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_FOREVER, lifespan=_FOREVER, liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER, avoid_ros_namespace_conventions=False)
