# SPDX-License-Identifier: Apache-2.0
"""The bundled recording, whole or cut short, for tests that need real sensor messages without a renderer."""

from pathlib import Path

from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.bag_writer import BagWriter

CONFIG = Path(__file__).resolve().parents[2] / "config"
DEMO_BAG, DEMO_SENSORS = CONFIG / "demo", CONFIG / "demo.yaml"


def cut_recording(target: Path, seconds: float, storage: str = "mcap") -> Path:
    """Write the first seconds of the bundled recording."""
    with BagReader(DEMO_BAG) as whole, BagWriter(target, storage, compress=storage == "mcap") as part:
        part.note(whole.custom_data)
        for topic, info in whole.topics.items():
            part.add_topic(topic, info.type, latched=info.latched)
        for topic, stamp_ns, raw in whole.raw(stop_ns=whole.start_ns + round(seconds * 1e9)):
            part.write_raw(topic, whole.topics[topic].type, raw, stamp_ns)
    return target
