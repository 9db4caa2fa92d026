# SPDX-License-Identifier: Apache-2.0
"""Topics that a configured topic that is absent may have been meant to be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

_MOST = 3


def similar_topics(topic: str, kind: str, topics: Mapping[str, str], taken: Collection[str] = ()) -> list[str]:
    """Return topics with a name near to one that is absent, else those of the same type, else those spelled alike.

    Names are near if they differ by their namespace, or by the part that image transports append (`compressed`).

    Args:
        topic: full name of the absent topic.
        kind: its message type, such as `sensor_msgs/msg/Image`.
        topics: types of the topics that exist, by full name.
        taken: topics that are configured for other inputs.

    Returns:
        Names with their types in parentheses, at most three.
    """
    others = {name: its for name, its in topics.items() if name not in taken and name != topic}
    near = [name for name in others if _is_near(topic, name)]
    found = near or [name for name, its in others.items() if its == kind] or get_close_matches(topic, others)
    return [f"{name} ({others[name]})" for name in sorted(found)[:_MOST]]


def _is_near(one: str, other: str) -> bool:
    a, b = _parts(one), _parts(other)
    short, long = sorted((a, b), key=len)
    return long[-len(short):] == short or (len(a) == len(b) > 2 and a[1:] == b[1:])


def _parts(topic: str) -> list[str]:
    parts = topic.strip("/").split("/")
    return parts[:-1] if len(parts) > 1 and parts[-1].startswith(("compressed", "theora")) else parts
