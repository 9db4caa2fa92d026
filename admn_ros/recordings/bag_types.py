# SPDX-License-Identifier: Apache-2.0
"""Message types of bags, without ROS: those of ROS 2 Jazzy from rosbags, and those of this package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from admn_ros.errors import InputError
from admn_ros.share import share_directory

PACKAGE = "admn_ros"
OWN_TYPES = ("ComputeBudget", "BudgetRange", "BudgetRefusal", "BudgetState", "AudioFrame", "ModalityAllocation",
             "LayerAllocation", "Classification")
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
