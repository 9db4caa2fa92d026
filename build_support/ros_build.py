# SPDX-License-Identifier: Apache-2.0
"""PEP 517 backend: setuptools, plus the ROS 2 build wheels if there is no ROS 2 to build against."""

import os
import shutil
import sys
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

HERE = Path(__file__).parent


def ros_prefix() -> str | None:
    """Return the prefix of a ROS 2 that can generate messages: sourced, or in this Python environment."""
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    prefixes += [str(Path(p).parents[2]) for p in sys.path if p.endswith("site-packages")]
    for prefix in filter(None, prefixes):
        if (Path(prefix) / "share/rosidl_default_generators").is_dir():
            return prefix
    return None


def with_messages() -> bool:
    """Return whether the messages are built: always, but with ADMN_ROS_MESSAGES=off."""
    return os.environ.get("ADMN_ROS_MESSAGES", "on") != "off"


def _extra_requirements() -> list[str]:
    required: list[str] = []
    if not with_messages():
        return required
    if ros_prefix() is None:
        lines = (HERE / "ros-jazzy.txt").read_text().splitlines()
        required += [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
    return required + [tool for tool in ("cmake", "ninja") if shutil.which(tool) is None]


def get_requires_for_build_wheel(config_settings=None):
    return build_meta.get_requires_for_build_wheel(config_settings) + _extra_requirements()


def get_requires_for_build_editable(config_settings=None):
    return build_meta.get_requires_for_build_editable(config_settings) + _extra_requirements()
