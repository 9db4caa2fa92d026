# SPDX-License-Identifier: Apache-2.0
"""pip build of admn_ros: CMake (ament) generates the messages, setuptools packages them with the modules.

`colcon build` does not use this file, because the build type in package.xml is ament_cmake. With ADMN_ROS_MESSAGES=off
nothing is compiled: the result runs on any platform, without ROS and without the nodes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from distutils.command.install_data import install_data  # setuptools ships distutils
from pathlib import Path

from setuptools import Distribution, setup

ROOT = Path(__file__).parent.resolve()
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
sys.path.insert(0, str(ROOT / "build_support"))
from ros_build import ros_prefix, with_messages  # noqa: E402

SHARED = ("config", "launch", "models", "msg")

# Runs at interpreter start. Makes this environment an ament prefix, so that no setup file has to be sourced, and
# re-enables the ROS wheels' bootstrapper (which sets LD_LIBRARY_PATH by re-executing python) if a parent process
# passed on its guard variable but not LD_LIBRARY_PATH.
STARTUP = (
    "import os, sys; p = sys.prefix; e = os.environ; "
    "a = [x for x in e.get('AMENT_PREFIX_PATH', '').split(':') if x]; "
    "os.path.isdir(p + '/share/ament_index') and p not in a "
    "and e.__setitem__('AMENT_PREFIX_PATH', ':'.join(a + [p])); "
    "p + '/lib' in e.get('LD_LIBRARY_PATH', '').split(':') or e.pop('_ROS_WHEELS_BOOTSTRAP_COMPLETE', None)\n"
)


class BinaryDistribution(Distribution):
    """A distribution with data files, and with compiled files unless it has no messages, also in editable installs."""

    def has_ext_modules(self) -> bool:
        return with_messages()

    def has_data(self) -> bool:
        return True


class InstallMessages(install_data):
    """Install what is beside the Python modules: the result of the ament build, or the shared files alone."""

    def run(self) -> None:
        if not with_messages():
            files = [p for name in SHARED for p in (ROOT / name).rglob("*") if p.is_file() and p.suffix != ".pyc"]
            files += [ROOT / "package.xml", ROOT / "build_support" / "requirements.txt"]
            self._copy((p, Path("share/admn_ros") / p.relative_to(ROOT)) for p in files)
            return
        prefix = ros_prefix()
        if prefix is None:
            raise SystemExit(
                "admn_ros: ROS 2 missing; required: a sourced ROS 2 Jazzy, or its wheels, which pip installs "
                "without --no-build-isolation; or ADMN_ROS_MESSAGES=off, for the library without the nodes")
        work = Path(self.get_finalized_command("build").build_temp).resolve() / "ament"
        shutil.rmtree(work, ignore_errors=True)
        stage = work / "stage"
        build_messages(prefix, work / "build", stage)
        startup = work / "aa_admn_ros.pth"  # sorts before the bootstrapper's own
        startup.write_text(STARTUP)
        self._copy([*installed_files(stage), (startup, Path(f"lib/{PYTHON}/site-packages") / startup.name)])

    def _copy(self, files: Iterable[tuple[Path, Path]]) -> None:
        """Copy (source, target below the prefix)."""
        for source, target in files:
            destination = Path(self.install_dir) / target
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, destination)
            self.outfiles.append(str(destination))


def build_messages(prefix: str, build: Path, stage: Path) -> None:
    """Configure, build and install the ament package into `stage`."""
    env = dict(os.environ)
    paths = list(dict.fromkeys(p for p in (prefix, *env.get("AMENT_PREFIX_PATH", "").split(os.pathsep)) if p))
    env["AMENT_PREFIX_PATH"] = env["CMAKE_PREFIX_PATH"] = os.pathsep.join(paths)
    # CMake runs Python code (ament_package, em, lark, numpy) of the ROS prefix or of pip's build environment, which is
    # only in this process's sys.path.
    seen = [f"{p}/lib/{PYTHON}/site-packages" for p in paths] + sys.path
    env["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(
        p for p in seen if p.endswith(("site-packages", "dist-packages")) and Path(p).is_dir()))
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    for command in (
        ["-S", ROOT, "-B", build, *generator, "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF",
         f"-DCMAKE_INSTALL_PREFIX={stage}", f"-DPython3_EXECUTABLE={sys.executable}",
         "-DPython3_FIND_VIRTUALENV=ONLY", "-DCMAKE_INSTALL_RPATH=$ORIGIN;$ORIGIN/../../.."],
        ["--build", build, "--parallel", os.cpu_count() or 1],
        ["--install", build],
    ):
        subprocess.run(["cmake", *map(str, command)], check=True, env=env)


def installed_files(stage: Path) -> list[tuple[Path, Path]]:
    """Return (staged file, path below the prefix) of all files except the modules, which setuptools packages."""
    site = next(stage.rglob("admn_ros/msg/__init__.py")).parents[1]
    files = [(p, Path("lib") / p.name) for p in (stage / "lib").glob("libadmn_ros__*.so")]
    files += [(p, p.relative_to(stage)) for p in (stage / "share").rglob("*") if p.is_file()]
    files += [(p, p.relative_to(stage)) for p in (stage / "lib/admn_ros").glob("*")]
    files += [(p, Path(f"lib/{PYTHON}/site-packages/admn_ros") / p.relative_to(site)) for p in site.rglob("*")
              if p.suffix in (".py", ".so")
              and (p.relative_to(site).parts[0] == "msg" or p.name.startswith("admn_ros_s__"))]
    return files


setup(
    distclass=BinaryDistribution,
    cmdclass={"install_data": InstallMessages},
    data_files=[("share/admn_ros", ["package.xml"])],  # makes setuptools run InstallMessages
)
