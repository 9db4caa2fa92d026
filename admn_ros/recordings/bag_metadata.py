# SPDX-License-Identifier: Apache-2.0
"""The metadata of a rosbag2 recording: `metadata.yaml`, or what the recorder stored in the file itself.

Only what reading needs is taken from it. What describes the topics better is in the storage files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import Any, Final

from rosbags.interfaces import QosDurability, QosReliability

from admn_ros.config.strict_yaml import parse_yaml
from admn_ros.errors import InputError
from admn_ros.files import read_text
from admn_ros.recordings.storage_file import CDR, unreadable

METADATA = "metadata.yaml"
_ROOT = "rosbag2_bagfile_information"
_NEWEST = 9
_STORAGES = ("mcap", "sqlite3")
_MAX_TEXT: Final = 16 << 20
"""Bytes of `metadata.yaml`, which grows with the number of topics and their publishers: about 600 for each topic."""
_MAX_SIZE: Final = 1 << 25
"""Size of its content, as `parse_yaml` counts it."""


_BROKEN: Final = (TypeError, KeyError, AttributeError, ValueError)
"""What parsing of damaged or edited metadata raises."""


@dataclass(frozen=True)
class BagMetadata:
    """Metadata of a recording.

    Attributes:
        files: names of the storage files, in the order in which they were recorded.
        compressed: whether the files are compressed with zstd.
        counts: number of messages by topic.
        counts_by_file: number of messages by file; empty if not recorded.
        encodings: encoding of the messages by topic.
        qos: offered QoS profiles by topic, as recorded.
        custom: data of the user.
    """

    files: tuple[str, ...] = ()
    compressed: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    counts_by_file: Mapping[str, int] = field(default_factory=dict)
    encodings: Mapping[str, str] = field(default_factory=dict)
    qos: Mapping[str, object] = field(default_factory=dict)
    custom: Mapping[str, str] = field(default_factory=dict)


def read_metadata(folder: Path) -> BagMetadata:
    """Read the `metadata.yaml` of a recording.

    Raises:
        InputError: the file is broken, or describes something that cannot be read.
    """
    try:
        text = read_text(folder / METADATA, "a readable YAML file", _MAX_TEXT)
        raw = parse_yaml(text, METADATA, most=_MAX_SIZE)
    except InputError as error:
        raise unreadable(folder, f"{METADATA}: {error.found}") from error
    if not isinstance(raw, dict) or not isinstance(raw.get(_ROOT), dict):
        raise unreadable(folder, f"{METADATA}: no {_ROOT}" if text.strip() else f"{METADATA}: an empty file")
    try:
        _check_kind(folder, raw[_ROOT])
        found = _parse(raw[_ROOT])
    except InputError:
        raise
    except _BROKEN as error:
        raise unreadable(folder, f"{METADATA}: {type(error).__name__}: {error}") from error
    return replace(found, files=tuple(_local_name(folder, name) for name in found.files))


def stored_metadata(text: str) -> BagMetadata | None:
    """Return the metadata that a recorder stored in its file; None if there are none that can be read."""
    try:
        found: Any = parse_yaml(text, _ROOT, most=_MAX_SIZE)
        return _parse(found.get(_ROOT, found))
    except _BROKEN:
        return None


def offered_qos(recorded: object) -> tuple[list[str], list[str]]:
    """Return durabilities and reliabilities of offered QoS profiles; empty ones if the text is damaged.

    Args:
        recorded: list of profiles, or its YAML. Their values are names, or the numbers of rmw.
    """
    try:
        profiles: Any = parse_yaml(recorded, "offered_qos_profiles") if isinstance(recorded, str) else recorded
        return ([_name(QosDurability, profile["durability"]) for profile in profiles or ()],
                [_name(QosReliability, profile["reliability"]) for profile in profiles or ()])
    except (TypeError, KeyError, ValueError):
        return [], []


def _check_kind(folder: Path, found: Mapping[str, Any]) -> None:
    known: Collection[object]
    mode, how = str(found.get("compression_mode") or "none").lower(), str(found.get("compression_format") or "").lower()
    for field_name, value, known in (
            ("version", found["version"], range(1, _NEWEST + 1)),
            ("storage_identifier", found["storage_identifier"], _STORAGES),
            ("compression_mode", mode, ("none", "file", "message", "storage")),
            ("compression_format", how, ("", "zstd") if mode in ("none", "storage") else ("zstd",))):
        if value not in known:
            allowed = f"1 to {_NEWEST}" if field_name == "version" else ", ".join(str(each) for each in known if each)
            raise unreadable(folder, f"{METADATA}: {field_name} {value}, where {allowed} is known")


def _parse(found: Mapping[str, Any]) -> BagMetadata:
    counts: dict[str, int] = {}
    encodings: dict[str, str] = {}
    qos: dict[str, object] = {}
    for entry in found.get("topics_with_message_count") or ():
        topic = entry["topic_metadata"]
        name = str(topic["name"])
        counts[name] = counts.get(name, 0) + _count(entry)
        encodings[name] = str(topic.get("serialization_format") or CDR)
        qos[name] = topic.get("offered_qos_profiles") or qos.get(name)
    by_file = {Path(str(entry["path"])).name: _count(entry) for entry in found.get("files") or ()}
    # Until version 3 the paths are relative to the parent of the folder.
    names = found["relative_file_paths"]
    if not isinstance(names, list) or not all(isinstance(name, str) and Path(name).name for name in names):
        raise ValueError("relative_file_paths is no list of names")
    files = dict.fromkeys(Path(name).name for name in names)
    custom = found.get("custom_data") or {}
    return BagMetadata(tuple(files), str(found.get("compression_mode")).lower() == "file", counts, by_file, encodings,
                       qos, {str(key): str(value) for key, value in custom.items()})


def _count(entry: Mapping[str, Any]) -> int:
    count = entry["message_count"]
    if not isinstance(count, int) or count < 0:
        raise ValueError(f"message_count {count}, where a whole number is known")
    return count


def _local_name(folder: Path, name: str) -> str:
    """Return the name of a file whose path a recorder on Windows may have written."""
    return name if (folder / name).exists() else PureWindowsPath(name).name


def _name(kind: type[QosDurability | QosReliability], value: object) -> str:
    return (kind(value) if isinstance(value, int) else kind[str(value).upper()]).name.lower()
