# SPDX-License-Identifier: Apache-2.0
"""Whether output comes, and if not, why: the rules behind the statuses of inference and of the budget."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from admn_ros.budget.budget import Budget
from admn_ros.inference.frame_stream import FrameStream
from admn_ros.inference.health.frame_log import RECENT_S, FrameLog, percentiles
from admn_ros.model.allocation import Reason


class Level(IntEnum):
    """Level of a status, with the numbers of `DiagnosticStatus`.

    OK: everything runs as expected. WARN: something unexpected that may affect the output. ERROR: the output cannot be
    relied on. STALE: nothing current can be reported, because the node is not active.
    """

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class OutputState:
    """What decides about the statuses of inference and budget.

    Attributes:
        active: whether the node is active.
        log: frames so far.
        frames: inputs and synchronizer.
        now_s: time of the receive clock, seconds.
        limit_s: time without an estimate that is an error, seconds.
        budget: budget in force.
        idle: why no estimate is wanted at present; empty if one is.
        busy_s: seconds for which the network has worked on its current frame; 0 while it waits for one.
        pending: what a requested budget waits for; empty if none waits.
        contest: sources of equal priority that request different budgets; empty if there are none.
        refused: sources whose latest request was refused, with the reasons; empty if there are none.
    """

    active: bool
    log: FrameLog
    frames: FrameStream
    now_s: float
    limit_s: float
    budget: Budget
    idle: str = ""
    busy_s: float = 0.0
    pending: str = ""
    contest: str = ""
    refused: str = ""

    @property
    def silent(self) -> bool:
        """Whether an estimate has been due for longer than `limit_s`."""
        return self.active and not self.idle and self.log.without_estimate_s > self.limit_s


def judge_inference(state: OutputState) -> tuple[Level, str]:
    """Return level and message of inference."""
    log, failed = state.log, state.log.failures.recent
    if not state.active:
        return Level.STALE, "not active"
    if state.idle:
        return Level.OK, f"idle: {state.idle}"
    if state.silent:
        return Level.ERROR, f"no estimate for {log.without_estimate_s:.0f} s: {_why_silent(state)}"
    if failed:
        return Level.WARN, f"{failed} frames failed in the last {RECENT_S:g} s, last: {log.failures.last}"
    latest = log.latest
    if not latest:
        return Level.WARN, "no estimate yet"
    p50, p95 = percentiles([frame.latency_ms for frame in latest])
    return Level.OK, f"latency p50 {p50:.0f} ms, p95 {p95:.0f} ms"


def judge_budget(state: OutputState) -> tuple[Level, str]:
    """Return level and message of the budget: a warning too while sources of equal priority contradict each other."""
    level, text = _judge_use_of_budget(state)
    return (max(level, Level.WARN), f"{text}; {state.contest}") if state.contest else (level, text)


def _judge_use_of_budget(state: OutputState) -> tuple[Level, str]:
    log, last = state.log, state.log.last
    refused = log.refusals.recent
    if log.violations:
        return Level.ERROR, f"{log.violations} frames spent more than granted"
    if refused:
        return Level.WARN, f"{refused} budgets refused in the last {RECENT_S:g} s, last: {log.refusals.last}"
    if state.pending:
        return Level.WARN, state.pending
    if not state.active:
        return Level.STALE, "not active"
    if last is None or not is_current(state):
        return Level.OK, f"{describe(state.budget)} in force; no frame uses it at present"
    return Level.OK if last.allocation.reason is Reason.ALLOCATED else Level.WARN, last.allocation.reason_text


def is_current(state: OutputState) -> bool:
    """Return whether the latest frame is one of the present: the node is active, and it is not older than `limit_s`."""
    last = state.log.last
    return state.active and last is not None and state.log.clock() - last.at_s <= state.limit_s


def describe(budget: Budget) -> str:
    """Return a budget as text, with its source."""
    return f"{budget.limit:g} {budget.unit} from {budget.source or 'a source without a name'}"


def _why_silent(state: OutputState) -> str:
    log, since_s = state.log, max(state.log.started_s, state.log.last_estimate_s)
    if state.busy_s > state.limit_s:
        return f"the network has worked on one frame for {state.busy_s:.0f} s"
    if is_current(state) and log.last is not None and log.last.at_s > max(since_s, log.failures.last_s):
        return f"the budget, {describe(log.last.allocation.requested)}, runs nothing: {log.last.allocation.reason_text}"
    if log.clock() - log.failures.last_s <= state.limit_s:
        return f"the network fails: {log.failures.last}"
    return _why_no_frame(state.frames, state.now_s)


def _why_no_frame(frames: FrameStream, now_s: float) -> str:
    """Return why the synchronizer gives no frame."""
    sync, stats, names = frames.sync, frames.synchronizer.stats().inputs, frames.inputs
    ages_s = {key: now_s - s.last_arrival_s for key, s in stats.items() if s.last_arrival_s is not None}
    live = [key for key, age_s in ages_s.items() if age_s <= sync.silent_s]
    refused = [key for key in names if frames.health[key].refusing and key not in live]
    if not live and refused:
        return f"no input is live, and messages are refused: {frames.health[refused[0]].last_error}"
    if not live and not ages_s:
        return f"nothing received on any of {len(names)} inputs"
    if not live:
        return f"all {len(names)} inputs are silent, the last one for {min(ages_s.values()):.1f} s"
    if sync.policy != "approximate_time":
        return f"{len(live)} of {len(names)} inputs are live, but give no frame; see their statuses"
    if len(live) < len(names):
        missing = ", ".join(str(key) for key in names if key not in live)
        return f"sync.policy approximate_time needs every input, and these are not live: {missing}"
    return (f"all inputs are live, but sync.policy approximate_time finds no readings of all within "
            f"{sync.slop_s:g} s (sync.slop_s); the policy hold needs no such match")
