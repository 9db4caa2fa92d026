# SPDX-License-Identifier: Apache-2.0
"""Echoes of what moves in the room beside the target: the second car, people, and spurious ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from admn_ros.simulation.radar.echoes import Echoes, car_echoes, hidden
from admn_ros.simulation.scene.geometry import Box, Floats
from admn_ros.simulation.scene.others import Others
from admn_ros.simulation.scene.people import PersonState
from admn_ros.simulation.scene.scene import Scene

# Amplitudes at 1 m, in units of the receiver noise of one sample, below those of a car: most of what a person
# reflects at this height passes above the radar, and clothes absorb.
_TRUNK, _SHANK = 6.0, 3.0
_TRUNK_M, _SHANK_M, _BESIDE_M = 0.95, 0.30, 0.10
_HALF_M = (0.10, 0.17, 0.85)   # half the size of a person: depth, width, height
_SPURIOUS = 3.0
_SPURIOUS_MPS = 1.5


def person_echoes(person: PersonState, rng: np.random.Generator) -> Echoes:
    """Return the scatterers of a person: the trunk, and two shanks of which one stands while the other swings.

    Args:
        person: state at one time.
        rng: generator of the fading.
    """
    c, s = np.cos(person.heading_rad), np.sin(person.heading_rad)
    aside = _BESIDE_M * np.array([-s, c])
    places = np.array([[*person.position_m, _TRUNK_M], [*(person.position_m + aside), _SHANK_M],
                       [*(person.position_m - aside), _SHANK_M]])
    # A foot that swings is twice as fast as the person.
    share = np.array([1.0, 1 + np.cos(person.gait_rad), 1 - np.cos(person.gait_rad)])
    velocity = share[:, None] * np.array([*person.velocity_mps, 0.0])
    return Echoes(places, np.array([_TRUNK, _SHANK, _SHANK]) * rng.rayleigh(0.8, 3), velocity)


def person_boxes(people: Sequence[PersonState]) -> list[Box]:
    """Return a box for each person, which hides from a radar what is behind."""
    return [Box((float(p.position_m[0]), float(p.position_m[1]), _HALF_M[2]), _HALF_M, (0.5,) * 3, float(p.heading_rad))
            for p in people]


def spurious_echoes(scene: Scene, mean: float, rng: np.random.Generator) -> Echoes:
    """Return echoes without a body at random places of the room: multipath, and vibrating or fluttering things.

    Args:
        scene: room.
        mean: mean number of echoes per frame.
        rng: generator of all of it.
    """
    count = int(rng.poisson(mean))
    half = np.array([*scene.room_half_m, 0.0])
    places = np.column_stack([rng.uniform(-half, half, (count, 3))[:, :2], rng.uniform(0, 1.5, count)])
    velocity = np.column_stack([rng.normal(0, _SPURIOUS_MPS / 2, (count, 2)), np.zeros(count)])
    return Echoes(places, _SPURIOUS * rng.rayleigh(1, count), velocity)


def other_echoes(others: Others, radar_m: Floats, rng: np.random.Generator) -> list[Echoes]:
    """Return the scatterers of the second car and of the people, for a radar at `radar_m` (3,) in `map`.

    Those behind a person are left out.
    """
    boxes = person_boxes(others.people)
    found = [(person_echoes(person, rng), boxes[:k] + boxes[k + 1:]) for k, person in enumerate(others.people)]
    if others.second_car is not None and others.second_velocity_mps is not None:
        found.append((car_echoes(others.second_car, others.second_velocity_mps, radar_m, rng), boxes))
    return [echoes.at(~hidden(before, radar_m, echoes.position_m)) for echoes, before in found]
