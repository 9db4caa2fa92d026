# SPDX-License-Identifier: Apache-2.0
"""Third-party packages have requirements, tested versions and rosdep keys; data files are part of the wheel."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

from setuptools.config.pyprojecttoml import read_configuration

ROOT = Path(__file__).resolve().parents[2]
MODULES = {"PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml"}
"""Requirements whose module has another name."""
ROSDEP_KEYS = {"opencv-python-headless": "python3-opencv", "pillow": "python3-pil", "pyyaml": "python3-yaml"}
PIP_ONLY = {"rosbags", "safetensors", "tensorboardX"}
"""Requirements without a rosdep key."""
OPTIONAL = {"mujoco"}
"""Modules that a command asks for when it needs them."""
ROS = {"action_msgs", "ament_index_python", "builtin_interfaces", "diagnostic_msgs", "geometry_msgs", "lifecycle_msgs",
       "nav_msgs", "rcl_interfaces", "rclpy", "rosgraph_msgs", "sensor_msgs", "std_msgs", "tf2_msgs",
       "visualization_msgs"}


def listed(name: str) -> set[str]:
    """Return the names of the packages in a requirements file."""
    lines = (ROOT / "build_support" / name).read_text(encoding="utf-8").splitlines()
    return {re.split(r"[\s<>=;\[]", line)[0] for line in lines if line and line[0] not in "#-"}


def imported() -> set[str]:
    """Return the top-level modules that the package imports, without the standard library and ROS."""
    found = set()
    for path in (ROOT / "admn_ros").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module).split(".")[0])
    return found - set(sys.stdlib_module_names) - ROS - {"admn_ros"}


def test_every_import_has_a_requirement_and_every_requirement_is_imported():
    assert {MODULES.get(module, module) for module in imported() - OPTIONAL} == listed("requirements.txt")
    assert listed("python.txt") >= OPTIONAL


def test_every_requirement_has_a_tested_version():
    pinned = {name.lower().replace("_", "-") for name in listed("constraints.txt")}
    required = {name.lower().replace("_", "-") for name in listed("requirements.txt") | listed("python.txt")}
    assert not required - pinned


def test_every_requirement_has_a_rosdep_key():
    package = ElementTree.parse(ROOT / "package.xml")
    keys = {str(e.text) for e in package.findall("exec_depend") if str(e.text).startswith("python3-")}
    assert keys == {ROSDEP_KEYS.get(name, f"python3-{name}") for name in listed("requirements.txt") - PIP_ONLY}


def test_every_data_file_is_part_of_the_wheel():
    patterns = read_configuration(ROOT / "pyproject.toml")["tool"]["setuptools"]["package-data"]
    packed = {path for package, globs in patterns.items() for pattern in globs
              for path in ROOT.joinpath(*package.split(".")).glob(pattern)}
    data = {path for path in (ROOT / "admn_ros").rglob("*") if path.is_file() and "__pycache__" not in path.parts
            and path.suffix not in (".py", ".pyc") and path.name != "py.typed"}
    assert data and data <= packed
