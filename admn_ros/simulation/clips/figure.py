# SPDX-License-Identifier: Apache-2.0
"""A person of capsules, one body for each part, posed by the directions of the limbs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from admn_ros.recordings.bag_messages import quaternion_of
from admn_ros.simulation.clips.clip_scene import geom
from admn_ros.simulation.scene.geometry import Floats, rotation_z
from admn_ros.simulation.scene.people import Person
from admn_ros.simulation.scene.person_model import BodyPose

# Lengths and widths as shares of the height.
_TRUNK, _NECK, _HEAD = 0.29, 0.05, 0.07
_SHOULDER, _HIP = 0.115, 0.055
_UPPER_ARM, _FOREARM, _THIGH, _SHANK = 0.17, 0.21, 0.245, 0.265
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

    The frame of a limb is in its middle, with z along it.
    """
    p, h, w = build.person, build.person.height_m, build.width
    limbs = [(_UPPER_ARM, 0.046, p.shirt), (_FOREARM, 0.038, p.skin), (_THIGH, 0.075, p.trousers),
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
    limbs = angles[3:].reshape(4, 2, 2)
    neck = trunk @ np.array([0, 0, _TRUNK * height_m])
    parts: list[tuple[Floats, Floats]] = [(neck / 2, trunk),
                                          (neck + trunk @ np.array([0.02, 0, height_m * (_NECK + _HEAD)]), trunk)]
    ends: list[float] = []
    for number, (joints, frame, sideways, start, lengths) in enumerate((
            (limbs[0], trunk, _SHOULDER, neck, (_UPPER_ARM, _FOREARM)),
            (limbs[1], trunk, -_SHOULDER, neck, (_UPPER_ARM, _FOREARM)),
            (limbs[2], base, _HIP, np.zeros(3), (_THIGH, _SHANK)),
            (limbs[3], base, -_HIP, np.zeros(3), (_THIGH, _SHANK)))):
        joint = start + frame @ np.array([0, sideways * height_m, 0])
        for (raised, azimuth), length in zip(joints, lengths, strict=True):
            along = frame @ _direction(float(raised), float(azimuth), np.sign(sideways))
            parts.append((joint + along * (length * height_m / 2), _frame_along(-along, frame)))
            joint = joint + along * (length * height_m)
        if number >= 2:
            ends.append(float(joint[2]))
    root = np.array([*at_m, _FOOT_M + jump_m - min(ends)])
    return [_body_pose(centre + root, frame) for centre, frame in parts]


def _direction(raised: float, azimuth: float, side: float) -> Floats:
    """Return the unit vector of a limb: x forwards, y to the left, z up; outwards is the `side` of the body."""
    level = np.sin(raised)
    return np.array([level * np.sin(azimuth), level * np.cos(azimuth) * side, -np.cos(raised)])


def _frame_along(axis: Floats, frame: Floats) -> Floats:
    """Return a rotation whose z is an axis and whose x is as near to that of a frame as possible."""
    x = frame[:, 0] - axis * (axis @ frame[:, 0])
    if np.linalg.norm(x) < 0.1:
        x = frame[:, 1] - axis * (axis @ frame[:, 1])
    x = x / np.linalg.norm(x)
    return np.stack([x, np.cross(axis, x), axis], axis=1)


def _body_pose(centre: Floats, frame: Floats) -> BodyPose:
    (px, py, pz), (x, y, z, w) = centre.tolist(), quaternion_of(frame)
    return (px, py, pz), (w, x, y, z)
