# SPDX-License-Identifier: Apache-2.0
"""Readings of many inputs, each with its own rate, loss and delay, to frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from admn_ros.deployment import SyncConfig
from admn_ros.errors import ConfigError, InputError
from admn_ros.sample import Array, Availability, Reading, SensorFrame, SensorKey
from admn_ros.sensing.sync.clock_watch import ClockWatch, Verdict
from admn_ros.sensing.sync.input_buffer import InputBuffer, Stamped, Stored

_NS = 1_000_000_000
_MOST_OPEN = 8


@dataclass(frozen=True)
class InputStats:
    """Counters of one input since the start.

    received: readings given to `add`; `duplicates` and `late` of them were dropped.
    fresh, held, missing: what it contributed to the frames.
    buffered: readings kept now.
    last_stamp_ns: stamp that arrived last (offset subtracted); None before the first, after a reset.
    last_arrival_s: when the last reading that was kept arrived.
    rate_hz: smoothed rate by the stamps; None before the second reading.
    ignored: readings dropped because the input's clock wandered; `wandering`: it does now.
    """

    received: int
    duplicates: int
    late: int
    fresh: int
    held: int
    missing: int
    buffered: int
    last_stamp_ns: int | None
    last_arrival_s: float | None
    rate_hz: float | None
    ignored: int = 0
    wandering: bool = False


@dataclass(frozen=True)
class SyncStats:
    """State of the synchronizer.

    frames: emitted since the start; `hurried` of them before their wait was over, because too many
        were open.
    resets: times that the clock of the frames started anew.
    waiting: frames open now.
    reference: the input whose clock makes the frames now; None when no input is live.
    """

    inputs: Mapping[SensorKey, InputStats]
    frames: int
    hurried: int
    resets: int
    waiting: int
    reference: SensorKey | None


class FrameSynchronizer(Protocol):
    """What makes frames of readings. `Synchronizer` says what each call means."""

    def add(self, key: SensorKey, stamp_ns: int, data: Array, now_s: float) -> list[SensorFrame]:
        """Take one reading; return the frames that it completes."""
        ...

    def poll(self, now_s: float) -> list[SensorFrame]:
        """Let time pass; return the frames that became complete."""
        ...

    def retune(self, config: SyncConfig) -> None:
        """Take other limits of the modalities and another `silent_s`, while readings come."""
        ...

    @property
    def resets(self) -> int:
        """How often time has jumped back for all inputs."""
        ...

    def stats(self) -> SyncStats:
        """Counters and state."""
        ...


MakeSynchronizer = Callable[[SyncConfig, Sequence[SensorKey]], FrameSynchronizer]


def holding(config: SyncConfig, inputs: Sequence[SensorKey]) -> Synchronizer:
    """The synchronizer of a deployment, where there is no ROS.

    Raises:
        ConfigError: the deployment asks for ROS's own.
    """
    if config.policy != "hold":
        raise ConfigError("sync.policy", config.policy, "hold; message_filters is part of ROS, which only the node has")
    return Synchronizer(config, inputs)


@dataclass
class _Counts:
    received: int = 0
    duplicates: int = 0
    late: int = 0
    fresh: int = 0
    held: int = 0
    missing: int = 0
    ignored: int = 0


@dataclass(frozen=True)
class _OpenFrame:
    stamp_ns: int
    opened_s: float
    reference: SensorKey
    reading: Reading


class Synchronizer:
    """Gathers readings into frames. Pure: the caller brings the time, equal calls give equal frames.

    Two clocks: `stamp_ns` is the sensors', `now_s` is any monotonic clock of arrival. `add` takes a
    reading, `poll` lets time pass; both return the frames that became complete, oldest first. Call
    `poll` often (a few milliseconds), since a frame whose wait ran out leaves with the next call.

    Reference. Each reading of the reference input opens a frame with its stamp. The reference is the
    first live input in the order of `SyncConfig.reference`, then of sensor nodes as given (modalities
    that are not named come last). An input is live when a reading of it was kept within the last
    `silent_s` of arrival. If the reference falls silent, the next takes over; when it is back, it
    takes over again.

    Completion. A frame leaves at once when every live input with `wait_s` > 0 is settled: it has a
    reading within its tolerance that the next one, by its rate so far, would not beat, or one newer
    than the frame. Otherwise it leaves when the `wait_s` of those that are not settled has run out
    since it was opened. Frames leave in the order of their stamps. A dead input thus costs at most
    its `wait_s` per frame, for at most `silent_s`. For inputs slower than the reference set
    `wait_s` to 0, or most frames wait in vain.

    Contribution. Each input gives its nearest reading: fresh within `tolerance_s` of the frame's stamp
    (before or after); held if older, up to `hold_s` (never from the future); otherwise missing.

    Order. Stamps of frames increase strictly, except after a reset. A reading with a stamp that its
    input already gave is a duplicate; one out of order is put in its place, or dropped as late when
    no frame to come can use it.

    Broken clocks. A stamp more than `jump_back_s` before the newest of its own input (a bag that
    loops) resets everything: open frames leave as they are, all readings are forgotten, the new one
    is kept. An input that jumps so again and again while the others go on is ignored until it is steady
    (`ClockWatch` has the rule). A reading too far ahead or behind never matches a frame, so its input is missing while
    the others are not touched. Such an input cannot lead either: the reference must agree with at
    least half of the live inputs to within `jump_back_s` (when none does, the order decides). If a
    wrong clock led before the others came, the frames' clock is reset once the majority takes over.
    Stamps that are wrong by less than `jump_back_s` cost frames for at most that long.

    Bounds. At most `buffer` readings per input and eight open frames (fewer with a smaller buffer);
    beyond that the oldest frame leaves as it is. The cost of a message does not depend on history.
    """

    def __init__(self, config: SyncConfig, inputs: Sequence[SensorKey]) -> None:
        """Prepare for the given inputs; their order is that of `SensorFrame.readings`.

        Raises:
            ConfigError: no inputs, or one twice.
        """
        if not inputs or len(set(inputs)) != len(inputs):
            raise ConfigError("inputs", [str(k) for k in inputs], "at least one input, each once")
        self._config = config
        self._jump_ns = round(config.jump_back_s * _NS)
        self._inputs = {k: InputBuffer(k, config.of(k.modality), config.buffer) for k in inputs}
        self._counts = {k: _Counts() for k in inputs}
        order = {m: i for i, m in reversed(list(enumerate(config.reference)))}
        self._clocks = ClockWatch(list(inputs), self._jump_ns)
        self._candidates = sorted(self._inputs.values(), key=lambda i: order.get(i.key.modality, len(order)))
        self._most_open = min(_MOST_OPEN, config.buffer - 1)
        self._open: list[_OpenFrame] = []
        self._reference: SensorKey | None = None
        self._emitted_ns: int | None = None
        self._now_s = -math.inf
        self._frames = self._hurried = self._resets = 0

    def add(self, key: SensorKey, stamp_ns: int, data: Array, now_s: float) -> list[SensorFrame]:
        """Take one reading; `stamp_ns` as the sensor gave it, the offset is subtracted here.

        Raises:
            InputError: an input that was not configured, or a time that is not finite.
        """
        if key not in self._inputs:
            raise InputError("key", key, ", ".join(map(str, self._inputs)))
        now_s = self._advance(now_s)
        source, counts = self._inputs[key], self._counts[key]
        counts.received += 1
        reading = Stamped(stamp_ns - source.offset_ns, data)
        frames: list[SensorFrame] = []
        verdict = self._clocks.hear(key, reading.stamp_ns, now_s)
        if verdict is Verdict.IGNORED:
            counts.ignored += 1
            source.silence()
            return self._follow(now_s) + self._collect(now_s)
        if verdict is Verdict.JUMPED:
            frames += self._restart_frames()
            for each in self._inputs.values():
                each.clear()
        stored = source.store(reading, now_s, self._emitted_ns)
        counts.duplicates += stored is Stored.DUPLICATE
        counts.late += stored is Stored.LATE
        frames += self._follow(now_s, key if stored is Stored.KEPT else None, reading)
        return frames + self._collect(now_s)

    def poll(self, now_s: float) -> list[SensorFrame]:
        """Let time pass.

        Raises:
            InputError: a time that is not finite.
        """
        now_s = self._advance(now_s)
        return self._follow(now_s) + self._collect(now_s)

    def retune(self, config: SyncConfig) -> None:
        """Take other limits of the modalities and another `silent_s`, while readings come.

        Readings that were received move with a changed offset. When it is the reference's, and larger, its frames
        begin again where they were, after so long.

        Raises:
            ConfigError: something else of the configuration is another.
        """
        free = {"modalities": config.modalities, "silent_s": config.silent_s}
        if self._config.model_copy(update=free) != config:
            raise ConfigError("sync", "another policy, reference, buffer or jump_back_s",
                              "other modalities and silent_s while it runs")
        self._config = config
        for key, source in self._inputs.items():
            self._clocks.shift(key, source.retune(config.of(key.modality)))

    @property
    def resets(self) -> int:
        """How often time has jumped back for all inputs."""
        return self._resets

    def stats(self) -> SyncStats:
        """Counters and state."""
        inputs = {}
        for key, i in self._inputs.items():
            rate = None if not i.period_ns else _NS / i.period_ns
            inputs[key] = InputStats(**vars(self._counts[key]), buffered=len(i), last_stamp_ns=i.last_stamp_ns,
                                     last_arrival_s=i.last_arrival_s, rate_hz=rate,
                                     wandering=self._clocks.is_wandering(key))
        return SyncStats(inputs, self._frames, self._hurried, self._resets, len(self._open), self._reference)

    def _advance(self, now_s: float) -> float:
        if not math.isfinite(now_s):
            raise InputError("now_s", now_s, "a finite time")
        self._now_s = max(self._now_s, now_s)
        return self._now_s

    def _follow(self, now_s: float, key: SensorKey | None = None, reading: Stamped | None = None) -> list[SensorFrame]:
        """Choose the reference and open the frame that it asks for. Returns frames that a reset sends off."""
        leader = self._choose_reference(now_s)
        before, self._reference = self._reference, leader.key if leader else None
        if leader is None:
            return []
        if leader.key != before:  # it may have spoken before it was chosen
            reading = leader.newest
        elif key != leader.key:
            reading = None
        return [] if reading is None else self._open_frame(leader.key, reading, now_s)

    def _choose_reference(self, now_s: float) -> InputBuffer | None:
        live = [i for i in self._candidates if i.is_live(now_s, self._config.silent_s)]
        stamps = [i.last_stamp_ns for i in live if i.last_stamp_ns is not None]
        for i in live:
            stamp = i.last_stamp_ns
            if stamp is None or 2 * sum(abs(stamp - s) <= self._jump_ns for s in stamps) >= len(stamps):
                return i
        return live[0] if live else None

    def _open_frame(self, key: SensorKey, reading: Stamped, now_s: float) -> list[SensorFrame]:
        stamp = reading.stamp_ns
        sent: list[SensorFrame] = []
        newest = self._open[-1].stamp_ns if self._open else self._emitted_ns
        if newest is not None and stamp < newest - self._jump_ns:  # led by another clock before
            sent = self._restart_frames()
        too_old = self._emitted_ns is not None and stamp <= self._emitted_ns
        if not too_old and all(f.stamp_ns != stamp for f in self._open):
            self._open.append(_OpenFrame(stamp, now_s, key, Reading(Availability.FRESH, reading.data, stamp)))
            self._open.sort(key=lambda f: f.stamp_ns)
        return sent

    def _restart_frames(self) -> list[SensorFrame]:
        """Send off what is open and let the next frame have any stamp."""
        self._resets += 1
        sent = [self._emit() for _ in range(len(self._open))]
        self._emitted_ns = None
        return sent

    def _collect(self, now_s: float) -> list[SensorFrame]:
        frames = []
        while self._open:
            if not self._is_complete(self._open[0], now_s):
                if len(self._open) <= self._most_open:
                    break
                self._hurried += 1
            frames.append(self._emit())
        return frames

    def _is_complete(self, frame: _OpenFrame, now_s: float) -> bool:
        return all(i.key == frame.reference or now_s >= frame.opened_s + i.wait_s
                   or not i.is_live(now_s, self._config.silent_s) or i.is_settled(frame.stamp_ns)
                   for i in self._inputs.values())

    def _emit(self) -> SensorFrame:
        frame = self._open.pop(0)
        readings = {}
        for key, source in self._inputs.items():
            readings[key] = frame.reading if key == frame.reference else source.reading_at(frame.stamp_ns)
            counts = self._counts[key]
            counts.fresh += readings[key].availability is Availability.FRESH
            counts.held += readings[key].availability is Availability.HELD
            counts.missing += readings[key].availability is Availability.MISSING
            source.forget_before(frame.stamp_ns)
        self._emitted_ns = frame.stamp_ns
        self._frames += 1
        return SensorFrame(frame.stamp_ns, frame.reference, readings, self._now_s - frame.opened_s)
