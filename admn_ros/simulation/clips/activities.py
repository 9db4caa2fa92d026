# SPDX-License-Identifier: Apache-2.0
"""Postures of the 27 activities of MM-Fi: each one moves to and fro between two postures.

The activities are those of the dataset's list (Yang et al., MM-Fi, NeurIPS 2023); the postures are ours.
Directions of limbs are (raise, azimuth) in degrees: 0 hangs down, 90 is level, 180 points up; azimuth 0 is outwards,
90 is forwards, 180 is inwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from admn_ros.simulation.scene.geometry import Floats

Direction = tuple[float, float]
_DOWN, _OUT, _UP, _AHEAD = (8.0, 0.0), (90.0, 0.0), (175.0, 0.0), (90.0, 90.0)


@dataclass(frozen=True)
class Posture:
    """Directions of the parts of a body, in degrees.

    Attributes:
        trunk: pitch forwards, lean to the left, turn to the left.
        left_arm, right_arm: directions of upper arm and forearm, in the frame of the trunk.
        left_leg, right_leg: directions of thigh and shank, in the frame of the pelvis.
        jump_m: height of the feet above the floor in metres.
    """

    trunk: tuple[float, float, float] = (0.0, 0.0, 0.0)
    left_arm: tuple[Direction, Direction] = (_DOWN, _DOWN)
    right_arm: tuple[Direction, Direction] = (_DOWN, _DOWN)
    left_leg: tuple[Direction, Direction] = ((4.0, 0.0), (2.0, 0.0))
    right_leg: tuple[Direction, Direction] = ((4.0, 0.0), (2.0, 0.0))
    jump_m: float = 0.0

    @property
    def numbers(self) -> Floats:
        """All angles and the height of the jump, (20,)."""
        limbs = (self.left_arm, self.right_arm, self.left_leg, self.right_leg)
        return np.array([*self.trunk, *(x for limb in limbs for part in limb for x in part), self.jump_m])

    @property
    def mirrored(self) -> Posture:
        """The same posture with left and right exchanged."""
        pitch, lean, turn = self.trunk
        return Posture((pitch, -lean, -turn), self.right_arm, self.left_arm, self.right_leg, self.left_leg, self.jump_m)


Motion = tuple[Posture, Posture]

_STAND = Posture()
_T = Posture(left_arm=(_OUT, _OUT), right_arm=(_OUT, _OUT))
_TWIST_LEFT = Posture(trunk=(0, 0, 55), left_arm=((80, 60), (85, 150)), right_arm=((80, 60), (85, 150)))
_ARMS_BENT = Posture(left_arm=((80, 60), (85, 150)), right_arm=((80, 60), (85, 150)))
_MARCH_LEFT = Posture(left_leg=((80, 90), (0, 0)), right_arm=((40, 90), (110, 90)), left_arm=((20, -90), (20, 0)))
_EXTENDED_LEFT = Posture(left_arm=((120, 0), (120, 0)), left_leg=((38, 0), (38, 0)))
_LUNGE_LEFT_FRONT = Posture(trunk=(8, 0, 25), left_leg=((62, 65), (5, 0)), right_leg=((30, -110), (45, -110)),
                            left_arm=((60, 120), (120, 150)), right_arm=((60, 120), (120, 150)))
_LUNGE_LEFT_SIDE = Posture(trunk=(5, 12, 0), left_leg=((58, 0), (-5, 0)), right_leg=((32, 0), (32, 0)),
                           left_arm=((60, 120), (120, 150)), right_arm=((60, 120), (120, 150)))
_RAISED_LEFT = Posture(left_arm=(_UP, _UP))
_WAVE_OUT_LEFT = Posture(left_arm=((95, 0), (130, 0)))
_WAVE_IN_LEFT = Posture(left_arm=((95, 0), (215, 0)))
_WIND_UP_LEFT = Posture(trunk=(0, -10, -40), right_arm=((100, -20), (160, 20)), left_arm=((60, 90), (70, 90)))
_THROWN_LEFT = Posture(trunk=(15, 12, 45), right_arm=((85, 130), (80, 150)), left_arm=((30, -60), (30, 0)),
                       right_leg=((20, -90), (30, -90)))
_KICK_LEFT = Posture(trunk=(-8, -14, 0), left_leg=((75, 12), (75, 12)), left_arm=((50, 0), (50, 0)),
                     right_arm=((50, 0), (50, 0)))
_BENT_LEFT = Posture(trunk=(0, 38, 0), right_arm=((175, 0), (200, 0)), left_arm=((20, 0), (15, 0)))
_ARMS_LEVEL = Posture(left_arm=(_AHEAD, _AHEAD), right_arm=(_AHEAD, _AHEAD))


def _mirrored(motion: Motion) -> Motion:
    return motion[0].mirrored, motion[1].mirrored


_TWIST, _EXTENSION = (_ARMS_BENT, _TWIST_LEFT), (_STAND, _EXTENDED_LEFT)
_LUNGE_FRONT, _LUNGE_SIDE = (_STAND, _LUNGE_LEFT_FRONT), (_STAND, _LUNGE_LEFT_SIDE)
_RAISE, _WAVE = (_STAND, _RAISED_LEFT), (_WAVE_OUT_LEFT, _WAVE_IN_LEFT)
_THROW, _KICK, _BODY = (_WIND_UP_LEFT, _THROWN_LEFT), (_STAND, _KICK_LEFT), (_STAND, _BENT_LEFT)

ACTIVITIES: dict[str, Motion] = {
    "A01": (_STAND, Posture(trunk=(-8, 0, 0), left_arm=((165, 0), (190, 0)), right_arm=((165, 0), (190, 0)))),
    "A02": (Posture(left_arm=((85, 100), (85, 170)), right_arm=((85, 100), (85, 170))), replace(_T, trunk=(-6, 0, 0))),
    "A03": (replace(_ARMS_LEVEL, trunk=(4, 0, 0)), Posture(trunk=(-6, 0, 0), left_arm=((165, 60), (170, 60)),
                                                          right_arm=((165, 60), (170, 60)))),
    "A04": _TWIST, "A05": _mirrored(_TWIST),
    "A06": (_MARCH_LEFT, _MARCH_LEFT.mirrored),
    "A07": _EXTENSION, "A08": _mirrored(_EXTENSION),
    "A09": _LUNGE_FRONT, "A10": _mirrored(_LUNGE_FRONT),
    "A11": (_STAND, Posture(left_arm=((130, 0), (130, 0)), right_arm=((130, 0), (130, 0)),
                            left_leg=((24, 0), (24, 0)), right_leg=((24, 0), (24, 0)))),
    "A12": (_STAND, Posture(trunk=(25, 0, 0), left_leg=((85, 70), (12, -90)), right_leg=((85, 70), (12, -90)),
                            left_arm=(_AHEAD, _AHEAD), right_arm=(_AHEAD, _AHEAD))),
    "A13": _RAISE, "A14": _mirrored(_RAISE),
    "A15": _LUNGE_SIDE, "A16": _mirrored(_LUNGE_SIDE),
    "A17": _WAVE, "A18": _mirrored(_WAVE),
    "A19": (_STAND, Posture(trunk=(70, 0, 0), left_leg=((55, 80), (8, -90)), right_leg=((55, 80), (8, -90)),
                            left_arm=((75, 90), (75, 90)), right_arm=((75, 90), (75, 90)))),
    "A20": _THROW, "A21": _mirrored(_THROW),
    "A22": _KICK, "A23": _mirrored(_KICK),
    "A24": _BODY, "A25": _mirrored(_BODY),
    "A26": (Posture(trunk=(18, 0, 0), left_leg=((40, 80), (15, -90)), right_leg=((40, 80), (15, -90)),
                    left_arm=((30, -90), (30, -90)), right_arm=((30, -90), (30, -90))),
            Posture(left_arm=((150, 40), (160, 40)), right_arm=((150, 40), (160, 40)), jump_m=0.28)),
    "A27": (_STAND, Posture(trunk=(60, 0, 0), left_arm=((60, 90), (60, 90)), right_arm=((60, 90), (60, 90)))),
}
"""Both postures of each activity, by its number in MM-Fi."""


def posture_at(activity: str, phase: float, extent: float = 1.0) -> Floats:
    """Return the numbers (20,) of a posture, see `Posture`.

    Args:
        activity: number of the activity, such as A01.
        phase: phase of the motion; it repeats after 1.
        extent: size of the motion: 1 reaches the second posture.
    """
    first, second = (posture.numbers for posture in ACTIVITIES[activity])
    mixed: Floats = first + extent * (0.5 - 0.5 * np.cos(2 * np.pi * phase)) * (second - first)
    return mixed
