# SPDX-License-Identifier: Apache-2.0
"""Synchronization by `message_filters` (`sync.policy: approximate_time`)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.clock import ClockType
from rclpy.time import Time

from admn_ros.deployment import SyncConfig
from admn_ros.errors import ConfigError, InputError
from admn_ros.sample import Array, Availability, Reading, SensorFrame, SensorKey
from admn_ros.sensing.sync.clock_watch import Checked, ClockWatch
from admn_ros.sensing.sync.input_buffer import InputBuffer, Stamped, Stored
from admn_ros.sensing.sync.synchronizer import FrameSynchronizer, InputStats, Synchronizer, SyncStats


def make_synchronizer(config: SyncConfig, inputs: Sequence[SensorKey]) -> FrameSynchronizer:
    """Return the synchronizer for the policy of a deployment.

    Raises:
        ConfigError: the policy needs message_filters, which is not installed.
    """
    return Synchronizer(config, inputs) if config.policy == "hold" else ApproximateTime(config, inputs)


@dataclass(frozen=True)
class _Header:
    stamp: Time


@dataclass(frozen=True)
class _Message:
    """Reading in the form that message_filters expects, with the stamp in a header."""

    header: _Header
    stamp_ns: int
    arrived_s: float
    data: Array


class ApproximateTime:
    """Adapter of `message_filters.ApproximateTimeSynchronizer` for readings instead of subscriptions.

    A frame has one reading of every input, all within `slop_s`. An input that stops publishing stops all frames.
    Duplicate stamps are dropped, and a jump back in time resets the synchronizer, which otherwise would drop every
    later reading.

    Args:
        config: synchronization settings.
        inputs: inputs of the deployment.

    Raises:
        ConfigError: message_filters is not installed.
    """

    def __init__(self, config: SyncConfig, inputs: Sequence[SensorKey]) -> None:
        try:
            self._library = importlib.import_module("message_filters")
        except ImportError as error:
            raise ConfigError("sync.policy", "approximate_time, but message_filters is not installed",
                              "hold; or install the ROS package message_filters") from error
        self._config, self._inputs = config, list(inputs)
        order = {m: i for i, m in reversed(list(enumerate(config.reference)))}
        self._reference = min(inputs, key=lambda k: order.get(k.modality, len(order)))
        self._seen = {k: InputBuffer(k, config.of(k.modality), config.queue) for k in inputs}
        self._received = dict.fromkeys(inputs, 0)
        self._duplicates = dict.fromkeys(inputs, 0)
        self._late = dict.fromkeys(inputs, 0)
        self._frames = self._resets = 0
        self._clocks = ClockWatch(self._inputs, round(config.jump_back_s * 1e9))
        self._ready: list[SensorFrame] = []
        self._now_s = 0.0
        self._join()

    def add(self, key: SensorKey, stamp_ns: int, data: Array, now_s: float) -> list[SensorFrame]:
        """Add a reading and return the frames that it completes.

        Raises:
            InputError: the input is not configured.
        """
        if key not in self._seen:
            raise InputError("key", key, ", ".join(map(str, self._seen)))
        seen, self._now_s = self._seen[key], now_s
        self._received[key] += 1
        frames = self._take(self._clocks.poll(now_s), now_s)
        checked = self._clocks.check(key, Stamped(stamp_ns - seen.offset_ns, data), now_s)
        if checked.returned:
            seen.clear()
            self._join()  # the queues of single inputs cannot be cleared
        if not checked.usable:
            seen.silence()
            if self._clocks.is_wandering(key):
                seen.clear()
        return frames + self._take(checked, now_s)

    def poll(self, now_s: float) -> list[SensorFrame]:
        """Return the frames of readings that were held back. Otherwise time alone completes none."""
        return self._take(self._clocks.poll(now_s), now_s)

    def due_s(self) -> float | None:
        """Return when a jump of stamps is decided; None without one, because time alone completes no frame."""
        return self._clocks.due_s()

    def retune(self, config: SyncConfig) -> None:
        """Replace the offsets, for later readings. Other settings have no effect here."""
        self._config = config
        for key, seen in self._seen.items():
            self._clocks.shift(key, seen.retune(config.of(key.modality)))

    @property
    def resets(self) -> int:
        """Number of times that all inputs jumped back in time."""
        return self._resets

    def stats(self) -> SyncStats:
        """Return counters and state."""
        inputs = {k: InputStats(
            received=self._received[k], duplicates=self._duplicates[k], late=self._late[k], fresh=self._frames, held=0,
            missing=0, buffered=len(i), last_stamp_ns=i.last_stamp_ns, last_arrival_s=i.last_arrival_s,
            rate_hz=1e9 / i.period_ns if i.period_ns else None, ignored=self._clocks.ignored(k),
            wandering=self._clocks.is_wandering(k)) for k, i in self._seen.items()}
        return SyncStats(inputs, self._frames, 0, self._resets, 0, self._reference)

    def _take(self, checked: Checked, now_s: float) -> list[SensorFrame]:
        """Pass readings on, and return the frames that they complete."""
        if checked.jumped:
            self._resets += 1
            for each in self._seen.values():
                each.clear()
            self._join()
        for key, (stamp_ns, data) in checked.usable:
            stored = self._seen[key].store(Stamped(stamp_ns, data), now_s, None)
            self._duplicates[key] += stored is Stored.DUPLICATE
            self._late[key] += stored is Stored.LATE
            if stored is Stored.KEPT:
                stamp = Time(nanoseconds=stamp_ns, clock_type=ClockType.ROS_TIME)
                self._filters[key].signalMessage(_Message(_Header(stamp), stamp_ns, now_s, data))
        ready, self._ready = self._ready, []
        return ready

    def _join(self) -> None:
        """Create the synchronizer, with empty queues."""
        self._filters = {key: self._library.SimpleFilter() for key in self._inputs}
        join = self._library.ApproximateTimeSynchronizer(
            list(self._filters.values()), self._config.queue, self._config.slop_s)
        join.registerCallback(self._complete)

    def _complete(self, *messages: _Message) -> None:
        # Must not raise: message_filters would keep its lock.
        found = dict(zip(self._inputs, messages, strict=True))
        led = found[self._reference]
        readings = {key: Reading(Availability.FRESH, m.data, m.stamp_ns) for key, m in found.items()}
        self._frames += 1
        self._ready.append(SensorFrame(led.stamp_ns, self._reference, readings, self._now_s - led.arrived_s))
