# SPDX-License-Identifier: Apache-2.0
"""ROS's own approximate time synchronizer in the place of ours (`sync.policy: approximate_time`)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.clock import ClockType
from rclpy.time import Time

from admn_ros.deployment import SyncConfig
from admn_ros.errors import ConfigError, InputError
from admn_ros.sample import Array, Availability, Reading, SensorFrame, SensorKey
from admn_ros.sensing.sync.clock_watch import ClockWatch, Verdict
from admn_ros.sensing.sync.input_buffer import InputBuffer, Stamped, Stored
from admn_ros.sensing.sync.synchronizer import FrameSynchronizer, InputStats, Synchronizer, SyncStats


def make_synchronizer(config: SyncConfig, inputs: Sequence[SensorKey]) -> FrameSynchronizer:
    """The synchronizer that a deployment asks for.

    Raises:
        ConfigError: message_filters is asked for and not installed.
    """
    return Synchronizer(config, inputs) if config.policy == "hold" else ApproximateTime(config, inputs)


@dataclass(frozen=True)
class _Header:
    stamp: Time


@dataclass(frozen=True)
class _Message:
    """A reading as message_filters takes it: with the stamp in its header."""

    header: _Header
    stamp_ns: int
    arrived_s: float
    data: Array


class ApproximateTime:
    """`message_filters.ApproximateTimeSynchronizer`, fed with readings instead of subscriptions.

    A frame is a set with one reading of every input, all within `slop_s`. An input that is silent stops all frames.
    What it lacks is put around it: a stamp that comes twice is dropped, and time that jumps back starts afresh
    (by itself it would drop every later reading).
    """

    def __init__(self, config: SyncConfig, inputs: Sequence[SensorKey]) -> None:
        """Prepare for the given inputs.

        Raises:
            ConfigError: message_filters is not installed.
        """
        try:
            self._library = importlib.import_module("message_filters")
        except ImportError as error:
            raise ConfigError("sync.policy", "approximate_time, but there is no message_filters",
                              "hold, or install the ROS package message_filters") from error
        self._config, self._inputs = config, list(inputs)
        order = {m: i for i, m in reversed(list(enumerate(config.reference)))}
        self._reference = min(inputs, key=lambda k: order.get(k.modality, len(order)))
        self._seen = {k: InputBuffer(k, config.of(k.modality), config.queue) for k in inputs}
        self._received = dict.fromkeys(inputs, 0)
        self._duplicates = dict.fromkeys(inputs, 0)
        self._late = dict.fromkeys(inputs, 0)
        self._frames = self._resets = 0
        self._ignored = dict.fromkeys(inputs, 0)
        self._clocks = ClockWatch(self._inputs, round(config.jump_back_s * 1e9))
        self._ready: list[SensorFrame] = []
        self._now_s = 0.0
        self._join()

    def add(self, key: SensorKey, stamp_ns: int, data: Array, now_s: float) -> list[SensorFrame]:
        """Take one reading.

        Raises:
            InputError: an input that was not configured.
        """
        if key not in self._seen:
            raise InputError("key", key, ", ".join(map(str, self._seen)))
        seen, self._now_s = self._seen[key], now_s
        self._received[key] += 1
        stamp_ns -= seen.offset_ns
        verdict = self._clocks.hear(key, stamp_ns, now_s)
        if verdict is Verdict.IGNORED:
            self._ignored[key] += 1
            seen.silence()
            return []
        if verdict is Verdict.JUMPED:
            self._resets += 1
            for each in self._seen.values():
                each.clear()
            self._join()
        stored = seen.store(Stamped(stamp_ns, data), now_s, None)
        self._duplicates[key] += stored is Stored.DUPLICATE
        self._late[key] += stored is Stored.LATE
        if stored is Stored.KEPT:
            stamp = Time(nanoseconds=stamp_ns, clock_type=ClockType.ROS_TIME)
            self._filters[key].signalMessage(_Message(_Header(stamp), stamp_ns, now_s, data))
        ready, self._ready = self._ready, []
        return ready

    def poll(self, now_s: float) -> list[SensorFrame]:
        """Nothing: time alone completes no set."""
        return []

    def retune(self, config: SyncConfig) -> None:
        """Take other offsets; of readings that wait they stay what they were. The rest does not count here."""
        self._config = config
        for key, seen in self._seen.items():
            self._clocks.shift(key, seen.retune(config.of(key.modality)))

    @property
    def resets(self) -> int:
        """How often time has jumped back for all inputs."""
        return self._resets

    def stats(self) -> SyncStats:
        """Counters and state."""
        inputs = {k: InputStats(
            received=self._received[k], duplicates=self._duplicates[k], late=self._late[k], fresh=self._frames, held=0,
            missing=0, buffered=len(i), last_stamp_ns=i.last_stamp_ns, last_arrival_s=i.last_arrival_s,
            rate_hz=1e9 / i.period_ns if i.period_ns else None, ignored=self._ignored[k],
            wandering=self._clocks.is_wandering(k)) for k, i in self._seen.items()}
        return SyncStats(inputs, self._frames, 0, self._resets, 0, self._reference)

    def _join(self) -> None:
        """Begin with empty queues."""
        self._filters = {key: self._library.SimpleFilter() for key in self._inputs}
        join = self._library.ApproximateTimeSynchronizer(
            list(self._filters.values()), self._config.queue, self._config.slop_s)
        join.registerCallback(self._complete)

    def _complete(self, *messages: _Message) -> None:
        # It must not raise: message_filters would keep its lock.
        found = dict(zip(self._inputs, messages, strict=True))
        led = found[self._reference]
        readings = {key: Reading(Availability.FRESH, m.data, m.stamp_ns) for key, m in found.items()}
        self._frames += 1
        self._ready.append(SensorFrame(led.stamp_ns, self._reference, readings, self._now_s - led.arrived_s))
