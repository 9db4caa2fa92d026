# SPDX-License-Identifier: Apache-2.0
"""Synchronization of inputs with different rates, losses and delays into frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from admn_ros.deployment import SyncConfig
from admn_ros.errors import ConfigError, InputError
from admn_ros.sample import Array, Availability, Reading, SensorFrame, SensorKey
from admn_ros.sensing.sync.clock_watch import Checked, ClockWatch
from admn_ros.sensing.sync.input_buffer import InputBuffer, Stamped, Stored

_NS = 1_000_000_000
_MOST_OPEN = 8


@dataclass(frozen=True)
class InputStats:
    """Counters of one input since the start.

    Attributes:
        received: number of readings given to `add`.
        duplicates: number of readings dropped as duplicates.
        late: number of readings dropped as late.
        fresh: number of frames with a fresh reading.
        held: number of frames with a held reading.
        missing: number of frames without a reading.
        buffered: number of buffered readings.
        last_stamp_ns: last stamp that arrived, without the offset; None before the first one and after a reset.
        last_arrival_s: time of arrival of the last stored reading in seconds.
        rate_hz: smoothed rate of the stamps; None before the second reading.
        ignored: number of readings dropped because the stamps of the input jumped back alone.
        wandering: whether the input is ignored now.
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

    Attributes:
        inputs: counters by input.
        frames: number of frames emitted since the start.
        hurried: number of frames emitted before their wait was over, because too many were open.
        resets: number of restarts of the frame clock.
        waiting: number of open frames.
        reference: input whose readings open frames; None if no input is live.
    """

    inputs: Mapping[SensorKey, InputStats]
    frames: int
    hurried: int
    resets: int
    waiting: int
    reference: SensorKey | None


class FrameSynchronizer(Protocol):
    """Interface of synchronizers; `Synchronizer` documents the calls."""

    def add(self, key: SensorKey, stamp_ns: int, data: Array, now_s: float) -> list[SensorFrame]:
        """Add a reading and return the frames that it completes."""
        ...

    def poll(self, now_s: float) -> list[SensorFrame]:
        """Advance the time and return the frames that became complete."""
        ...

    def due_s(self) -> float | None:
        """Return when to call `poll` if no reading comes before; None for never."""
        ...

    def retune(self, config: SyncConfig) -> None:
        """Change the settings of the modalities and `silent_s` during operation."""
        ...

    @property
    def resets(self) -> int:
        """Number of times that time jumped back for all inputs."""
        ...

    def stats(self) -> SyncStats:
        """Return counters and state."""
        ...


MakeSynchronizer = Callable[[SyncConfig, Sequence[SensorKey]], FrameSynchronizer]


def holding(config: SyncConfig, inputs: Sequence[SensorKey]) -> Synchronizer:
    """Create the synchronizer of a deployment outside of ROS.

    Raises:
        ConfigError: the deployment requires a policy of ROS.
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


@dataclass(frozen=True)
class _OpenFrame:
    stamp_ns: int
    opened_s: float
    reference: SensorKey
    reading: Reading


class Synchronizer:
    """Gathers readings into frames. It is deterministic: the caller provides the time.

    There are two clocks: `stamp_ns` is that of the sensors, `now_s` any monotonic clock of arrival. `add` takes a
    reading and `poll` advances the time; both return the completed frames, oldest first. Call `poll` at the time that
    `due_s` gives, or every few milliseconds: a frame whose wait is over is emitted by the next call.

    Reference. Each reading of the reference input opens a frame with its stamp. The reference is the first live input
    in the order of `SyncConfig.reference`, then of the given inputs (modalities that are not named come last). An
    input is live if a reading of it was stored within the last `silent_s` of arrival. If the reference falls silent,
    the next input takes over, until the reference is back.

    Completion. A frame is emitted at once when every live input with `wait_s` > 0 is settled: it has a reading within
    its tolerance and its next reading, by its rate so far, would not be closer, or it has a reading newer than the
    frame. Otherwise the frame is emitted when the `wait_s` of the unsettled inputs is over. Frames are emitted in the
    order of their stamps. A dead input thus delays a frame by at most its `wait_s`, for at most `silent_s`. Set
    `wait_s` to 0 for inputs slower than the reference, or most frames wait in vain.

    Contribution. Each input contributes its closest reading: fresh within `tolerance_s` of the frame's stamp (before
    or after); held if it is older, up to `hold_s` (never from the future); otherwise missing.

    Order. Stamps of frames increase strictly, except after a reset. A reading with the stamp of an earlier one of its
    input is a duplicate. A reading out of order is sorted in, or dropped as late if no further frame can use it.

    Broken clocks. A stamp more than `jump_back_s` before the newest one of its input is a jump; `ClockWatch` decides
    by the majority of the inputs what it means. If most inputs jump (a looping bag), everything is reset: open frames
    are emitted as they are, all earlier readings are dropped, and those of the new time are kept. An input that jumps
    alone is ignored, and the other inputs go on. A reading too far ahead or behind never matches a frame, so its input
    is missing and the others are not affected. Such an input cannot be the reference either: the reference must agree
    with at least half of the live inputs to within `jump_back_s` (if none does, the order decides). If a wrong clock
    was the reference before the other inputs started, the frame clock is reset when the majority takes over. Stamps
    that are wrong by less than `jump_back_s` suppress frames for at most that long.

    Bounds. There are at most `buffer` readings per input and eight open frames (fewer with a smaller buffer); beyond
    that the oldest frame is emitted as it is. The cost of a message does not depend on history.

    Args:
        config: synchronization settings.
        inputs: inputs, in the order of `SensorFrame.readings`.

    Raises:
        ConfigError: there are no inputs, or one appears twice.
    """

    def __init__(self, config: SyncConfig, inputs: Sequence[SensorKey]) -> None:
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
        """Add a reading and return the frames that it completes.

        Args:
            key: input.
            stamp_ns: stamp of the sensor; the configured offset is subtracted here.
            data: decoded reading.
            now_s: time of arrival in seconds.

        Raises:
            InputError: the input is not configured, or the time is not finite.
        """
        if key not in self._inputs:
            raise InputError("key", key, ", ".join(map(str, self._inputs)))
        now_s = self._advance(now_s)
        source = self._inputs[key]
        self._counts[key].received += 1
        frames = self._take(self._clocks.poll(now_s), now_s)
        checked = self._clocks.check(key, Stamped(stamp_ns - source.offset_ns, data), now_s)
        if checked.returned:
            source.clear()
        if not checked.usable:
            source.silence()
            if self._clocks.is_wandering(key):
                source.clear()
        return frames + self._take(checked, now_s) + self._follow(now_s) + self._collect(now_s)

    def poll(self, now_s: float) -> list[SensorFrame]:
        """Advance the time and return the frames that became complete.

        Raises:
            InputError: the time is not finite.
        """
        now_s = self._advance(now_s)
        return self._take(self._clocks.poll(now_s), now_s) + self._follow(now_s) + self._collect(now_s)

    def due_s(self) -> float | None:
        """Return the time at which `poll` may have something to do if no reading comes before.

        That is when the wait of the oldest open frame is over, when an input falls silent, because another reference
        may take over then, or when a jump of stamps is decided.

        Returns:
            Time in seconds of the clock of `add`; None if no input is live, no frame is open and no jump undecided.
        """
        silent_s = {i.key: i.silent_from_s(self._config.silent_s) for i in self._inputs.values()
                    if i.is_live(self._now_s, self._config.silent_s)}
        decided_s = self._clocks.due_s()
        due = [*silent_s.values(), *([] if decided_s is None else [decided_s])]
        if self._open:
            frame = self._open[0]
            due.append(max((min(frame.opened_s + i.wait_s, silent_s[key]) for key, i in self._inputs.items()
                            if key in silent_s and key != frame.reference and not i.is_settled(frame.stamp_ns)),
                           default=self._now_s))
        return min(due, default=None)

    def retune(self, config: SyncConfig) -> None:
        """Take other limits of the modalities and another `silent_s`, while readings come.

        Buffered readings move with a changed offset. If the offset of the reference grows, its frames continue after
        the time by which it grew.

        Raises:
            ConfigError: another part of the configuration differs.
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
        """Number of times that time jumped back for all inputs."""
        return self._resets

    def stats(self) -> SyncStats:
        """Return counters and state."""
        inputs = {}
        for key, i in self._inputs.items():
            rate = None if not i.period_ns else _NS / i.period_ns
            inputs[key] = InputStats(**vars(self._counts[key]), buffered=len(i), last_stamp_ns=i.last_stamp_ns,
                                     last_arrival_s=i.last_arrival_s, rate_hz=rate,
                                     ignored=self._clocks.ignored(key),
                                     wandering=self._clocks.is_wandering(key))
        return SyncStats(inputs, self._frames, self._hurried, self._resets, len(self._open), self._reference)

    def _advance(self, now_s: float) -> float:
        if not math.isfinite(now_s):
            raise InputError("now_s", now_s, "a finite time")
        self._now_s = max(self._now_s, now_s)
        return self._now_s

    def _take(self, checked: Checked, now_s: float) -> list[SensorFrame]:
        """Store readings and open their frames. Return the frames that a reset emits."""
        frames: list[SensorFrame] = []
        if checked.jumped:
            frames += self._restart_frames()
            for each in self._inputs.values():
                each.clear()
        for key, reading in checked.usable:
            stored = self._inputs[key].store(reading, now_s, self._emitted_ns)
            self._counts[key].duplicates += stored is Stored.DUPLICATE
            self._counts[key].late += stored is Stored.LATE
            frames += self._follow(now_s, key if stored is Stored.KEPT else None, reading)
        return frames

    def _follow(self, now_s: float, key: SensorKey | None = None, reading: Stamped | None = None) -> list[SensorFrame]:
        """Choose the reference and open its frame. Return the frames that a reset emits."""
        leader = self._choose_reference(now_s)
        before, self._reference = self._reference, leader.key if leader else None
        if leader is None:
            return []
        if leader.key != before:  # It may have sent readings before it was chosen.
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
        if newest is not None and stamp < newest - self._jump_ns:  # another clock was the reference before
            sent = self._restart_frames()
        too_old = self._emitted_ns is not None and stamp <= self._emitted_ns
        if not too_old and all(f.stamp_ns != stamp for f in self._open):
            self._open.append(_OpenFrame(stamp, now_s, key, Reading(Availability.FRESH, reading.data, stamp)))
            self._open.sort(key=lambda f: f.stamp_ns)
        return sent

    def _restart_frames(self) -> list[SensorFrame]:
        """Emit the open frames, and allow any stamp for the next frame."""
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
