# SPDX-License-Identifier: Apache-2.0
"""Sections of ROS 2 parameter files, by the rules of ROS 2. The standard library is enough, as launch files need it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

PARAMETERS: Final = "ros__parameters"


def sections_of(tree: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield the name and the parameters of each section of a parameter file, in order. Later ones override.

    Namespaces may be nested: `robot: {admn: {ros__parameters: ...}}`. What lies outside of ros__parameters, which ROS
    refuses, is yielded with None.
    """
    if not isinstance(tree, dict) or not tree:
        yield name, None
    elif PARAMETERS in tree:
        yield name, tree[PARAMETERS]
    else:
        for key, below in tree.items():
            yield from sections_of(below, f"{name}/{key}" if name else str(key))


def applies(section: str, node: str) -> bool:
    """Return whether a section is for a node of that full name: * is one part of it, ** any number of parts."""
    parts = {"**": "(/[^/]+)*", "*": "/[^/]+"}
    pattern = "".join(parts.get(part, "/" + re.escape(part)) for part in section.split("/") if part)
    return re.fullmatch(pattern, node) is not None
