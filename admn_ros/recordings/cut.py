# SPDX-License-Identifier: Apache-2.0
"""The beginning of a recording as a recording of its own."""

from __future__ import annotations

from pathlib import Path

from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.bag_writer import BagWriter


def cut_bag(source: Path, target: Path, seconds: float, storage: str = "mcap") -> Path:
    """Write the first seconds of a recording; mcap files are compressed.

    Raises:
        InputError: the source cannot be read, or the target exists or cannot be written.
    """
    with BagReader(source) as whole, BagWriter(target, storage, compress=storage == "mcap") as part:
        part.note(whole.custom_data)
        for topic, info in whole.topics.items():
            part.add_topic(topic, info.type, latched=info.latched)
        for topic, stamp_ns, raw in whole.raw(stop_ns=whole.start_ns + round(seconds * 1e9)):
            part.write_raw(topic, whole.topics[topic].type, raw, stamp_ns)
    return target
