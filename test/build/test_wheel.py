# SPDX-License-Identifier: Apache-2.0
"""Source distribution, and the wheel without messages that is built from it: the library on machines without ROS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from admn_ros import __version__

ROOT = Path(__file__).resolve().parents[2]
IGNORED = shutil.ignore_patterns("__pycache__", ".*", "build", "install", "log", "out", "*.egg-info", "docs", "test")
BUILD = "import sys; sys.path.insert(0, 'build_support'); import ros_build; ros_build.build_{}(sys.argv[1])"
USE = """
import admn_ros
from admn_ros.share import share_directory
print(share_directory())
model = admn_ros.load_model("gdtm")
assert model.config.trained
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    env = {**os.environ, "ADMN_ROS_MESSAGES": "off", "PYTHONPATH": "", **environment}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_a_wheel_from_the_source_distribution_runs_without_ros(tmp_path: Path) -> None:
    source, prefix = tmp_path / "source", tmp_path / "prefix"
    shutil.copytree(ROOT, source, ignore=IGNORED)
    run(sys.executable, "-c", BUILD.format("sdist"), tmp_path, cwd=source)
    shutil.unpack_archive(next(tmp_path.glob("*.tar.gz")), tmp_path)
    unpacked = tmp_path / f"admn_ros-{__version__}"
    assert (unpacked / "msg/ComputeBudget.msg").is_file(), "colcon and pip build the messages from it"
    run(sys.executable, "-c", BUILD.format("wheel"), tmp_path, cwd=unpacked)
    wheel = next(tmp_path.glob("*.whl"))
    assert wheel.name.endswith("-py3-none-any.whl"), "any platform"
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--ignore-installed", "--prefix", prefix, wheel,
        cwd=tmp_path)
    modules = sysconfig.get_path("purelib", vars={"base": str(prefix)})
    output = run(prefix / "bin" / "admn", "--version", cwd=tmp_path, PYTHONPATH=modules)
    assert output.strip() == f"admn_ros {__version__}"
    output = run(sys.executable, "-c", USE, cwd=tmp_path, PYTHONPATH=modules)
    assert output.strip() == str(prefix / "share" / "admn_ros")
