# SPDX-License-Identifier: Apache-2.0
"""Detection of stamps that jump back: for most inputs, as in a looping bag, or for one input alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from admn_ros.sample import SensorKey
from admn_ros.sensing.sync.input_buffer import Stamped

DECIDE_S = 1.0
"""Time of arrival within which the other inputs decide whether a jump is one of time or of its input, in seconds."""
STEADY_AFTER_S = 10.0
"""Time of arrival without a jump of its own after which an input counts as steady again, in seconds."""
MAX_RETURNS = 2
"""Number of single wrong stamps of an input within `STEADY_AFTER_S` of each other. With the next one it is ignored."""
_ACTIVE_S = 1.0
"""Time of arrival since the last newer stamp within which an input has a say, in seconds."""
_LATER_S = 1e-6
"""Margin for the rounding of sums of times, also of clocks that count from 1970, in seconds."""
_MOST_HELD = 32
"""Number of readings that are held back of each input until a jump is decided."""


@dataclass(frozen=True)
class Checked:
    """Result of checking a stamp.

    Attributes:
        usable: readings to use now, with their inputs, in the order of arrival.
        jumped: whether time jumped back for most inputs: all earlier readings, of all inputs, belong to another time.
        returned: whether the earlier readings of the input alone belong to another time.
    """

    usable: Sequence[tuple[SensorKey, Stamped]] = ()
    jumped: bool = False
    returned: bool = False


_NOTHING = Checked()


@dataclass
class _Clock:
    """State of one input.

    Attributes:
        newest_ns: largest stamp since the last jump; None after a jump of the other inputs.
        newest_s: time of arrival of that stamp.
        held: number of readings that are held back; above 0 while a jump of the input is undecided.
        held_ns: stamp of the last of them.
        jumped_s: time of arrival of the first of them.
        returns: number of recent single wrong stamps.
        returned_s: time of arrival at which the last of them was recognized.
        wandering: whether the input jumped alone and is ignored.
        steady_since_s: time of arrival since which an ignored input has not jumped.
        jumps: number of jumps of time when the ignored input was last checked.
        ignored: number of readings that were dropped.
    """

    newest_ns: int | None = None
    newest_s: float = -math.inf
    held: int = 0
    held_ns: int = 0
    jumped_s: float = 0.0
    returns: int = 0
    returned_s: float = -math.inf
    wandering: bool = False
    steady_since_s: float = 0.0
    jumps: int = 0
    ignored: int = 0


class ClockWatch:
    """Checks the stamps of all inputs.

    A stamp more than `jump_ns` before the newest one of its input is a jump. The majority of the active inputs decides
    what it means. Until then the readings of the input are held back, and the other inputs are used:

    * Most inputs jump within a second: time jumped back, as when a bag loops. The held readings become usable.
    * The stamp agrees with most other inputs: the earlier stamp of this input was a single wrong one. Only the earlier
      readings of this input are to be forgotten. The third time within ten seconds of the last, the input is ignored;
      the usual cause is two publishers on one topic.
    * Otherwise the input jumped alone. It is ignored until its stamps were steady for ten seconds and agree with those
      of the other inputs.

    Inputs without newer stamps within the last second are not active. A single active input cannot jump alone.

    The cost of a message does not depend on earlier messages. Only an undecided jump visits every input.

    Args:
        keys: inputs.
        jump_ns: largest step back, in nanoseconds, that is not a jump.
    """

    def __init__(self, keys: Sequence[SensorKey], jump_ns: int) -> None:
        self._jump_ns = jump_ns
        self._clocks = {key: _Clock() for key in keys}
        self._held: list[tuple[SensorKey, Stamped]] = []
        """Readings that wait for a decision, in the order of arrival."""
        self._jumps = 0

    def check(self, key: SensorKey, reading: Stamped, now_s: float) -> Checked:
        """Check the stamp of a reading.

        Args:
            key: input.
            reading: its reading.
            now_s: time of arrival in seconds.

        Returns:
            What to use now: without `usable`, nothing.
        """
        clock, stamp_ns = self._clocks[key], reading.stamp_ns
        if clock.wandering:
            steady = self._is_steady(key, stamp_ns, now_s)
            return self._use(key, reading, now_s, returned=True) if steady else self._ignore(key)
        if clock.held:
            stays = abs(stamp_ns - (clock.newest_ns or 0)) < abs(stamp_ns - clock.held_ns)
            return self._stay(key, reading, now_s) if stays else self._hold(key, reading, now_s)
        if clock.newest_ns is None or stamp_ns >= clock.newest_ns - self._jump_ns:
            return self._use(key, reading, now_s)
        if self._agreement(key, stamp_ns, now_s) > 0:
            return self._return(key, reading, now_s)
        return self._hold(key, reading, now_s)

    def poll(self, now_s: float) -> Checked:
        """Decide about jumps whose time of decision is over."""
        if not self._held:
            return _NOTHING
        for key in [k for k, c in self._clocks.items() if c.held and now_s - c.jumped_s > DECIDE_S]:
            clock = self._clocks[key]
            went_on = sum(c.newest_s > clock.jumped_s for c in self._others(key))
            if self._jumping() > went_on:
                return self._jump(now_s)
            self._wander(key, clock.newest_ns or 0, now_s)
        return _NOTHING

    def due_s(self) -> float | None:
        """Return when to call `poll` if no reading comes before; None for never."""
        return min((c.jumped_s + DECIDE_S + _LATER_S for c in self._clocks.values() if c.held), default=None)

    def is_wandering(self, key: SensorKey) -> bool:
        """Return whether an input is ignored."""
        return self._clocks[key].wandering

    def ignored(self, key: SensorKey) -> int:
        """Return the number of readings of an input that were dropped."""
        return self._clocks[key].ignored

    def shift(self, key: SensorKey, by_ns: int) -> None:
        """Shift the state of an input whose further stamps are larger by `by_ns`."""
        clock = self._clocks[key]
        clock.newest_ns = None if clock.newest_ns is None else clock.newest_ns + by_ns
        clock.held_ns += by_ns
        self._held = [(k, r._replace(stamp_ns=r.stamp_ns + by_ns) if k == key else r) for k, r in self._held]

    # --- readings of one input ----------------------------------------------------------------------

    def _use(self, key: SensorKey, reading: Stamped, now_s: float, returned: bool = False) -> Checked:
        clock = self._clocks[key]
        if returned or clock.newest_ns is None or reading.stamp_ns > clock.newest_ns:
            clock.newest_ns, clock.newest_s = reading.stamp_ns, now_s
        return Checked([(key, reading)], returned=returned)

    def _stay(self, key: SensorKey, reading: Stamped, now_s: float) -> Checked:
        """Use a reading that goes on where the input was before an undecided jump: the held stamps were wrong."""
        self._drop(key)
        return self._return(key, reading, now_s, forget=False)

    def _return(self, key: SensorKey, reading: Stamped, now_s: float, forget: bool = True) -> Checked:
        """Use a reading after a single wrong stamp, unless there were too many of them."""
        clock = self._clocks[key]
        clock.returns = clock.returns + 1 if now_s - clock.returned_s <= STEADY_AFTER_S else 1
        clock.returned_s = now_s
        if clock.returns > MAX_RETURNS:
            self._wander(key, reading.stamp_ns, now_s)
            return self._ignore(key)
        return self._use(key, reading, now_s, returned=forget)

    def _hold(self, key: SensorKey, reading: Stamped, now_s: float) -> Checked:
        clock = self._clocks[key]
        if not clock.held:
            clock.jumped_s = now_s
        if clock.held == _MOST_HELD:
            del self._held[next(i for i, (k, _) in enumerate(self._held) if k == key)]
            clock.held, clock.ignored = clock.held - 1, clock.ignored + 1
        self._held.append((key, reading))
        clock.held, clock.held_ns = clock.held + 1, reading.stamp_ns
        active = sum(now_s - c.newest_s <= _ACTIVE_S for c in self._others(key))
        return self._jump(now_s) if self._jumping() > active else _NOTHING

    def _drop(self, key: SensorKey) -> None:
        """Drop the held readings of an input."""
        clock = self._clocks[key]
        clock.ignored, clock.held = clock.ignored + clock.held, 0
        self._held = [entry for entry in self._held if entry[0] != key]

    def _ignore(self, key: SensorKey) -> Checked:
        self._clocks[key].ignored += 1
        return _NOTHING

    def _wander(self, key: SensorKey, stamp_ns: int, now_s: float) -> None:
        clock = self._clocks[key]
        self._drop(key)
        clock.returns = 0
        clock.wandering, clock.newest_ns, clock.steady_since_s, clock.jumps = True, stamp_ns, now_s, self._jumps

    def _is_steady(self, key: SensorKey, stamp_ns: int, now_s: float) -> bool:
        """Return whether an ignored input can be used again, from this stamp on."""
        clock = self._clocks[key]
        assert clock.newest_ns is not None
        if stamp_ns < clock.newest_ns - self._jump_ns:
            if clock.jumps == self._jumps:  # It jumped without the others.
                clock.steady_since_s = now_s
            clock.newest_ns = stamp_ns
        clock.newest_ns, clock.jumps = max(clock.newest_ns, stamp_ns), self._jumps
        if now_s - clock.steady_since_s <= STEADY_AFTER_S or self._agreement(key, stamp_ns, now_s) < 0:
            return False
        clock.wandering = False
        return True

    # --- majorities ---------------------------------------------------------------------------------

    def _others(self, key: SensorKey) -> list[_Clock]:
        """Return the inputs that go on: neither ignored nor in an undecided jump."""
        return [c for k, c in self._clocks.items() if k != key and not c.wandering and not c.held]

    def _jumping(self) -> int:
        return sum(c.held > 0 for c in self._clocks.values())

    def _agreement(self, key: SensorKey, stamp_ns: int, now_s: float) -> int:
        """Return 1 if most of the other active inputs are near a stamp, -1 if not, and 0 if there are none."""
        near = [abs(stamp_ns - c.newest_ns) <= self._jump_ns for c in self._others(key)
                if c.newest_ns is not None and now_s - c.newest_s <= _ACTIVE_S]
        return 0 if not near else 1 if 2 * sum(near) > len(near) else -1

    def _jump(self, now_s: float) -> Checked:
        """Start a new time with the held readings."""
        self._jumps += 1
        for clock in self._clocks.values():
            if not clock.wandering:
                clock.newest_ns, clock.held, clock.returns = None, 0, 0
        usable, self._held = self._held, []
        for key, reading in usable:
            self._use(key, reading, now_s)
        return Checked(usable, jumped=True)
