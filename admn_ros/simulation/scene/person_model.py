# SPDX-License-Identifier: Apache-2.0
"""MJCF of a person: a trunk with a head, and arms and legs that swing.

Each limb is a body of its own, whose frame is at the shoulder or the hip: x forward, y left, z up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from admn_ros.simulation.scene.geometry import numbers
from admn_ros.simulation.scene.people import Person, PersonState

SHOULDERS, HIPS = 0.81, 0.50     # heights, as shares of the person's
PARTS = 5                        # bodies: trunk, left leg, right leg, left arm, right arm
_SWING_RAD = 0.42                # of the legs at 1 m/s

BodyPose = tuple[tuple[float, float, float], tuple[float, float, float, float]]   # position, quaternion w x y z


def person_bodies(person: Person, number: int) -> str:
    """Return the MJCF of the `PARTS` bodies of a person, below the floor until they are placed."""
    h = person.height_m
    leg, arm = (HIPS - 0.04) * h, 0.36 * h
    trunk = [
        geom("ellipsoid", (0.115, 0.175, 0.20 * h), (0, 0, 0.665 * h), person.shirt),
        geom("ellipsoid", (0.09, 0.215, 0.055 * h), (0, 0, 0.79 * h), person.shirt),
        geom("ellipsoid", (0.115, 0.165, 0.08 * h), (0, 0, 0.50 * h), person.trousers),
        geom("capsule", (0.05, 0.03), (0, 0, 0.845 * h), person.skin),
        geom("ellipsoid", (0.095, 0.078, 0.068 * h), (0.01, 0, 0.932 * h), person.skin),
        geom("ellipsoid", (0.095, 0.083, 0.058 * h), (-0.015, 0, 0.947 * h), person.hair),
    ]
    legs = [
        geom("capsule", (0.072, leg / 4), (0, 0, -leg / 4), person.trousers),
        geom("capsule", (0.052, leg / 4), (0, 0, -0.72 * leg), person.trousers),
        geom("ellipsoid", (0.135, 0.048, 0.042), (0.05, 0, -leg), person.shoes),
    ]
    arms = [
        geom("capsule", (0.045, 0.42 * arm), (0, 0, -0.42 * arm), person.shirt),
        geom("ellipsoid", (0.045, 0.03, 0.07), (0.01, 0, -arm), person.skin),
    ]
    parts = (trunk, legs, legs, arms, arms)
    return "".join(f'<body name="person{number}_{k}" mocap="true" pos="0 0 -9">{"".join(geoms)}</body>'
                   for k, geoms in enumerate(parts))


def person_poses(person: Person, state: PersonState | None) -> list[BodyPose]:
    """Return the poses of the bodies in `map`; out of sight without a state."""
    if state is None:
        return [((0.0, 0.0, -9.0), (1.0, 0.0, 0.0, 0.0))] * PARTS
    speed = float(np.linalg.norm(state.velocity_mps))
    swing = _SWING_RAD * min(speed, 1.3) * float(np.sin(state.gait_rad))
    hip, shoulder = HIPS * person.height_m, SHOULDERS * person.height_m
    places = ((0.0, 0.0, 0.0), (0.095, hip, swing), (-0.095, hip, -swing), (0.225, shoulder, -0.8 * swing),
              (-0.225, shoulder, 0.8 * swing))
    c, s = float(np.cos(state.heading_rad)), float(np.sin(state.heading_rad))
    x, y = (float(v) for v in state.position_m)
    return [((x - s * aside, y + c * aside, up), _turned(state.heading_rad, pitch)) for aside, up, pitch in places]


def _turned(yaw: float, pitch: float) -> tuple[float, float, float, float]:
    """Return the quaternion of a turn about z after one about y."""
    cy, sy, cp, sp = (float(f(a / 2)) for a in (yaw, pitch) for f in (np.cos, np.sin))
    return cy * cp, -sy * sp, cy * sp, sy * cp


def geom(kind: str, size: Sequence[float], at: Sequence[float], rgb: Sequence[float],
         axis: Sequence[float] = ()) -> str:
    """Return the MJCF of a geom.

    Args:
        kind: sphere, ellipsoid, box, capsule or cylinder.
        size: half sizes in metres, as MuJoCo has them.
        at: position in the frame of its body.
        rgb: gamma-encoded colour, 0 to 1.
        axis: direction of the long axis of a capsule or cylinder; z if empty.
    """
    turned = f' zaxis="{numbers(axis, 5)}"' if axis else ""
    return f'<geom type="{kind}" size="{numbers(size, 5)}" pos="{numbers(at, 5)}"{turned} rgba="{numbers(rgb, 5)} 1"/>'
