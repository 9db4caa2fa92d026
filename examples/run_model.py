# SPDX-License-Identifier: Apache-2.0
"""Run the shipped model on arrays, within a falling budget.

A frame is a set of readings at one instant. Inputs that are left out count as missing: they cost nothing.
"""

from __future__ import annotations

import numpy as np

import admn_ros


def made_up_frame() -> admn_ros.SensorFrame:
    """Return a frame of noise in the shapes and units that cameras deliver."""
    rng = np.random.default_rng(seed=0)
    readings: dict[str, np.ndarray] = {}
    for node in ("node1", "node2", "node3"):
        readings[f"{node}/rgb"] = rng.integers(0, 256, (270, 480, 3), dtype=np.uint8)  # RGB order
        readings[f"{node}/depth"] = rng.uniform(0.5, 5.0, (120, 160)).astype(np.float32)  # metres, NaN is invalid
        readings[f"{node}/audio"] = rng.normal(0, 0.1, (16384, 4)).astype(np.float32)  # full scale is 1
    return admn_ros.SensorFrame.of(readings)


def main() -> None:
    """Print position, class and allocation for several budgets."""
    model = admn_ros.load_model("gdtm")
    frame = made_up_frame()
    for limit in (4, 3, 2, 1, 0):
        estimate = model.infer(frame, admn_ros.Budget(limit, "layers"))
        layers = {str(modality): len(active) for modality, active in estimate.allocation.active.items()}
        if estimate.mean_m is None:
            print(f"budget {limit:2}: nothing ran ({estimate.allocation.reason_text})")
            continue
        x_m, y_m, _ = estimate.mean_m
        best = estimate.labels[int(np.argmax(estimate.scores))]
        print(f"budget {limit:2}: spent {estimate.allocation.layers:2} {layers}, ({x_m:+.2f}, {y_m:+.2f}) m, {best}")


if __name__ == "__main__":
    main()
