# SPDX-License-Identifier: Apache-2.0
"""What becomes of the messages of each input: received, refused, used in frames, and why not."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, fields

from admn_ros.deployment import SyncConfig
from admn_ros.sample import Reading, SensorKey
from admn_ros.sensing.sync.stamp_offset import describe_offset

WINDOW_S = 5.0
"""Time over which the use of an input is judged, in seconds."""
FIRST_S = 3.0
"""Time after a start at which it is judged first, in seconds."""
_STEP_S = 0.5
_LASTING_S = 1.0
"""Time for which an input was judged of no use that is worth a word afterwards: the window before it was lost too."""
_LEADS = 15
_NS = 1_000_000_000
_DAY_S = 86_400
_FAR_S = 1.0
"""Offset of stamps from the clock of a node that is too much for a latency, in seconds."""
_MOST_WRONG = 3
"""Number of wrong stamps of an input that are not worth a word."""
_LATE_S = 5.0
"""Stamps that are behind by less can be those of late messages."""


@dataclass(frozen=True)
class InputCounts:
    """Counters of one input, in total or over a window.

    Attributes:
        accepted: messages that were decoded.
        refused: messages that could not be used.
        repeated: decoded messages with the stamp of the one before.
        used: readings that were part of a frame.
        frames: frames since the first message.
        led: frames that had the stamp of this input.
    """

    accepted: int = 0
    refused: int = 0
    repeated: int = 0
    used: int = 0
    frames: int = 0
    led: int = 0

    def since(self, earlier: InputCounts) -> InputCounts:
        """Return the difference to earlier counters."""
        return InputCounts(**{f.name: getattr(self, f.name) - getattr(earlier, f.name) for f in fields(self)})

    @property
    def unused(self) -> bool:
        """Whether hardly any reading was used, although there were frames. Slow inputs are used rarely, but used."""
        chances = min(self.accepted, self.frames)
        return chances > 0 and self.used <= max(chances // 10, int(chances >= 4))


class InputHealth:
    """Messages of one input.

    Attributes:
        accepted: number of messages decoded.
        refused: number of messages that could not be used.
        refusing: whether the newest message was refused.
        last_error: reason of the last refusal; empty without one.
        newest_ns: stamp of the last decoded message; None before.
    """

    def __init__(self) -> None:
        self.accepted = self.refused = 0
        self.refusing = False
        self.last_error = ""
        self.newest_ns: int | None = None
        self._repeated = self._used = self._frames = self._led = 0
        self._last_used_ns: int | None = None
        self._leads_ns: deque[int] = deque(maxlen=_LEADS)

    def accept(self, stamp_ns: int, now_s: float) -> None:
        """Count a decoded message.

        Args:
            stamp_ns: its stamp in nanoseconds.
            now_s: time of arrival in seconds.
        """
        self.accepted += 1
        self.refusing = False
        self._repeated += stamp_ns == self.newest_ns
        self.newest_ns = stamp_ns
        self._leads_ns.append(stamp_ns - round(now_s * _NS))

    def refuse(self, reason: str) -> None:
        """Count a refused message."""
        self.refused += 1
        self.refusing = True
        self.last_error = reason

    def contribute(self, reading: Reading, leads: bool) -> None:
        """Count a frame.

        Args:
            reading: contribution of the input.
            leads: whether the frame has its stamp.
        """
        if not self.accepted and not self.refused:
            return
        self._frames += 1
        self._led += leads
        if reading.stamp_ns is not None and reading.stamp_ns != self._last_used_ns:
            self._used += 1
            self._last_used_ns = reading.stamp_ns

    @property
    def counts(self) -> InputCounts:
        """Counters since the start."""
        return InputCounts(self.accepted, self.refused, self._repeated, self._used, self._frames, self._led)

    @property
    def lead_ns(self) -> int | None:
        """Median of stamp minus time of arrival over the last messages, in nanoseconds; None before the first."""
        return statistics.median_low(self._leads_ns) if self._leads_ns else None


@dataclass(frozen=True)
class InputProblem:
    """Reason why the messages of an input are of no use.

    Attributes:
        state: "refused", "unused" or "ignored".
        text: reason, in one line.
    """

    state: str
    text: str


def find_problems(health: Mapping[SensorKey, InputHealth], counts: Mapping[SensorKey, InputCounts],
                  sync: SyncConfig) -> dict[SensorKey, InputProblem]:
    """Find the inputs whose messages are all refused or never used.

    Args:
        health: messages of each input.
        counts: counters over the time to judge.
        sync: synchronization in force.
    """
    reference, found = leader(counts), {}
    for key, count in counts.items():
        if count.refused and not count.accepted:
            text = f"all {count.refused} messages refused, last: {health[key].last_error}"
            found[key] = InputProblem("refused", text)
        elif count.unused:
            part = "none" if not count.used else f"{count.used}"
            why = _why_unused(health, key, count, reference, sync)
            found[key] = InputProblem("unused", f"{part} of {count.accepted} readings used: {why}")
    return found


def leader(counts: Mapping[SensorKey, InputCounts]) -> SensorKey | None:
    """Return the input whose stamps most frames had; None without frames."""
    found = max(counts, key=lambda key: counts[key].led)
    return found if counts[found].led else None


def offset_ns(health: Mapping[SensorKey, InputHealth], key: SensorKey, reference: SensorKey | None,
              sync: SyncConfig) -> int | None:
    """Return how far the stamps of an input are ahead of those of a reference, in nanoseconds; None if not known.

    Stamps count less the `offset_s` of their modality.
    """
    own = health[key].lead_ns
    other = None if reference is None else health[reference].lead_ns
    if own is None or other is None or reference is None or key == reference:
        return None
    return own - other - round((sync.of(key.modality).offset_s - sync.of(reference.modality).offset_s) * _NS)


def offset_to_clock(health: Mapping[SensorKey, InputHealth], now_s: float, clock_ns: int) -> str:
    """Describe how far the stamps of most inputs are from a clock; empty if they are near it.

    Args:
        health: messages of the inputs that are live.
        now_s: time of the clock of arrival, in seconds.
        clock_ns: time of the other clock at that moment, in nanoseconds.
    """
    leads_ns = [each.lead_ns for each in health.values() if each.lead_ns is not None]
    stamps_ns = [round(now_s * _NS) + lead_ns for lead_ns in leads_ns]
    far_ns = [stamp_ns for stamp_ns in stamps_ns if abs(stamp_ns - clock_ns) > _FAR_S * _NS]
    if 2 * len(far_ns) <= len(stamps_ns):
        return ""
    which = "all" if len(far_ns) == len(stamps_ns) else f"{len(far_ns)} of {len(stamps_ns)}"
    return f"the stamps of {which} inputs are {describe_offset(statistics.median_low(far_ns), clock_ns, 'this clock')}"


def _little_used(health: Mapping[SensorKey, InputHealth], counts: Mapping[SensorKey, InputCounts],
                 sync: SyncConfig) -> dict[SensorKey, InputProblem]:
    """Find the inputs of which less than half of the readings were used, because of their stamps or their delay."""
    reference, found = leader(counts), {}
    for key, count in counts.items():
        offset, chances = offset_ns(health, key, reference, sync), min(count.accepted, count.frames)
        if offset is not None and abs(offset) > sync.of(key.modality).tolerance_s * _NS and 2 * count.used < chances:
            why = _why_unused(health, key, count, reference, sync)
            found[key] = InputProblem("unused", f"{count.used} of {count.accepted} readings used: {why}")
    return found


def _why_unused(health: Mapping[SensorKey, InputHealth], key: SensorKey, count: InputCounts,
                reference: SensorKey | None, sync: SyncConfig) -> str:
    if 2 * count.repeated > count.accepted:
        return f"{count.repeated} have the stamp of the one before; the driver may have stopped"
    offset, rule = offset_ns(health, key, reference, sync), sync.of(key.modality)
    if offset is None or reference is None or abs(offset) <= rule.tolerance_s * _NS:
        return "they match no frame or arrive after it; see tolerance_s, hold_s and wait_s"
    newest_ns = health[reference].newest_ns or 0
    text = f"stamps {describe_offset(newest_ns + offset, newest_ns, str(reference))}"
    setting = f"sync.{key.modality}.offset_s"
    if -_LATE_S * _NS < offset < 0:
        return f"{text}: if they are late, raise hold_s above that; if the clocks differ, set {setting}"
    if abs(offset) > _DAY_S * _NS:
        return f"{text}: synchronize the clocks"
    return f"{text}: synchronize the clocks, or set {setting} to {offset / _NS + rule.offset_s:.1f}"


class InputWatch:
    """Judges over the last seconds whether the messages of each input are used. Live and offline.

    Args:
        health: messages of each input.

    Attributes:
        problems: inputs whose messages are of no use now.
        recent: counters of the window by input; empty before the first window.
    """

    def __init__(self, health: Mapping[SensorKey, InputHealth]) -> None:
        self._health = health
        self._past: deque[tuple[float, dict[SensorKey, InputCounts]]] = deque()
        self.problems: dict[SensorKey, InputProblem] = {}
        self.recent: dict[SensorKey, InputCounts] = {}
        self._lasted_s: dict[SensorKey, float] = {}
        self._worst: dict[SensorKey, InputProblem] = {}

    def update(self, now_s: float, sync: SyncConfig) -> None:
        """Judge the time until now. Call it about every second.

        Args:
            now_s: time of a monotonic clock in seconds.
            sync: synchronization in force.
        """
        if self._past and now_s - self._past[-1][0] < _STEP_S:
            return
        counts = {key: each.counts for key, each in self._health.items()}
        step_s = now_s - self._past[-1][0] if self._past else 0.0
        self._past.append((now_s, counts))
        while len(self._past) > 2 and now_s - self._past[1][0] >= WINDOW_S:
            self._past.popleft()
        since_s, before = self._past[0]
        self.recent = {key: count.since(before[key]) for key, count in counts.items()}
        self.problems = find_problems(self._health, self.recent, sync) if now_s - since_s >= FIRST_S else {}
        for key, problem in self.problems.items():
            self._lasted_s[key] = self._lasted_s.get(key, 0.0) + step_s
            self._worst[key] = problem

    def summary(self, sync: SyncConfig, ignored: Mapping[SensorKey, int]) -> dict[SensorKey, InputProblem]:
        """Return the problems over all the time since the start, and those of windows.

        Args:
            sync: synchronization in force.
            ignored: number of readings of each input that were ignored, because its stamps jumped back alone.
        """
        total = {key: each.counts for key, each in self._health.items()}
        found, jumped = _little_used(self._health, total, sync), dict[SensorKey, InputProblem]()
        for key, number in ignored.items():
            accepted = self._health[key].accepted
            if number > max(_MOST_WRONG, accepted // 20):
                jumped[key] = InputProblem("ignored", f"{number} of {accepted} readings ignored: their stamps jump "
                                                      "back while other inputs go on")
        lasting = {key: InputProblem(worst.state, f"for {self._lasted_s[key]:.0f} s: {worst.text}")
                   for key, worst in self._worst.items() if self._lasted_s[key] >= _LASTING_S and key not in found}
        return lasting | found | find_problems(self._health, total, sync) | jumped
