# SPDX-License-Identifier: Apache-2.0
"""Recorded allocations of the perception node: what was decided about each input of each frame."""

from __future__ import annotations

from pathlib import Path

from admn_ros.config import BUDGET_UNITS
from admn_ros.errors import InputError
from admn_ros.inference.decision import FrameDecision, received_decisions
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.replay.ground_truth import NS

ALLOCATION = "admn_ros/msg/LayerAllocation"


def recorded_decisions(path: Path, topic: str | None = None) -> list[FrameDecision]:
    """Read the allocations of a recording, in order of the stamps of their frames.

    Args:
        path: recording.
        topic: topic of the allocations; None for the only one.

    Raises:
        InputError: the recording cannot be read, or has no such topic, several or no messages.
    """
    with BagReader(path) as bag:
        topics = [name for name, info in bag.topics.items() if info.type == ALLOCATION and info.count]
        if topic is None and len(topics) > 1:
            raise InputError(f"{path}: topics of allocations", ", ".join(topics), "--topic with one of them")
        wanted = topic if topic is not None else next(iter(topics), None)
        if wanted not in topics:
            raise InputError(f"{path}: topic of allocations", wanted or "none",
                             ", ".join(topics) or f"a topic of {ALLOCATION}: ~/allocation of the perception node")
        found = [FrameDecision(m.header.stamp.sec * NS + m.header.stamp.nanosec, m.granted_limit, m.spent,
                               BUDGET_UNITS[m.granted_unit], m.reason_text, received_decisions(m.inputs))
                 for _, _, m in bag.messages([wanted])]
    return sorted(found, key=lambda frame: frame.stamp_ns)
