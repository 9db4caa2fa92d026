# SPDX-License-Identifier: Apache-2.0
"""Files that the package ships beside its code: config, launch, models, msg."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def share_directory() -> Path:
    """Return the folder that holds `config/`, `launch/`, `models/` and `msg/`.

    This is the checkout of an editable install, else `share/admn_ros` of the prefix that the package is installed in,
    of the Python environment, or of a sourced workspace. Without any of them it is the parent of the package.
    """
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "package.xml").is_file():
        return checkout
    sourced = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    # The prefix is up to four folders above: PREFIX/lib/python3.12/site-packages, or with local/ in between.
    for prefix in (*checkout.parents[:4], Path(sys.prefix), *sourced):
        if (prefix / "share" / "admn_ros" / "package.xml").is_file():
            return prefix / "share" / "admn_ros"
    return checkout


def find_shipped(name: str | Path, folder: str, suffix: str = "") -> Path:
    """Return a path as given, or the shipped file or folder of that name.

    Args:
        name: path, or a bare name: `gdtm` is `models/gdtm` in folder `models`, `config/gdtm.yaml` in folder `config`.
        folder: folder below the share directory.
        suffix: file name extension of the shipped files.

    Returns:
        Existing shipped path when `name` is a bare name that exists nowhere else; otherwise `name`.
    """
    given = Path(name).expanduser()
    exists = given.exists() and not (suffix and given.is_dir())  # a folder of the name of a shipped file
    if exists or given.is_absolute() or len(given.parts) > 1:
        return given
    shipped = share_directory() / folder / f"{name}{suffix}"
    return shipped if shipped.exists() else given
