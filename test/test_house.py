# SPDX-License-Identifier: Apache-2.0
"""The layers of the house: who may import whom, and where ROS may appear."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "admn_ros"
# Each room may import what stands before it, and nothing after it.
ROOMS = ("errors", "sample", "config", "deployment", "sensing", "budget", "model", "inference", "recordings",
         "simulation", "datasets", "baselines", "training", "evaluation", "cli", "nodes")
ROS = {"rclpy", "ament_index_python", "builtin_interfaces", "cv_bridge", "diagnostic_msgs", "geometry_msgs",
       "launch", "launch_ros", "lifecycle_msgs", "message_filters", "nav_msgs", "rcl_interfaces", "rosgraph_msgs",
       "sensor_msgs", "std_msgs", "tf2_msgs", "visualization_msgs"}
FILES = sorted(PACKAGE.rglob("*.py"))


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
    assert {room(p) for p in FILES} - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path):
    here = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "admn_ros" and len(parts) > 1 and parts[1] in ROOMS:
            assert ROOMS.index(parts[1]) <= ROOMS.index(here), f"{path.name} imports {name}"
        if here != "nodes":
            assert parts[0] not in ROS and parts[:2] != ["admn_ros", "msg"], f"{path.name} imports {name}"


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
