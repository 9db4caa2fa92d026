# SPDX-License-Identifier: Apache-2.0
"""A package that is older than required is named at the start of every program, in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from admn_ros.errors import ConfigError
from admn_ros.requirements import check_requirements

ROOT = Path(__file__).resolve().parents[1]


def install(folder: Path, name: str, version: str) -> None:
    """Write the metadata of a package, which is all that is read."""
    (folder / f"{name}-{version}.dist-info").mkdir(parents=True)
    (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.mark.parametrize(("version", "bounds", "fits"), [
    ("1.10.14", ">=2.6,<3", False), ("2.5.9", ">=2.6,<3", False), ("2.6", ">=2.6,<3", True),
    ("2.14.3", ">=2.6,<3", True), ("3.0.0", ">=2.6,<3", False),
    ("2.7.0a0+nv24.5", ">=2.6", True), ("2.10", ">=2.6   # a comment >= 9", True)])
def test_versions_are_compared_as_numbers(tmp_path, monkeypatch, version, bounds, fits):
    install(tmp_path / "site", "pydantic", version)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (tmp_path / "requirements.txt").write_text(f"# first\nh5py>=99\npydantic{bounds}\n")
    if fits:
        check_requirements(tmp_path / "requirements.txt")
        return
    with pytest.raises(ConfigError, match=f"^pydantic: found {version}; allowed: pydantic>=2.6,<3 .pip install -r "):
        check_requirements(tmp_path / "requirements.txt")


@pytest.mark.parametrize("command", [["-m", "admn_ros.nodes", "watch"], [ROOT / "scripts" / "admn", "--help"],
                                     ["-m", "admn_ros.cli", "--help"]])
def test_a_program_with_an_old_package_is_one_line(tmp_path, command):
    install(tmp_path, "pydantic", "1.10.14")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run([sys.executable, *command], env={**os.environ, "PYTHONPATH": path}, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("pydantic: found 1.10.14; allowed: pydantic>=2.6,<3 (pip")
    assert done.stderr.count("\n") == 1
