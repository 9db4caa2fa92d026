# SPDX-License-Identifier: Apache-2.0
"""Add a corruption: dirt on the lens.

A corruption is a class with two methods. Its entry in `CORRUPTIONS` gives it a name. Here the entry is made at run
time; in `admn_ros/sensing/corruption/presets.py` it serves training files, result tables and
`admn evaluate --corruption`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import admn_ros
from admn_ros.sample import Array
from admn_ros.sensing.corruption.corruption import Corruption
from admn_ros.sensing.corruption.draws import Draw, Draws, Environment
from admn_ros.sensing.corruption.presets import CORRUPTIONS, Mixture, PresetOptions, corruption_preset

RGB = admn_ros.Modality.RGB


@dataclass(frozen=True)
class LensDirt(Corruption):
    """Opaque brown spots on an RGB image.

    Attributes:
        spots: number of spots at severity 1.
    """

    kind: ClassVar[str] = "lens_dirt"
    modality: admn_ros.Modality = RGB
    spots: int = 40

    def parameters(self, severity: float) -> dict[str, float]:
        """Return the number of spots, which the label of a corrupted sample carries."""
        return {"spots": round(severity * self.spots)}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        height, width, _ = data.shape
        rows, columns = np.mgrid[:height, :width]
        dirty = data.copy()  # a corruption never writes into its input
        # All spots are drawn at any severity, so that a higher severity adds spots to the same ones.
        places = rng.uniform(0, 1, (self.spots, 3))
        for y, x, size in places[:round(severity * self.spots)]:
            radius_px = (0.03 + 0.07 * size) * width
            dirty[(rows - y * height) ** 2 + (columns - x * width) ** 2 < radius_px**2] = (60, 45, 30)
        return dirty


def lens_dirt(options: PresetOptions) -> Mixture:
    """Return the preset `lens-dirt`: every sample has dirt of a random severity."""
    def rule(rng: np.random.Generator, scene: Environment) -> Draws:
        return {RGB: Draw(LensDirt(), float(rng.uniform()), -1)}

    return Mixture((RGB,), rule)


def main() -> None:
    """Apply the preset to an image, and print what its label says and how much of the image changed."""
    CORRUPTIONS["lens-dirt"] = lens_dirt
    image = np.full((270, 480, 3), 200, np.uint8)
    readings = {admn_ros.SensorKey("node1", RGB): image}
    for seed in range(3):
        bad = corruption_preset("lens-dirt")(readings, np.random.default_rng(seed), "indoor")
        changed = float((next(iter(bad.readings.values())) != image).any(axis=2).mean())
        label = bad.labels[RGB]
        print(f"{label.kind}: severity {label.severity:.2f}, {label.value:.0f} spots, {changed:.0%} of the image")


if __name__ == "__main__":
    main()
