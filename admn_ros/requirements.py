# SPDX-License-Identifier: Apache-2.0
"""Versions of installed packages against build_support/requirements.txt, before anything imports them.

rosdep and apt install the packages of the distribution. Those of Ubuntu 24.04 are older than what this package needs:
pydantic 1.10, and no torch or an old one.
"""

from __future__ import annotations

import operator
import re
from importlib import metadata
from pathlib import Path

from admn_ros.errors import ConfigError
from admn_ros.share import share_directory

CHECKED = ("numpy", "pydantic", "torch")
"""Packages that distributions ship in old versions."""
_OPERATORS = {">=": operator.ge, "<": operator.lt}


def check_requirements(file: Path | None = None) -> None:
    """Check the versions of `CHECKED`.

    Args:
        file: requirements file; by default the one that this package ships. Without it nothing is checked.

    Raises:
        ConfigError: a package is missing, or its version is not allowed.
    """
    file = file or share_directory() / "build_support" / "requirements.txt"
    if not file.is_file():
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        name, bounds = re.split(r"(?=[<>=#\s]|$)", line, maxsplit=1)
        if name not in CHECKED:
            continue
        bounds, found = bounds.partition("#")[0].strip(), _installed(name)
        if found is None or not all(_OPERATORS[sign](_numbers(found), _numbers(limit))
                                    for sign, limit in re.findall(r"(>=|<)([\d.]+)", bounds)):
            raise ConfigError(name, found or "nothing", f"{name}{bounds} (pip install -r {file})")


def _installed(name: str) -> str | None:
    """Return the version of a package; None without it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """Return the release numbers of a version; `2.3.0a0+cu121` is (2, 3, 0)."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()
