# SPDX-License-Identifier: Apache-2.0
"""The layers of the house: who may import whom, and where ROS may appear."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "admn_ros"
# Each room may import what stands before it, and nothing after it.
ROOMS = ("errors", "files", "share", "sample", "config", "deployment", "recordings", "sensing", "budget", "model",
         "governor", "inference", "simulation", "datasets", "scoring", "replay", "baselines", "training", "views",
         "evaluation", "benchmark", "cli", "nodes")
MOST_MODULES = 16
BESIDE_THE_ROOMS = {"build", "examples"}
"""Folders of tests that belong to no room."""
ROS = {"rclpy", "ament_index_python", "builtin_interfaces", "cv_bridge", "diagnostic_msgs", "geometry_msgs",
       "launch", "launch_ros", "lifecycle_msgs", "message_filters", "nav_msgs", "rcl_interfaces", "rosgraph_msgs",
       "sensor_msgs", "std_msgs", "tf2_msgs", "visualization_msgs"}
DOOR = PACKAGE / "__init__.py"
"""The public interface: it names what lies in the rooms, and imports it on first use."""
FILES = sorted(set(PACKAGE.rglob("*.py")) - {DOOR})


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_file_stands_in_a_room():
    assert {room(p) for p in FILES} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path):
    here = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "admn_ros" and len(parts) > 1 and parts[1] in ROOMS:
            assert ROOMS.index(parts[1]) <= ROOMS.index(here), f"{path.name} imports {name}"
        if here != "nodes":
            assert parts[0] not in ROS and parts[:2] != ["admn_ros", "msg"], f"{path.name} imports {name}"


def modules() -> dict[str, Path]:
    """Files by dotted name; a package by its own name."""
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}


def test_no_module_imports_itself_through_others():
    known = modules()
    arrows = {name: {target for i in imports(path) for target in (i, i.rpartition(".")[0])
                     if target in known and target != name} for name, path in known.items()}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("folder", sorted({p.parent for p in FILES}), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_folder_is_small_enough_to_know(folder: Path):
    found = [p.name for p in folder.glob("*.py") if p.name != "__init__.py"]
    assert len(found) <= MOST_MODULES, found


def test_tests_stand_where_their_room_does():
    for path in (ROOT / "test").rglob("test_*.py"):
        room = path.parent.relative_to(ROOT / "test")
        assert (PACKAGE / room).is_dir() or str(room) in BESIDE_THE_ROOMS, path


def test_rooms_below_the_nodes_import_without_ros():
    modules = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in FILES if room(p) != "nodes"]
    blocked = f"import sys\nfor name in {sorted(ROS)!r}: sys.modules[name] = None\n"
    code = blocked + "\n".join(f"import {m}" for m in modules if not m.endswith("__init__"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_launch_files_import_launch_alone():
    for path in (ROOT / "launch").glob("*.launch.py"):
        assert {n.split(".")[0] for n in imports(path)} <= {"launch", "launch_ros"}
        called = {n.func.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)
                  and isinstance(n.func, ast.Name)}
        assert not called & {"eval", "exec", "__import__"}


def test_no_pickle_is_ever_loaded():
    for path in FILES:
        names = imports(path)
        assert not names & {"joblib", "dill"}, path
        # One file subclasses the unpickler to refuse everything but arrays and containers.
        assert "pickle" not in names or path == PACKAGE / "datasets" / "caches.py", path
        text = path.read_text(encoding="utf-8")
        assert "torch.load(" not in text or "weights_only=True" in text, path
