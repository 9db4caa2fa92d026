# SPDX-License-Identifier: Apache-2.0
"""Architecture: which room may import which, where ROS may appear, and how large files and folders may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "admn_ros"
# A room may import the rooms before it, and no room after it.
ROOMS = ("errors", "files", "share", "optional", "cluster", "worker_process", "parameter_sections", "requirements",
         "sample", "config", "deployment", "recordings", "sensing", "budget", "model", "governor", "inference",
         "simulation", "datasets", "scoring", "replay", "baselines", "training", "views", "evaluation", "benchmark",
         "cli", "nodes")
# Inside a room, a folder may import the room's own modules, and of the other folders these.
FOLDERS = {"model/prepared": {"value"}, "sensing/preprocess": {"decode"}, "simulation/camera": {"scene"},
           "simulation/radar": {"scene"}, "simulation/sound": {"scene"}, "training/rivals": {"stages"},
           "simulation/clips": {"camera", "scene"}, "nodes/trials": {"perception"}, "benchmark/gpu_check": {"latency"},
           "benchmark/dynmm": {"tables"}, "benchmark/segmentation": {"tables", "dynmm"}}
MOST_MODULES, MOST_LINES = 16, 400
OTHER_TESTS = {"build", "examples"}
"""Folders of tests that do not belong to a room."""
ROS = {"rclpy", "ament_index_python", "builtin_interfaces", "cv_bridge", "diagnostic_msgs", "geometry_msgs",
       "launch", "launch_ros", "lifecycle_msgs", "message_filters", "nav_msgs", "rcl_interfaces", "rosgraph_msgs",
       "sensor_msgs", "std_msgs", "tf2_msgs", "visualization_msgs"}
DOOR = PACKAGE / "__init__.py"
"""The public interface, which imports from all rooms on first use."""
FILES = sorted(set(PACKAGE.rglob("*.py")) - {DOOR})


def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports, anywhere in it."""
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


def test_every_file_is_in_a_room():
    assert {room(p) for p in FILES} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_order_of_the_rooms(path: Path):
    here = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "admn_ros" and len(parts) > 1 and parts[1] in ROOMS:
            assert ROOMS.index(parts[1]) <= ROOMS.index(here), f"{path.name} imports {name}"
        if here != "nodes":
            assert parts[0] not in ROS and parts[:2] != ["admn_ros", "msg"], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", [p for p in FILES if len(p.relative_to(PACKAGE).parts) > 2],
                         ids=lambda p: str(p.relative_to(PACKAGE)))
def test_folders_of_a_room_import_only_what_is_listed(path: Path):
    here, folder = path.relative_to(PACKAGE).parts[:2]
    for name in imports(path):
        parts = name.split(".")
        if parts[:2] == ["admn_ros", here] and len(parts) > 2 and PACKAGE.joinpath(*parts[1:3]).is_dir():
            assert parts[2] in {folder, *FOLDERS.get(f"{here}/{folder}", ())}, f"{path.name} imports {name}"


def modules() -> dict[str, Path]:
    """Return the files by dotted name; a package has its own name."""
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}


def test_there_is_no_import_cycle():
    known = modules()
    arrows = {name: {target for i in imports(path) for target in (i, i.rpartition(".")[0])
                     if target in known and target != name} for name, path in known.items()}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("folder", sorted({p.parent for p in FILES}), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_folders_have_few_modules(folder: Path):
    found = [p.name for p in folder.glob("*.py") if p.name != "__init__.py"]
    assert len(found) <= MOST_MODULES, found


def test_files_are_short():
    files = [*FILES, *(ROOT / "test").rglob("*.py")]
    lines = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in files}
    assert not {str(p): n for p, n in lines.items() if n > MOST_LINES}


def test_contributing_lists_the_rooms_in_order():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `([a-z_]+)` \|", text, flags=re.MULTILINE)) == ROOMS


def test_tests_mirror_the_rooms():
    for path in (ROOT / "test").rglob("test_*.py"):
        room = path.parent.relative_to(ROOT / "test")
        assert (PACKAGE / room).is_dir() or str(room) in OTHER_TESTS, path


def test_rooms_below_the_nodes_import_without_ros():
    modules = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in FILES if room(p) != "nodes"]
    blocked = f"import sys\nfor name in {sorted(ROS)!r}: sys.modules[name] = None\n"
    code = blocked + "\n".join(f"import {m}" for m in modules if not m.endswith("__init__"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


FOR_LAUNCH = ("errors", "share", "parameter_sections")
"""Modules of this package that launch files may import."""


def test_launch_files_import_only_what_launch_has():
    """launch runs with the interpreter of ROS, which may lack the packages of a virtual environment."""
    for path in (ROOT / "launch").glob("*.launch.py"):
        names = imports(path)
        other = {n.split(".")[0] for n in names} - sys.stdlib_module_names
        assert other <= {"launch", "launch_ros", "yaml", "admn_ros"}
        own = {n.rpartition(".")[0] for n in names if n.startswith("admn_ros")}
        assert own <= {f"admn_ros.{name}" for name in FOR_LAUNCH}
        called = {n.func.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)
                  and isinstance(n.func, ast.Name)}
        assert not called & {"eval", "exec", "__import__"}


def test_what_launch_files_import_needs_only_the_standard_library():
    for name in FOR_LAUNCH:
        assert {n.split(".")[0] for n in imports(PACKAGE / f"{name}.py")} <= set(sys.stdlib_module_names), name


def test_no_file_loads_a_pickle():
    for path in FILES:
        names = imports(path)
        assert not names & {"joblib", "dill"}, path
        # This file subclasses the unpickler, and accepts only arrays and containers.
        assert "pickle" not in names or path == PACKAGE / "datasets" / "caches.py", path
        text = path.read_text(encoding="utf-8")
        assert "torch.load(" not in text or "weights_only=True" in text, path
