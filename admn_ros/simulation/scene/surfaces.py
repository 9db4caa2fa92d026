# SPDX-License-Identifier: Apache-2.0
"""Classes of the surfaces of the room, for segmentation masks."""

from __future__ import annotations

from enum import IntEnum


class Surface(IntEnum):
    """What a pixel shows. The value is that of the masks."""

    FLOOR = 0
    WALL = 1
    FURNITURE = 2
    SENSOR_NODE = 3
    CAR = 4
    PERSON = 5


SURFACES = tuple(surface.name.lower() for surface in Surface)
"""Names of the classes, by value."""


def surface_of_body(name: str) -> Surface:
    """Return the class of a moving body by its name in the model of the room."""
    return Surface.PERSON if name.startswith("person") else Surface.CAR
