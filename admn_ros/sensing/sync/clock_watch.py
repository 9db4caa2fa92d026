# SPDX-License-Identifier: Apache-2.0
"""Whether time itself jumped back, or only the clock of one input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from admn_ros.sample import SensorKey

MOST_ALONE = 2
"""So many jumps of an input alone count as time's; with the next one it is wandering."""
FORGIVEN_S = 10.0
"""An input that did not jump alone for so long (of arrival) is steady again."""
_TOGETHER_S = 1.0
"""What jumps within this time of arrival jumps together."""


class Verdict(Enum):
    """What a stamp says of time."""

    STEADY = "steady"
    JUMPED = "jumped"
    IGNORED = "ignored"


@dataclass
class _Clock:
    """newest_ns: largest stamp since the last jump of time; before_ns: the largest one before it."""

    newest_ns: int | None = None
    before_ns: int | None = None
    stays: bool = False
    goes_along: bool = False
    alone: int = 0
    alone_at_s: float = 0.0
    wandering: bool = False
    steady_since_s: float = 0.0
    jumps: int = 0


class ClockWatch:
    """Looks at the stamps of all inputs.

    A stamp far before the newest of its own input says that time jumped back: a bag loops. The others then come from
    before where they were, too. If instead most of those that are heard go on from where they were, the input jumped
    alone. One that does so three times in a row, each within ten seconds of the last, has a clock that wanders: two
    publishers on one topic, mostly. It is ignored until it was steady for ten seconds. An input with nobody beside
    it cannot jump alone.

    A message costs the same whatever came before it; only a jump of time looks at every input.
    """

    def __init__(self, keys: Sequence[SensorKey], jump_ns: int) -> None:
        """Watch some inputs. jump_ns: steps back up to this are no jumps."""
        self._jump_ns = jump_ns
        self._clocks = {key: _Clock() for key in keys}
        self._suspect: SensorKey | None = None  # who jumped first
        self._since_s = 0.0
        self._jumps = 0                         # of time, so far

    def hear(self, key: SensorKey, stamp_ns: int, now_s: float) -> Verdict:
        """Take the stamp of a message. JUMPED: what came before, of all inputs, is of another time."""
        clock = self._clocks[key]
        if clock.wandering and not self._is_steady(clock, stamp_ns, now_s):
            return Verdict.IGNORED
        if clock.newest_ns is not None and stamp_ns < clock.newest_ns - self._jump_ns:
            return self._jump(key, clock, stamp_ns, now_s)
        if clock.before_ns is not None:
            clock.stays |= stamp_ns > clock.before_ns
            clock.goes_along |= stamp_ns < clock.before_ns - self._jump_ns
        clock.newest_ns = stamp_ns if clock.newest_ns is None else max(clock.newest_ns, stamp_ns)
        return Verdict.STEADY

    def is_wandering(self, key: SensorKey) -> bool:
        """Whether an input is ignored."""
        return self._clocks[key].wandering

    def shift(self, key: SensorKey, by_ns: int) -> None:
        """Move what is known of an input, whose stamps are from now on larger by so much."""
        clock = self._clocks[key]
        clock.newest_ns = None if clock.newest_ns is None else clock.newest_ns + by_ns
        clock.before_ns = None if clock.before_ns is None else clock.before_ns + by_ns

    def _jump(self, key: SensorKey, clock: _Clock, stamp_ns: int, now_s: float) -> Verdict:
        if self._suspect is not None and key != self._suspect and now_s - self._since_s <= _TOGETHER_S:
            clock.goes_along = True  # with the one that jumped before it
        else:
            self._judge(now_s)
            if clock.alone >= MOST_ALONE and now_s - clock.alone_at_s <= FORGIVEN_S:
                clock.wandering, clock.newest_ns, clock.steady_since_s = True, stamp_ns, now_s
                clock.alone, clock.jumps = 0, self._jumps
                return Verdict.IGNORED
            self._suspect, self._since_s = key, now_s
            for each in self._clocks.values():
                each.stays = each.goes_along = False
                each.before_ns = None
        self._jumps += 1
        for each in self._clocks.values():
            if not each.wandering:
                each.before_ns = each.newest_ns if each.before_ns is None else each.before_ns
                each.newest_ns = None
        clock.newest_ns = stamp_ns
        return Verdict.JUMPED

    def _judge(self, now_s: float) -> None:
        """Whether the last jump was of its input alone, by what the others did since."""
        if self._suspect is None:
            return
        suspect = self._clocks[self._suspect]
        others = [c for k, c in self._clocks.items() if k != self._suspect and not c.wandering]
        along = sum(c.goes_along for c in others)
        stayed = sum(c.stays and not c.goes_along for c in others)
        if stayed <= along or now_s - suspect.alone_at_s > FORGIVEN_S:
            suspect.alone = 0
        if stayed > along:
            suspect.alone, suspect.alone_at_s = suspect.alone + 1, now_s
        self._suspect = None

    def _is_steady(self, clock: _Clock, stamp_ns: int, now_s: float) -> bool:
        """Whether a wandering input may count again; it begins with this stamp."""
        assert clock.newest_ns is not None
        if stamp_ns < clock.newest_ns - self._jump_ns:
            if clock.jumps == self._jumps:  # not with the others
                clock.steady_since_s = now_s
            clock.newest_ns = stamp_ns
        clock.newest_ns, clock.jumps = max(clock.newest_ns, stamp_ns), self._jumps
        if now_s - clock.steady_since_s <= FORGIVEN_S:
            return False
        clock.wandering, clock.newest_ns, clock.before_ns = False, None, None
        return True
