# SPDX-License-Identifier: Apache-2.0
"""Packages that only some functions need; `pip install "admn_ros[onnx]"` and `"admn_ros[cluster]"` install them."""

from __future__ import annotations

import importlib
from typing import Any

from admn_ros.errors import ConfigError

EXTRAS = {"onnx": {"onnx": "1.16", "onnxruntime": "1.17"}, "cluster": {"distributed": "2024.8"}}
"""Optional packages and their oldest versions, by extra, as in pyproject.toml."""


def optional(name: str) -> Any:
    """Import a package of `EXTRAS`.

    Raises:
        ConfigError: it is not installed, or broken.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        oldest = next(packages[name] for packages in EXTRAS.values() if name in packages)
        raise ConfigError.missing(f"package {name}", f'pip install "{name}>={oldest}"') from error
