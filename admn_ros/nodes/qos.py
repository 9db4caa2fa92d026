# SPDX-License-Identifier: Apache-2.0
"""QoS profiles by meaning (REP-2003)."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


SENSOR_IN = _profile(5, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
"""For subscribing to sensors: matches reliable and best-effort drivers, drops rather than queues."""

RESULT_OUT = _profile(10, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""For what the node computes."""

VIEW_OUT = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""For pictures and markers, of which only the newest is worth anything."""

TRANSFORMS_IN = _profile(100, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""For /tf, as tf2 listens to it."""

STATIC_TRANSFORMS_IN = _profile(100, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""For /tf_static, as tf2 listens to it."""

COMMAND_IN = _profile(10, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""For commands such as budgets, from publishers of any durability."""

LATCHED_COMMAND_IN = _profile(10, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""For commands that a publisher keeps for late joiners; volatile publishers do not match it."""

LATCHED_STATE_IN = _profile(1, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.TRANSIENT_LOCAL)
"""For state that a publisher keeps for late joiners; volatile publishers do not match it."""

STATE = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""For state that late joiners must see."""
