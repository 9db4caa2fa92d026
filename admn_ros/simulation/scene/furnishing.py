# SPDX-License-Identifier: Apache-2.0
"""Furniture along the walls of a simulated room, as boxes with a material each.

A piece of furniture is a group of boxes in a frame of its own: x to the right along the wall, y into the wall, the
front at negative y. The front of a textured box is therefore its negative y side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from admn_ros.simulation.scene.car import CAR_CENTRE_Z_M
from admn_ros.simulation.scene.geometry import Box, Floats, rotation_z
from admn_ros.simulation.scene.sensor_node import SensorNode
from admn_ros.simulation.scene.track import DRIVEN

# "plain" is the box in its own colour, "round" an ellipsoid in that colour; the others have textures.
MATERIALS = ("plain", "round", "wood", "books", "cabinet", "cardboard", "leather", "screen", "drawers")
WALL_ITEMS = ("whiteboard", "door", "screen", "poster", "pinboard", "window")

Piece = tuple[Box, str]
_CLEARANCE_M = 0.45   # around a tripod
_Maker = Callable[[np.random.Generator], tuple[float, float, list[Piece]]]

_WOODS = ((0.30, 0.16, 0.07), (0.16, 0.05, 0.03), (0.45, 0.30, 0.16), (0.24, 0.14, 0.08))
_DARKS = ((0.02, 0.02, 0.022), (0.05, 0.05, 0.06), (0.03, 0.035, 0.05))
_BRIGHTS = ((0.55, 0.05, 0.04), (0.05, 0.18, 0.5), (0.7, 0.45, 0.05), (0.1, 0.35, 0.12), (0.75, 0.72, 0.66))
_SHIRTS = ((0.75, 0.5, 0.08), (0.05, 0.05, 0.06), (0.1, 0.18, 0.4), (0.5, 0.5, 0.52), (0.45, 0.06, 0.06))


def furnish(rng: np.random.Generator, half_m: tuple[float, float], nodes: Sequence[SensorNode]) -> list[Piece]:
    """Place furniture along the four walls: 8 to 16 pieces of 1 to 8 boxes.

    Args:
        rng: generator of every choice. The nodes do not change what is drawn, only what is left out.
        half_m: half the size of the room along x and y.
        nodes: sensor nodes; no furniture is near them or hides the dashed line from their cameras.

    Returns:
        Boxes in `map` and their materials.
    """
    cameras_m = [node.sensor(name).translation_m for node in nodes for name in ("rgb_optical", "depth_optical")]
    placed: list[Piece] = []
    for wall in range(4):
        turn = np.pi / 2 * wall   # the wall's inward normal is -y turned by this
        along, away = (half_m[0], half_m[1]) if wall % 2 == 0 else (half_m[1], half_m[0])
        x = -along + float(rng.uniform(0.1, 0.6))
        while True:
            width, depth, boxes = _MAKERS[int(rng.choice(len(_MAKERS), p=_SHARES))](rng)
            gap, off = float(rng.uniform(0.02, 0.45)), float(rng.uniform(0.02, 0.12))
            if x + width > along - 0.2:
                break
            group = [_moved(piece, x + width / 2, away - off - depth / 2, turn) for piece in boxes]
            x += width + gap
            if _is_free([box for box, _ in group], cameras_m):
                placed += group
    return placed


def _moved(piece: Piece, x: float, y: float, turn: float) -> Piece:
    box, material = piece
    cx, cy, cz = (rotation_z(turn) @ np.add(box.centre_m, (x, y, 0.0))).tolist()
    return Box((cx, cy, cz), box.half_m, box.albedo, box.yaw_rad + turn), material


def _is_free(boxes: list[Box], cameras_m: list[Floats]) -> bool:
    """Return whether boxes keep clear of the tripods and of the view of the track."""
    track, _ = DRIVEN.at(np.linspace(0, DRIVEN.length_m, 60, endpoint=False))
    targets = np.concatenate([track, np.full((60, 1), CAR_CENTRE_Z_M)], axis=1)
    for camera_m in cameras_m:
        for box in boxes:
            gap = np.hypot(*(camera_m[:2] - np.array(box.centre_m[:2]))) - np.hypot(*box.half_m[:2])
            if gap < _CLEARANCE_M and _footprint_gap(box, camera_m) < _CLEARANCE_M:
                return False
            entered, _ = box.hit(camera_m, targets - camera_m)
            if (entered < 1).any():
                return False
    return True


def _footprint_gap(box: Box, point: Floats) -> float:
    """Return the distance in metres, on the floor plan, between a point and a box."""
    local = rotation_z(box.yaw_rad).T @ (point - np.array(box.centre_m))
    return float(np.hypot(*np.maximum(np.abs(local[:2]) - box.half_m[:2], 0)))


def _pick(rng: np.random.Generator, colours: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    return colours[int(rng.integers(len(colours)))]


def _box(x: float, y: float, bottom: float, size: tuple[float, float, float], albedo: tuple[float, float, float],
         material: str = "plain", yaw: float = 0.0) -> Piece:
    """Return a box from its middle on the floor plan, the height of its bottom and its full size."""
    half = (size[0] / 2, size[1] / 2, size[2] / 2)
    return Box((x, y, bottom + half[2]), half, albedo, yaw), material


def _shelf(rng: np.random.Generator) -> tuple[float, float, list[Piece]]:
    width, height = float(rng.uniform(0.8, 1.6)), float(rng.uniform(1.0, 2.0))
    return width, 0.32, [_box(0, 0, 0, (width, 0.3, height), _pick(rng, _WOODS), "books")]


def _cabinet(rng: np.random.Generator) -> tuple[float, float, list[Piece]]:
    width, height = float(rng.uniform(0.5, 0.95)), float(rng.uniform(0.7, 1.9))
    if rng.random() < 0.55:
        return width, 0.5, [_box(0, 0, 0.06, (width, 0.48, height), _pick(rng, _DARKS), "cabinet")]
    return width, 0.5, [_box(0, 0, 0, (width, 0.48, min(height, 1.15)), _pick(rng, _WOODS), "drawers")]


def _table(rng: np.random.Generator) -> tuple[float, float, list[Piece]]:
    """Return a table with objects on and under it."""
    width, depth, height = float(rng.uniform(1.2, 1.9)), float(rng.uniform(0.6, 0.8)), float(rng.uniform(0.7, 0.78))
    top = _pick(rng, (*_DARKS, *_WOODS))
    leg = _pick(rng, (*_WOODS, *_DARKS))
    pieces = [_box(0, 0, height - 0.04, (width, depth, 0.04), top, "wood")]
    pieces += [_box(s * (width / 2 - 0.08), 0, 0, (0.08, depth * 0.8, height - 0.04), leg, "wood") for s in (-1, 1)]
    for _ in range(int(rng.integers(1, 5))):
        w, h = float(rng.uniform(0.12, 0.4)), float(rng.uniform(0.1, 0.4))
        x, y = float(rng.uniform(-0.35, 0.35)) * width, float(rng.uniform(-0.2, 0.2)) * depth
        on_top = rng.random() < 0.6
        material = str(rng.choice(["plain", "cardboard", "screen", "cabinet"]))
        pieces.append(_box(x, y, height if on_top else 0, (w, 0.08 if material == "screen" else w * 0.8, h),
                           _pick(rng, (*_BRIGHTS, *_DARKS)), material, float(rng.uniform(-0.4, 0.4))))
    return width, depth, pieces


def _boxes(rng: np.random.Generator) -> tuple[float, float, list[Piece]]:
    """Return a stack of cartons."""
    pieces, bottom = [], 0.0
    for _ in range(int(rng.integers(1, 4))):
        w, d, h = (float(v) for v in rng.uniform((0.3, 0.25, 0.18), (0.5, 0.4, 0.35)))
        pieces.append(_box(float(rng.uniform(-0.05, 0.05)), 0, bottom, (w, d, h), (0.42, 0.28, 0.15), "cardboard",
                           float(rng.uniform(-0.25, 0.25))))
        bottom += h
    return 0.6, 0.5, pieces


def _sofa(rng: np.random.Generator) -> tuple[float, float, list[Piece]]:
    width, dark = float(rng.uniform(1.5, 2.0)), _pick(rng, _DARKS)
    pieces = [_box(0, -0.05, 0.08, (width - 0.3, 0.7, 0.34), dark, "leather"),
              _box(0, 0.32, 0.1, (width, 0.2, 0.72), dark, "leather")]
    pieces += [_box(s * (width / 2 - 0.09), -0.03, 0.05, (0.18, 0.78, 0.52), dark, "leather") for s in (-1, 1)]
    return width, 0.85, pieces


def _chair(rng: np.random.Generator) -> tuple[float, float, list[Piece]]:
    """Return an office chair, in half of the cases with a person on it."""
    dark, yaw = _pick(rng, _DARKS), float(rng.uniform(-0.5, 0.5))
    pieces = [_box(0, 0, 0.42, (0.46, 0.44, 0.08), dark, "leather", yaw), _box(0, 0, 0.08, (0.06, 0.06, 0.36), dark),
              _box(0, 0, 0.03, (0.52, 0.06, 0.05), dark, "plain", yaw),
              _box(0, 0, 0.03, (0.06, 0.52, 0.05), dark, "plain", yaw),
              _box(0, 0.22, 0.55, (0.42, 0.07, 0.5), dark, "leather", yaw)]
    if rng.random() < 0.5:
        shirt, skin, trousers = _pick(rng, _SHIRTS), (0.5, 0.28, 0.18), (0.05, 0.05, 0.065)
        pieces += [_box(0, 0.05, 0.48, (0.42, 0.28, 0.62), shirt, "round"),
                   _box(0, 0.02, 1.1, (0.17, 0.2, 0.24), skin, "round"),
                   _box(0, 0.05, 1.22, (0.18, 0.2, 0.14), (0.02, 0.016, 0.014), "round")]
        pieces += [_box(s * 0.1, -0.2, 0.46, (0.16, 0.5, 0.17), trousers, "round") for s in (-1, 1)]
        pieces += [_box(s * 0.1, -0.4, 0.02, (0.13, 0.15, 0.52), trousers, "round") for s in (-1, 1)]
        pieces += [_box(s * 0.2, -0.1, 0.66, (0.1, 0.36, 0.12), shirt, "round") for s in (-1, 1)]
    return 0.7, 0.7, pieces


def _podium(rng: np.random.Generator) -> tuple[float, float, list[Piece]]:
    return 0.65, 0.5, [_box(0, 0, 0, (0.6, 0.45, float(rng.uniform(0.95, 1.2))), _pick(rng, _WOODS[:2]), "wood")]


def _small(rng: np.random.Generator) -> tuple[float, float, list[Piece]]:
    """Return a bucket, a bag, an extinguisher or a computer."""
    w, h = float(rng.uniform(0.15, 0.3)), float(rng.uniform(0.25, 0.5))
    kind = str(rng.choice(["plain", "round", "cabinet"]))
    return 0.35, 0.35, [_box(0, 0, 0, (w, w, h), _pick(rng, (*_BRIGHTS, *_DARKS)), kind)]


_MAKERS: tuple[_Maker, ...] = (_shelf, _cabinet, _table, _boxes, _sofa, _chair, _podium, _small)
_SHARES = (0.20, 0.20, 0.19, 0.08, 0.06, 0.13, 0.06, 0.08)
