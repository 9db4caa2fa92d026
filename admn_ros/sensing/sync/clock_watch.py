# SPDX-License-Identifier: Apache-2.0
"""Detection of stamps that jump back: for all inputs, as in a looping bag, or for one input alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from admn_ros.sample import SensorKey

MAX_ALONE = 2
"""Number of jumps of one input alone that are treated as jumps of time. The next one marks the input as unsteady."""
STEADY_AFTER_S = 10.0
"""Time of arrival without a jump of its own after which an input counts as steady again, in seconds."""
_TOGETHER_S = 1.0
"""Jumps of several inputs within this time of arrival, in seconds, count as one jump."""


class StampCheck(Enum):
    """Result of checking a stamp.

    STEADY: time goes on.
    JUMPED: time jumped back for all inputs.
    IGNORED: the input is unsteady, and its reading must not be used.
    """

    STEADY = "steady"
    JUMPED = "jumped"
    IGNORED = "ignored"


@dataclass
class _Clock:
    """State of one input.

    Attributes:
        newest_ns: largest stamp since the last jump of time.
        before_ns: largest stamp before the last jump of time.
        stays: whether the input continued after the last jump where it had been before.
        goes_along: whether the input took part in the last jump.
        alone: number of recent jumps of this input alone.
        alone_at_s: time of arrival at which the last of them was recognized.
        wandering: whether the input is unsteady and ignored.
        steady_since_s: time of arrival since which an unsteady input has not jumped.
        jumps: number of jumps of time when the input was last checked.
    """

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
    """Checks the stamps of all inputs.

    A stamp far before the newest one of its input means that time jumped back, as when a bag loops. The other inputs
    then jump too. If most of the active inputs continue from where they were instead, the input jumped alone. An input
    that jumps alone three times in a row, each time within ten seconds of the last, has an unsteady clock; the usual
    cause is two publishers on one topic. It is ignored until it has been steady for ten seconds. The only active input
    cannot jump alone.

    The cost of a message does not depend on earlier messages. Only a jump of time visits every input.

    Args:
        keys: inputs.
        jump_ns: largest step back, in nanoseconds, that is not a jump.
    """

    def __init__(self, keys: Sequence[SensorKey], jump_ns: int) -> None:
        self._jump_ns = jump_ns
        self._clocks = {key: _Clock() for key in keys}
        self._suspect: SensorKey | None = None
        """Input that jumped first."""
        self._since_s = 0.0
        self._jumps = 0

    def check(self, key: SensorKey, stamp_ns: int, now_s: float) -> StampCheck:
        """Check the stamp of a message.

        Args:
            key: input.
            stamp_ns: stamp of the message.
            now_s: time of arrival in seconds.

        Returns:
            JUMPED if all earlier readings, of all inputs, belong to another time.
        """
        clock = self._clocks[key]
        if clock.wandering and not self._is_steady(clock, stamp_ns, now_s):
            return StampCheck.IGNORED
        if clock.newest_ns is not None and stamp_ns < clock.newest_ns - self._jump_ns:
            return self._jump(key, clock, stamp_ns, now_s)
        if clock.before_ns is not None:
            clock.stays |= stamp_ns > clock.before_ns
            clock.goes_along |= stamp_ns < clock.before_ns - self._jump_ns
        clock.newest_ns = stamp_ns if clock.newest_ns is None else max(clock.newest_ns, stamp_ns)
        return StampCheck.STEADY

    def is_wandering(self, key: SensorKey) -> bool:
        """Return whether an input is ignored."""
        return self._clocks[key].wandering

    def shift(self, key: SensorKey, by_ns: int) -> None:
        """Shift the state of an input whose further stamps are larger by `by_ns`."""
        clock = self._clocks[key]
        clock.newest_ns = None if clock.newest_ns is None else clock.newest_ns + by_ns
        clock.before_ns = None if clock.before_ns is None else clock.before_ns + by_ns

    def _jump(self, key: SensorKey, clock: _Clock, stamp_ns: int, now_s: float) -> StampCheck:
        if self._suspect is not None and key != self._suspect and now_s - self._since_s <= _TOGETHER_S:
            clock.goes_along = True  # with the input that jumped just before
        else:
            self._judge(now_s)
            if clock.alone >= MAX_ALONE and now_s - clock.alone_at_s <= STEADY_AFTER_S:
                clock.wandering, clock.newest_ns, clock.steady_since_s = True, stamp_ns, now_s
                clock.alone, clock.jumps = 0, self._jumps
                return StampCheck.IGNORED
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
        return StampCheck.JUMPED

    def _judge(self, now_s: float) -> None:
        """Decide from the other inputs whether the last jump was that of its input alone."""
        if self._suspect is None:
            return
        suspect = self._clocks[self._suspect]
        others = [c for k, c in self._clocks.items() if k != self._suspect and not c.wandering]
        along = sum(c.goes_along for c in others)
        stayed = sum(c.stays and not c.goes_along for c in others)
        if stayed <= along or now_s - suspect.alone_at_s > STEADY_AFTER_S:
            suspect.alone = 0
        if stayed > along:
            suspect.alone, suspect.alone_at_s = suspect.alone + 1, now_s
        self._suspect = None

    def _is_steady(self, clock: _Clock, stamp_ns: int, now_s: float) -> bool:
        """Return whether an unsteady input is steady again, from this stamp on."""
        assert clock.newest_ns is not None
        if stamp_ns < clock.newest_ns - self._jump_ns:
            if clock.jumps == self._jumps:  # It jumped without the others.
                clock.steady_since_s = now_s
            clock.newest_ns = stamp_ns
        clock.newest_ns, clock.jumps = max(clock.newest_ns, stamp_ns), self._jumps
        if now_s - clock.steady_since_s <= STEADY_AFTER_S:
            return False
        clock.wandering, clock.newest_ns, clock.before_ns = False, None, None
        return True
