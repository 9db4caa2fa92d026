# SPDX-License-Identifier: Apache-2.0
"""Message types of bags, without ROS: those of Jazzy and of this package, and those that a bag defines itself.

A bag's own definition says how its bytes are laid out. Recorders of other distributions, converters from ROS 1 and
other tools name types and fields differently, so that names are mapped to those of Jazzy. What is needed is not listed
anywhere: reading a field that the definition lacks is the error.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from admn_ros.errors import AdmnError, InputError, one_line
from admn_ros.recordings.storage_file import reason_of
from admn_ros.share import share_directory

PACKAGE = "admn_ros"
ROS_SCHEMAS: Final = ("ros2msg", "ros2idl", "omgidl")
"""Encodings of definitions in ROS 2 bags. A recorder that does not find a definition leaves it empty."""
_TYPE_NAMES: Final = {"tf/msg/tfMessage": "tf2_msgs/msg/TFMessage"}
"""Types of ROS 1 that have another name in ROS 2, and the same fields."""
_FIELD_NAMES: Final = {"secs": "sec", "nsecs": "nanosec", "nsec": "nanosec"}
OWN_TYPES = ("ComputeBudget", "BudgetRange", "BudgetRefusal", "BudgetState", "AudioFrame", "ModalityAllocation",
             "InputAllocation", "LayerAllocation", "Classification")
"""Messages of this package, each after those that it contains."""


def message_folder() -> Path:
    """Return the folder with the .msg files of this package.

    Raises:
        InputError: a message definition is missing.
    """
    folder = share_directory() / "msg"
    missing = [name for name in OWN_TYPES if not (folder / f"{name}.msg").is_file()]
    if missing:
        raise InputError("message definitions", f"no {', '.join(missing)} (.msg) in {folder}",
                         "admn_ros installed with its share/admn_ros/msg, or run from its checkout")
    return folder


@cache
def typestore() -> Typestore:
    """Return the shared rosbags type store of ROS 2 Jazzy with the messages of this package; do not modify it.

    Raises:
        InputError: a message definition is missing or cannot be parsed.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    folder = message_folder()
    for name in OWN_TYPES:
        path = folder / f"{name}.msg"
        try:
            store.register(get_types_from_msg(path.read_text(encoding="utf-8"), f"{PACKAGE}/msg/{name}"))
        except (TypesysError, OSError, UnicodeDecodeError) as error:
            raise InputError(str(path), " ".join(str(error).split()), "a ROS 2 message definition") from error
    return store


class DefinitionError(AdmnError, AttributeError):
    """A field that the bag's own definition of a type lacks.

    It is no `InputError`, which may concern one message: no message of the topic can be used.
    """


def type_name(recorded: str) -> str:
    """Return the name of a type as ROS 2 spells it: `pkg/Name`, `pkg::msg::Name` and names of ROS 1 are understood."""
    parts = [part for part in recorded.replace("::", "/").split("/") if part]
    name = f"{parts[0]}/msg/{parts[-1]}" if len(parts) == 2 else "/".join(parts)
    return _TYPE_NAMES.get(name, name)


def store_of(recorded: str, schema: str, definition: str, place: str) -> Typestore:
    """Return a type as it was recorded, with the names of its fields mapped to those of Jazzy.

    Args:
        recorded: name of the type in the bag.
        schema: encoding of the definition.
        definition: text of the definition; empty for the type of Jazzy or of this package.
        place: bag and topic, for errors.

    Raises:
        InputError: the definition cannot be parsed.
    """
    if not definition.strip() and type_name(recorded) in typestore().fielddefs:
        return typestore()   # also where a recorder did not find the definition
    try:
        types = _parsed(recorded, schema, definition) if definition.strip() else {}
        _complete(types)
        store = get_typestore(Stores.EMPTY)
        store.register({name: (constants, _known_fields(name, fields)) for name, (constants, fields) in types.items()})
    except Exception as error:  # rosbags raises many kinds of exceptions
        raise InputError(place, f"a definition of {recorded} that cannot be parsed ({reason_of(error)})",
                         "a ROS 2 message definition; the topic can be read raw") from error
    for name, kind in store.types.items():
        kind.__getattr__ = _refusal(place, name)  # type: ignore[attr-defined]
    return store


def _parsed(recorded: str, schema: str, definition: str) -> dict[str, Any]:
    name, definition = type_name(recorded), _tidy(definition)
    if schema == "ros2msg":
        return dict(get_types_from_msg(definition, name))
    # The text has several IDL files, each after a ruler and a line "IDL: name".
    parts = [part for part in definition.split("=" * 80 + "\n") if part.strip()]
    types: dict[str, Any] = {}
    for part in parts:
        types |= get_types_from_idl(part.split("\n", 1)[1] if part.startswith("IDL: ") else part)
    return types


def _tidy(definition: str) -> str:
    """Return a definition without what some tools add: line ends of Windows, tabs, zeros, a ruler at the end."""
    lines = [line.rstrip() for line in re.split(r"\r\n|\r|\n", definition.replace("\0", "").replace("\t", " "))]
    while lines and not lines[-1].strip("="):
        lines.pop()
    return "\n".join(lines) + "\n"


def _complete(types: dict[str, Any]) -> None:
    """Add the types of Jazzy that a definition mentions and does not contain."""
    known, pending = typestore().fielddefs, list(types)
    while pending:
        for _, field in types[pending.pop()][1]:
            name = _base(field)[1]
            if isinstance(name, str) and name in known and name not in types:
                types[name] = known[name]
                pending.append(name)


def _base(field: Any) -> Any:
    """Return the node of a scalar type or a message in a field description, without arrays around it."""
    while field[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        field = field[1][0]
    return field


def _known_fields(name: str, fields: Any) -> list[tuple[str, Any]]:
    """Return fields under the names of Jazzy. One of another kind gets another name: it is not what readers expect."""
    known = dict(typestore().fielddefs.get(name, ((), ()))[1])
    by_lower = {field.lower(): field for field in known}
    recorded = {field for field, _ in fields}
    found = []
    for field, description in fields:
        mapped = by_lower.get(_FIELD_NAMES.get(field.lower(), field.lower()), field)
        if mapped != field and mapped in recorded:
            mapped = field
        if mapped in known and _shape(known[mapped]) != _shape(description):
            mapped = f"{mapped}_recorded"
        found.append((mapped, description))
    return found


def _shape(field: Any) -> tuple[bool, str]:
    """Return whether a field is an array, and whether its items are text, numbers or a message."""
    kind, what = _base(field)
    scalar = "text" if what[0] == "string" else "number"
    return field[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE), scalar if kind == Nodetype.BASE else str(what)


def _refusal(place: str, kind: str) -> Any:
    """Return the `__getattr__` of a type, which is called for fields that it does not have."""

    def refuse(self: object, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise DefinitionError(one_line(f"{place}: found a definition of {kind} without the field {name}; "
                                       f"allowed: {kind} with {name}, as ROS 2 defines it"))

    return refuse
