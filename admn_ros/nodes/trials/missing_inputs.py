# SPDX-License-Identifier: Apache-2.0
"""Which inputs were missing while a trial waited for all of them, and what the node and the publishers know of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence


def describe_missing(frames: Sequence[Collection[str]], statuses: Mapping[str, Mapping[str, str]],
                     subscribers: Mapping[str, int]) -> str:
    """Describe missing inputs in one line, the most frequent first.

    An input that the node never received has two causes: its publisher has no subscribers (the publisher has not
    discovered the node), or it has some and the node does not know the publisher or gets no data.

    Args:
        frames: missing inputs of each frame, such as `left/rgb`.
        statuses: values of each status of the node and its `message`, by the part of its name after the node's.
        subscribers: number of subscriptions that the publisher of each input has discovered.
    """
    if not frames:
        return "no frame was reported"
    counts = Counter(name for missing in frames for name in missing)
    if not counts:
        return f"nothing was missing in {len(frames)} frames, but they came too early"
    return "; ".join(f"{name} in {count} of {len(frames)} frames ({_state(name, statuses, subscribers)})"
                     for name, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _state(name: str, statuses: Mapping[str, Mapping[str, str]], subscribers: Mapping[str, int]) -> str:
    values = statuses.get(f"input {name}")
    known = ("no diagnostics" if values is None else
             f"{values['state']}: {values['message']}, accepted {values['accepted']}, refused {values['refused']}, "
             f"held in {values['frames_held']} frames, age {values['age_s']} s")
    return f"{known}; its publisher has {subscribers.get(name, 0)} subscribers"
