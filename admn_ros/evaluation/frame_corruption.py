# SPDX-License-Identifier: Apache-2.0
"""Bad sensors injected into the frames of a recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from admn_ros.replay.ground_truth import NS
from admn_ros.sample import MISSING, Modality, SensorFrame
from admn_ros.sensing.corruption.corruption import CorruptionLabel
from admn_ros.sensing.corruption.presets import CorruptionPreset, Draws, apply_draws


class FrameCorruption:
    """What a preset does to frame after frame. A draw holds for a while, as bad light and broken sensors do.

    The draw of a stretch depends on the seed and the stretch's number alone, the noise of a frame besides on its
    stamp: whichever frames are left out, the others are the same.

    Args:
        preset: what is drawn; None leaves everything as it is.
        seed: not negative.
        hold_s: length of a stretch.
    """

    def __init__(self, preset: CorruptionPreset | None, seed: int, hold_s: float) -> None:
        self._preset, self._seed, self._hold_ns = preset, seed, round(hold_s * NS)
        self._first_ns: int | None = None
        self._drawn: tuple[int, Draws] = (-1, {})

    def __call__(self, frame: SensorFrame) -> tuple[SensorFrame, Mapping[Modality, CorruptionLabel]]:
        """The frame as bad sensors would have given it, and what was done to each modality.

        Raises:
            InputError: readings that are not of their modality.
        """
        if self._preset is None:
            return frame, {}
        if self._first_ns is None:
            self._first_ns = frame.stamp_ns
        since_ns = max(0, frame.stamp_ns - self._first_ns)
        draws = self._draws(self._preset, since_ns // self._hold_ns)
        there = {key: r.data for key, r in frame.readings.items() if r.data is not None}
        data = apply_draws(there, draws, np.random.default_rng([self._seed, 1, since_ns]))
        readings = {key: replace(r, data=data[key]) if key in data else MISSING for key, r in frame.readings.items()}
        return replace(frame, readings=readings), {m: draw.label for m, draw in draws.items()}

    def _draws(self, preset: CorruptionPreset, stretch: int) -> Draws:
        if self._drawn[0] != stretch:
            self._drawn = stretch, preset.draw(np.random.default_rng([self._seed, 0, stretch]))
        return self._drawn[1]
