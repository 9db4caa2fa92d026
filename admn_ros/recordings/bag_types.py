# SPDX-License-Identifier: Apache-2.0
"""The message types that a bag can hold, without ROS: rosbags' Jazzy types and our own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from admn_ros.errors import InputError

PACKAGE = "admn_ros"
OWN_TYPES = ("ComputeBudget", "AudioFrame", "ModalityAllocation", "LayerAllocation", "Classification")


def message_folder() -> Path:
    """Folder with our .msg files: the checkout's `msg/`, or `share/admn_ros/msg` of an installation.

    Raises:
        InputError: none of the places has all of them.
    """
    tried = []
    for folder in _candidates():
        if all((folder / f"{name}.msg").is_file() for name in OWN_TYPES):
            return folder
        tried.append(str(folder))
    raise InputError("message definitions", f"no folder with {', '.join(OWN_TYPES)} (.msg) among {tried}",
                     "admn_ros installed with its share/admn_ros/msg, or run from its checkout")


@cache
def typestore() -> Typestore:
    """The rosbags type store of ROS 2 Jazzy with our own messages. One store, shared: do not change it.

    Raises:
        InputError: our .msg files are absent or cannot be parsed.
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


def _candidates() -> Iterator[Path]:
    """Where the .msg files can be: beside the package, its prefix, the environment, ROS workspaces."""
    package = Path(__file__).resolve().parents[1]
    yield package.parent / "msg"
    # <prefix>/lib/python3.X/site-packages/admn_ros: three folders up from the package's parent.
    prefixes = [*package.parents[1:5], Path(sys.prefix)]
    prefixes += [Path(entry) for entry in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry]
    for prefix in dict.fromkeys(prefixes):
        yield prefix / "share" / PACKAGE / "msg"
