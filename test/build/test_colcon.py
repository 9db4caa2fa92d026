# SPDX-License-Identifier: Apache-2.0
"""`colcon build` of this tree in both install modes, and the installed package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("CMakeLists.txt", "package.xml", "setup.py", "pyproject.toml", "README.md", "admn_ros", "build_support",
           "cmake", "config", "launch", "models", "msg", "scripts", "test")
CHECK = """
import sys
from pathlib import Path
import admn_ros, admn_ros.config, admn_ros.nodes.run_node
from admn_ros.msg import ComputeBudget, LayerAllocation
from rclpy.serialization import deserialize_message, serialize_message
prefix = Path(sys.argv[1])
assert prefix in Path(admn_ros.__file__).parents or "SYMLINK" in sys.argv, admn_ros.__file__
message = ComputeBudget(limit=7.5, unit=ComputeBudget.UNIT_GFLOPS, source="battery")
assert deserialize_message(serialize_message(message), ComputeBudget) == message
import admn_ros.msg
assert prefix in Path(admn_ros.msg.__file__).parents, admn_ros.msg.__file__
for file in ("config/gdtm.yaml", "config/fastdds_large_images.xml", "config/fastdds_small_shared_memory.xml",
             "launch/gdtm.launch.py", "msg/ComputeBudget.msg"):
    assert (prefix / "share/admn_ros" / file).is_file(), file
from admn_ros.evaluation.report.page import TEMPLATES
assert (TEMPLATES / "page.html.j2").is_file() and (TEMPLATES / "page.css").is_file(), TEMPLATES
for program in ("admn", "demo", "governor", "perception", "replay", "simulator", "watch"):
    assert (prefix / "lib/admn_ros" / program).stat().st_mode & 0o111, program
assert (prefix / "bin/admn").stat().st_mode & 0o111
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with this tree. Its messages are compiled by the first build and only linked by the next."""
    folder = tmp_path_factory.mktemp("workspace")
    source = folder / "src" / "admn_ros"
    source.mkdir(parents=True)
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(path, source / name)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["copied", "symlinked"])
def test_colcon_builds_the_tree(workspace: Path, mode: str) -> None:
    colcon = Path(sys.executable).with_name("colcon")
    program = str(colcon) if colcon.exists() else shutil.which("colcon")
    assert program, "colcon is neither in this environment nor on the PATH"
    shutil.rmtree(workspace / "install", ignore_errors=True)
    # A link cannot take the place of the copied modules.
    shutil.rmtree(workspace / "build/admn_ros/ament_cmake_python", ignore_errors=True)
    env = clean_environment()
    command = [program, "build", "--event-handlers", "console_direct-", "--executor", "sequential"]
    command += ["--symlink-install"] if mode == "symlinked" else []
    built = subprocess.run(command, cwd=workspace, env=env, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    # A symlinked install links to generated files in build/. A copied one must not need them.
    build, elsewhere = workspace / "build", workspace / "elsewhere"
    if mode == "copied":
        build.rename(elsewhere)
    prefix = workspace / "install" / "admn_ros"
    site = next(prefix.glob("lib/python3*/site-packages"), None) or next(prefix.rglob("dist-packages"))
    env |= {"AMENT_PREFIX_PATH": f"{prefix}:{env['AMENT_PREFIX_PATH']}",
            "PYTHONPATH": f"{site}:{env.get('PYTHONPATH', '')}",
            "LD_LIBRARY_PATH": f"{prefix / 'lib'}:{env.get('LD_LIBRARY_PATH', '')}"}
    env.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    arguments = [str(prefix), *(["SYMLINK"] if mode == "symlinked" else [])]
    checked = subprocess.run([sys.executable, "-c", CHECK, *arguments], cwd=workspace, env=env,
                             capture_output=True, text=True, check=False)
    if mode == "copied":
        elsewhere.rename(build)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def clean_environment() -> dict[str, str]:
    """Return an environment with the underlay only: this virtual environment, or the sourced ROS 2."""
    env = dict(os.environ)
    env.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    env["CMAKE_PREFIX_PATH"] = env["AMENT_PREFIX_PATH"]
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    return env
