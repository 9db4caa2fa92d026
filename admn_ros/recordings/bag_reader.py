# SPDX-License-Identifier: Apache-2.0
"""Reading rosbag2 recordings (sqlite3 and mcap) without ROS."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rosbags.typesys.store import Typestore

from admn_ros.errors import InputError
from admn_ros.recordings.bag_files import BagFiles
from admn_ros.recordings.bag_messages import Message
from admn_ros.recordings.bag_metadata import offered_qos
from admn_ros.recordings.bag_types import ROS_SCHEMAS, store_of, type_name
from admn_ros.recordings.storage_file import CDR, Channel, StorageFile, plain, reason_of, unreadable


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
    stamps, also over the files of a split bag. An empty bag is valid. Message definitions in the bag take precedence
    over those of Jazzy and of this package.

    Args:
        path: bag folder, or .mcap or .db3 file.

    Attributes:
        path: path of the bag.
        topics: topics by name.
        ignored: channels that are not ROS 2 topics, such as JSON or protobuf, with what they are.
        remarks: what the bag is known to have lost, or may have lost; also whatever else its user must know.

    Raises:
        InputError: the path does not exist, is no bag, has no metadata, has fewer messages than its metadata counts, or
            is damaged; or it has no ROS 2 topic among others.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._stores: dict[str, Typestore] = {}
        self._files = BagFiles(self.path)
        self._open = True
        self.remarks = tuple(self._files.remarks)
        self.topics: dict[str, TopicInfo] = {}
        self.ignored: dict[str, str] = {}
        self._channels: dict[str, list[tuple[StorageFile, Channel]]] = {}
        for file in self._files.files:
            for channel in file.channels:
                other = _other_encoding(channel, self._files.metadata.encodings.get(channel.topic, CDR))
                if other:
                    self.ignored[channel.topic] = other
                else:
                    self._channels.setdefault(channel.topic, []).append((file, channel))
        if self.ignored and not self._channels:
            self.close()
            raise _no_ros2_topic(self.path, self.ignored)
        for topic, channels in sorted(self._channels.items()):
            self.topics[topic] = _topic_info([c for _, c in channels], self._files.metadata.qos.get(topic))
        used = [file for file, channel in self._all(self._channels) if channel.count]
        self._bounds = (min(f.start_ns for f in used), max(f.end_ns for f in used)) if used else (0, 0)

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the files. Closing twice does nothing."""
        if self._open:
            self._open = False
            self._files.close()

    @property
    def message_count(self) -> int:
        """Number of messages of all topics."""
        return sum(info.count for info in self.topics.values())

    @property
    def start_ns(self) -> int:
        """Record stamp of the first message; 0 in an empty bag."""
        return self._bounds[0]

    @property
    def end_ns(self) -> int:
        """Record stamp of the last message; 0 in an empty bag."""
        return self._bounds[1]

    @property
    def custom_data(self) -> dict[str, str]:
        """Custom data in the metadata (see `BagWriter.note`)."""
        return dict(self._files.metadata.custom)

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
            InputError: the file is damaged, or has fewer messages than its index counts.
        """
        names = self._select(topics)
        if not self._open:
            raise InputError(str(self.path), "a closed bag", "reading before close()")
        wanted: dict[StorageFile, dict[int, str]] = {}
        for file, channel in self._all(names):
            wanted.setdefault(file, {})[channel.id] = channel.topic
        left = sum(self.topics[name].count for name in names)
        messages = self._files.read(wanted, start_ns, stop_ns)
        while True:
            try:
                topic, stamp_ns, data = next(messages)
                content = plain(bytes(data))
            except StopIteration:
                break
            except InputError:
                raise
            except Exception as error:  # damage inside the file; the decompressors raise many kinds of exceptions
                raise unreadable(self.path, reason_of(error)) from error
            left -= 1
            yield topic, stamp_ns, content
        if left > 0 and start_ns is None and stop_ns is None:
            raise unreadable(self.path, f"{left} messages fewer than its index counts on {', '.join(names)}")

    def messages(self, topics: Collection[str] | None = None, start_ns: int | None = None,
                 stop_ns: int | None = None) -> Iterator[tuple[str, int, Message]]:
        """Yield the same as `raw`, with rosbags message objects in place of bytes.

        Raises:
            InputError: a topic is not in the bag, or its type is unknown (use `raw`).
        """
        for topic, stamp_ns, data in self.raw(topics, start_ns, stop_ns):
            yield topic, stamp_ns, self.deserialize(topic, data)

    def deserialize(self, topic: str, raw: bytes) -> Message:
        """Return the message object of CDR bytes of a topic.

        Its fields have the names of ROS 2. Reading a field that the bag's own definition lacks raises a
        `DefinitionError`.

        Raises:
            InputError: there is no such topic, its type is unknown, or the bytes are broken.
        """
        self._select([topic])
        store, name, place = self._stores.get(topic), self.topics[topic].type, f"{self.path}: {topic}"
        if store is None:
            store = self._stores[topic] = self._store_for(topic)
        if name not in store.fielddefs:
            raise InputError(place, f"message type {name}, which this bag does not define",
                             "a type of ROS 2 Jazzy or admn_ros, or a bag with its definition; it can be read raw")
        try:
            return store.deserialize_cdr(raw, name)
        except Exception as error:  # rosbags raises many kinds of exceptions
            raise InputError(place, f"bytes that are not a {name} ({reason_of(error)})", "intact CDR") from error

    # --- parts -------------------------------------------------------------------------------------

    def _all(self, topics: Collection[str]) -> list[tuple[StorageFile, Channel]]:
        return [pair for topic in topics for pair in self._channels[topic]]

    def _select(self, topics: Collection[str] | None) -> list[str]:
        names = list(self._channels) if topics is None else list(dict.fromkeys(topics))
        for name in names:
            if name in self.ignored and name not in self._channels:
                raise InputError(f"{self.path}: {name}", self.ignored[name], "messages in CDR, as ROS 2 records them")
            if name not in self._channels:
                raise InputError(f"{self.path}: topic", name, ", ".join(self.topics) or "none: the bag has no topics")
        return names

    def _store_for(self, topic: str) -> Typestore:
        channels = [channel for _, channel in self._channels[topic]]
        if len({type_name(channel.type) for channel in channels}) > 1:
            raise InputError(f"{self.path}: {topic}", self.topics[topic].type, "one type on a topic")
        described = next((channel for channel in channels if channel.definition), channels[0])
        return store_of(described.type, described.schema, described.definition, f"{self.path}: {topic}")


def _other_encoding(channel: Channel, listed: str) -> str:
    """Return what the messages of a channel are if they are not those of a ROS 2 topic; empty if they are.

    Args:
        channel: channel to judge.
        listed: encoding of the topic in the metadata.
    """
    encoding = channel.serialization if channel.serialization != CDR else listed
    foreign = channel.schema not in ROS_SCHEMAS and channel.definition
    if encoding != CDR or foreign or not channel.type:
        return f"messages in {encoding or 'an unnamed encoding'}, described by {channel.schema or 'nothing'}"
    return ""


def _no_ros2_topic(path: Path, ignored: dict[str, str]) -> InputError:
    (topic, what), *others = ignored.items()
    more = f" and {len(others)} more" if others else ""
    if "in ros1," in what:
        return InputError(str(path), f"a ROS 1 recording ({topic}{more})",
                          "a ROS 2 recording; `rosbags-convert` converts the .bag that it was made from")
    return unreadable(path, f"none of its topics has messages of ROS 2: {topic}{more} has {what}")


def _topic_info(channels: list[Channel], listed_qos: object) -> TopicInfo:
    # One latched publisher makes the topic latched in a replay, and likewise one reliable publisher.
    found = [offered_qos(qos) for qos in (*(channel.qos for channel in channels), listed_qos)]
    durabilities, reliabilities = ([name for each in kind for name in each] for kind in zip(*found, strict=True))
    return TopicInfo(
        type=", ".join(dict.fromkeys(type_name(channel.type) for channel in channels)),
        count=sum(channel.count for channel in channels),
        durability=_prefer("transient_local", durabilities),
        reliability=_prefer("reliable", reliabilities))


def _prefer(wish: str, found: list[str]) -> str | None:
    if not found:
        return None
    return wish if wish in found else found[0]
