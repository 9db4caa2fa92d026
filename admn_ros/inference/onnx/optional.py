# SPDX-License-Identifier: Apache-2.0
"""Packages that only ONNX needs; `pip install "admn_ros[onnx]"` installs them."""

from __future__ import annotations

import importlib
from typing import Any

from admn_ros.errors import ConfigError

MINIMUM = {"onnx": "1.16", "onnxruntime": "1.17"}
"""Optional packages and their oldest versions, as in the extra `onnx` of pyproject.toml."""


def optional(name: str) -> Any:
    """Import a package of `MINIMUM`.

    Raises:
        ConfigError: it is not installed, or broken.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError.missing(f"package {name}", f'pip install "{name}>={MINIMUM[name]}"') from error
