# SPDX-License-Identifier: Apache-2.0
"""A person of capsules, one body for each part, posed by the directions of the limbs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from admn_ros.simulation.scene.geometry import Floats, rotation_z
from admn_ros.simulation.scene.people import Person
from admn_ros.simulation.scene.person_model import BodyPose, geom

# Lengths and widths as shares of the height.
_TRUNK, _NECK, _HEAD = 0.29, 0.05, 0.07
_SHOULDER, _HIP = 0.115, 0.055
_UPPER_ARM, _FOREARM, _THIGH, _SHANK = 0.17, 0.21, 0.245, 0.265
_LENGTHS = np.array([(_UPPER_ARM, _FOREARM), (_UPPER_ARM, _FOREARM), (_THIGH, _SHANK), (_THIGH, _SHANK)])
_FOOT_M = 0.06


@dataclass(frozen=True)
class Build:
    """Build of a person.

    Attributes:
        person: height and colours.
        width: thickness of trunk and limbs; 1 is average.
    """

    person: Person
    width: float = 1.0


def figure_bodies(build: Build) -> list[str]:
    """Return the MJCF of the geoms of each body, in the order of `figure_poses`.

    The frame of a limb is in its middle, with z along it. Sleeves are long.
    """
    p, h, w = build.person, build.person.height_m, build.width
    limbs = [(_UPPER_ARM, 0.046, p.shirt), (_FOREARM, 0.038, p.shirt), (_THIGH, 0.075, p.trousers),
             (_SHANK, 0.052, p.trousers)]
    arm_and_leg = [geom("capsule", (w * radius, h * length / 2), (0, 0, 0), rgb) for length, radius, rgb in limbs]
    arm, leg = arm_and_leg[:2], arm_and_leg[2:]
    trunk = geom("ellipsoid", (0.11 * w, 0.17 * w, h * _TRUNK * 0.6), (0, 0, 0), p.shirt) \
        + geom("ellipsoid", (0.10 * w, 0.16 * w, 0.09 * h), (0, 0, -h * _TRUNK / 2), p.trousers)
    head = geom("ellipsoid", (0.095, 0.08, h * _HEAD), (0, 0, 0), p.skin) \
        + geom("ellipsoid", (0.095, 0.085, h * _HEAD * 0.85), (-0.02, 0, 0.02), p.hair)
    return [trunk, head, *arm, *arm, *leg, *leg]


def figure_poses(height_m: float, numbers: Floats, at_m: tuple[float, float], heading_rad: float) -> list[BodyPose]:
    """Return the pose of each body; the lower foot is on the floor, or at the height of the jump.

    Args:
        height_m: height of the person.
        numbers: posture (20,), see `activities.Posture`.
        at_m: position of the pelvis on the floor; x towards the camera, y to its right.
        heading_rad: direction that the person faces, 0 towards the camera.
    """
    angles, jump_m = np.deg2rad(numbers[:19]), float(numbers[19])
    base = rotation_z(heading_rad)
    pitch, lean, turn = angles[:3]
    trunk = base @ Rotation.from_euler("ZXY", (turn, -lean, pitch)).as_matrix()
    neck = trunk @ (0, 0, _TRUNK * height_m)
    # Limbs: left arm, right arm, left leg, right leg; parts: the upper one and the lower one.
    frames, sides = np.stack([trunk, trunk, base, base]), np.array([1.0, -1.0, 1.0, -1.0])
    sideways = frames[:, :, 1] * (sides * np.array([_SHOULDER, _SHOULDER, _HIP, _HIP]) * height_m)[:, None]
    joints = sideways + np.stack([neck, neck, np.zeros(3), np.zeros(3)])
    along = np.einsum("lij,lpj->lpi", frames, _directions(angles[3:].reshape(4, 2, 2), sides[:, None]))
    upper, lower = np.moveaxis(along * (_LENGTHS * height_m)[:, :, None], 1, 0)
    centres = np.stack([joints + upper / 2, joints + upper + lower / 2], axis=1).reshape(8, 3)
    axes = _frames_along(-along.reshape(8, 3), np.repeat(frames, 2, axis=0))
    feet = (joints + upper + lower)[2:, 2]
    root = np.array([*at_m, _FOOT_M + jump_m - feet.min()])
    head = neck + trunk @ (0.02, 0, height_m * (_NECK + _HEAD))
    places = root + np.concatenate([[neck / 2, head], centres])
    turns = Rotation.from_matrix(np.concatenate([[trunk, trunk], axes])).as_quat()
    return [((px, py, pz), (w, x, y, z)) for (px, py, pz), (x, y, z, w) in zip(places.tolist(), turns.tolist(),
                                                                             strict=True)]


def _directions(angles: Floats, side: Floats) -> Floats:
    """Return the unit vectors (..., 3) of limbs by (raise, azimuth) (..., 2): x forwards, y to the left, z up.

    Outwards is the `side` of the body, 1 for left.
    """
    raised, azimuth = angles[..., 0], angles[..., 1]
    level = np.sin(raised)
    return np.stack([level * np.sin(azimuth), level * np.cos(azimuth) * side, -np.cos(raised)], axis=-1)


def _frames_along(axis: Floats, frames: Floats) -> Floats:
    """Return rotations (N, 3, 3) whose z are axes (N, 3) and whose x are as near to those of frames as possible."""
    x, y = (v - axis * np.sum(axis * v, axis=1, keepdims=True) for v in (frames[:, :, 0], frames[:, :, 1]))
    x = np.where(np.linalg.norm(x, axis=1, keepdims=True) < 0.1, y, x)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return np.stack([x, np.cross(axis, x), axis], axis=2)
