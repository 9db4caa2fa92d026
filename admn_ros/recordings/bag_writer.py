# SPDX-License-Identifier: Apache-2.0
"""Writing of rosbag2 recordings without ROS."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from admn_ros.errors import InputError
from admn_ros.recordings.bag_messages import Message
from admn_ros.recordings.bag_types import typestore

STORAGES: dict[str, StoragePlugin] = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_FOREVER = QosTime(0, 0)


class BagWriter:
    """Writes a rosbag2 folder (version 9) with its message definitions.

    Use it as a context manager. Topics are reliable and volatile by default.

    Args:
        path: folder to create; it must not exist.
        storage: "mcap" or "sqlite3".
        compress: whether to compress mcap chunks with zstd.
        keep_partial: whether an exception inside the `with` leaves a complete bag of the messages so far, as a recorder
            needs it. Otherwise it leaves nothing, so that a conversion can be repeated.

    Raises:
        InputError: the path exists, the storage is unknown, or the folder cannot be written.
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
            raise self._not_writable(error) from error
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
        try:
            self._writer.write(connection, stamp_ns, cdr)
        except OSError as error:
            raise self._not_writable(error) from error

    def note(self, custom_data: Mapping[str, str]) -> None:
        """Add custom data to the metadata; `BagReader.custom_data` returns them."""
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
            raise self._not_writable(error) from error

    def _discard(self) -> None:
        if self._open:
            self._open = False
            self._writer.abort()
        shutil.rmtree(self.path, ignore_errors=True)  # created by __init__

    def _check_open(self) -> None:
        if not self._open:
            raise InputError(str(self.path), "a closed bag", "writing before close()")

    def _not_writable(self, error: OSError) -> InputError:
        return InputError(str(self.path), error.strerror or str(error), "a folder that can be written")


def _qos(latched: bool, best_effort: bool) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST, depth=1 if latched else 10,
        reliability=QosReliability.BEST_EFFORT if best_effort else QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_FOREVER, lifespan=_FOREVER, liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER, avoid_ros_namespace_conventions=False)
