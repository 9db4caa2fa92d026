# SPDX-License-Identifier: Apache-2.0
"""QoS profiles (REP-2003)."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


SENSOR_IN = _profile(5, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
"""Subscription to sensors: matches reliable and best-effort drivers, and drops rather than queues."""

RESULT_OUT = _profile(10, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Publisher of results."""

VIEW_OUT = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Publisher of images and markers for viewers; only the newest is kept."""

TRANSFORMS_IN = _profile(100, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Subscription to /tf, as in tf2."""

TRANSFORMS_OUT = TRANSFORMS_IN
"""Publisher of /tf, as in tf2."""

STATIC_TRANSFORMS_IN = _profile(100, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""Subscription to /tf_static, as in tf2."""

COMMAND_IN = _profile(10, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Subscription to commands such as budgets: matches publishers of any durability."""

LATCHED_COMMAND_IN = _profile(10, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""Subscription to commands that a publisher keeps for late joiners; does not match volatile publishers."""

LATCHED_STATE_IN = _profile(1, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.TRANSIENT_LOCAL)
"""Subscription to state that a publisher keeps for late joiners; does not match volatile publishers."""

STATE = _profile(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""Publisher of state, kept for late joiners."""
