# SPDX-License-Identifier: Apache-2.0
"""Third-party packages have requirements, tested versions and rosdep keys; data files are part of the wheel."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

from setuptools.config.pyprojecttoml import read_configuration

from admn_ros.optional import EXTRAS

ROOT = Path(__file__).resolve().parents[2]
MODULES = {"PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml"}
"""Requirements whose module has another name."""
ROSDEP_KEYS = {"opencv-python-headless": "python3-opencv", "pillow": "python3-pil", "pyyaml": "python3-yaml"}
PIP_ONLY = {"mcap", "mujoco", "rosbags", "safetensors", "tensorboardX"}
"""Requirements without a rosdep key."""
BY_NAME = {"mujoco"}
"""Modules that are imported by their name, where they are needed."""
TEST_KEYS = {"hypothesis": "python3-hypothesis", "pytest": "python3-pytest", "setuptools": "python3-setuptools"}
"""rosdep keys of modules that only tests import."""
PACKAGE_XML = ElementTree.parse(ROOT / "package.xml")


def keys(*kinds: str) -> set[str]:
    """Return the rosdep keys of some kinds of dependencies."""
    return {str(e.text) for kind in kinds for e in PACKAGE_XML.findall(kind)}


def listed(name: str) -> set[str]:
    """Return the names of the packages in a requirements file."""
    lines = (ROOT / "build_support" / name).read_text(encoding="utf-8").splitlines()
    return {re.split(r"[\s<>=;\[]", line)[0] for line in lines if line and line[0] not in "#-"}


def imported(*folders: str) -> set[str]:
    """Return the top-level modules that the files of some folders import, without the standard library and our own."""
    found = set()
    for path in (p for folder in folders for p in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module).split(".")[0])
    return found - set(sys.stdlib_module_names) - {"admn_ros", "helpers"}


def test_every_import_has_a_requirement_or_a_key_and_every_requirement_is_imported():
    run_time, required = keys("depend", "exec_depend"), listed("requirements.txt")
    modules = imported("admn_ros", "launch") | BY_NAME
    assert {MODULES.get(m, m) for m in modules - run_time} == required
    tests = {MODULES.get(m, m) for m in imported("test", "examples")} - required - run_time
    assert {TEST_KEYS.get(m, m) for m in tests} <= keys("test_depend")


def test_packages_that_are_imported_where_they_are_installed_have_keys():
    assert {"cv_bridge", "message_filters", "tf2_msgs", "launch", "launch_ros", "rclpy"} <= keys("exec_depend")


def test_the_readme_names_the_requirements_before_the_build():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 0 < readme.index("pip install -r src/admn_ros/build_support/requirements.txt") < readme.index("colcon build")


def test_the_maintainer_has_an_address_that_is_no_example():
    address = PACKAGE_XML.find("maintainer").get("email")
    assert re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", address) and "example" not in address


def test_every_requirement_has_a_tested_version():
    pinned = {name.lower().replace("_", "-") for name in listed("constraints.txt")}
    required = {name.lower().replace("_", "-") for name in listed("requirements.txt") | listed("python.txt")}
    assert not required - pinned


def test_the_optional_packages_are_in_their_extras_and_in_the_setup_of_the_tests():
    extras = read_configuration(ROOT / "pyproject.toml")["project"]["optional-dependencies"]
    for extra, packages in EXTRAS.items():
        assert extras[extra] == [f"{name}>={version}" for name, version in packages.items()]
        assert set(packages) <= listed("python.txt")
        assert not set(packages) & imported("admn_ros", "launch"), "they are imported by name where they are needed"


def test_every_requirement_has_a_rosdep_key():
    found = {key for key in keys("exec_depend") if key.startswith("python3-")}
    assert found == {ROSDEP_KEYS.get(name, f"python3-{name}") for name in listed("requirements.txt") - PIP_ONLY}


def test_every_data_file_is_part_of_the_wheel():
    patterns = read_configuration(ROOT / "pyproject.toml")["tool"]["setuptools"]["package-data"]
    packed = {path for package, globs in patterns.items() for pattern in globs
              for path in ROOT.joinpath(*package.split(".")).glob(pattern)}
    data = {path for path in (ROOT / "admn_ros").rglob("*") if path.is_file() and "__pycache__" not in path.parts
            and path.suffix not in (".py", ".pyc") and path.name != "py.typed"}
    assert data and data <= packed
