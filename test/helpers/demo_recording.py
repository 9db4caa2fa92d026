# SPDX-License-Identifier: Apache-2.0
"""The bundled recording, whole or cut short, for tests that need real sensor messages without a renderer."""

from pathlib import Path

from admn_ros.recordings.cut import cut_bag

CONFIG = Path(__file__).resolve().parents[2] / "config"
DEMO_BAG, DEMO_SENSORS = CONFIG / "demo", CONFIG / "demo.yaml"


def cut_recording(target: Path, seconds: float, storage: str = "mcap") -> Path:
    """Write the first seconds of the bundled recording."""
    return cut_bag(DEMO_BAG, target, seconds, storage)
