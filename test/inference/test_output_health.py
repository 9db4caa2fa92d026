# SPDX-License-Identifier: Apache-2.0
"""Levels and texts of the statuses of inference and budget, in every situation without output."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from admn_ros.budget.budget import Budget
from admn_ros.config import parse_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import InputError
from admn_ros.inference.frame_stream import FrameStream
from admn_ros.inference.health.frame_log import RECENT_S, FrameLog
from admn_ros.inference.health.output_health import Level, OutputState, is_current, judge_budget, judge_inference
from admn_ros.model.allocation import Allocation, Assessment, allocate
from admn_ros.model.costs import ModelCosts
from admn_ros.sample import Modality, SensorKey
from admn_ros.sensing.sync.synchronizer import holding
from helpers import models
from helpers.clocks import SteadyClock

RGB, DEPTH = (SensorKey("left", m) for m in (Modality.RGB, Modality.DEPTH))
CONFIG = models.images()


@pytest.fixture
def clock() -> SteadyClock:
    return SteadyClock()


def frames(policy: str = "hold") -> FrameStream:
    deployment = parse_config(DeploymentConfig, {
        "sensors": {"left": {m: {"topic": f"/{m}"} for m in ("rgb", "depth")}}, "sync": {"policy": policy}}, "test")
    # The synchronizer of message_filters is not needed here: what counts is that no frame comes.
    return FrameStream(CONFIG, deployment, lambda sync, keys: holding(sync.model_copy(update={"policy": "hold"}), keys))


def state(clock: SteadyClock, stream: FrameStream | None = None, **changes: Any) -> OutputState:
    fields = {"active": True, "log": FrameLog(clock), "frames": stream or frames(), "now_s": 50.0, "limit_s": 3.0,
              "budget": Budget(8, "layers", "thermal")}
    return OutputState(**fields | changes)


def arrive(stream: FrameStream, *arrivals: tuple[SensorKey, float]) -> None:
    for key, now_s in arrivals:
        stream.health[key].accepted += 1
        stream.synchronizer.add(key, round(now_s * 1e9), np.zeros(1), now_s)


def allocation(limit: float, source: str = "") -> Allocation:
    scores = {m: [1.0] * 4 for m in CONFIG.modalities}
    return allocate(Assessment(scores, dict.fromkeys(scores, 1.0)), dict.fromkeys(scores, 2),
                    ModelCosts(CONFIG).table("layers"), Budget(limit, "layers", source))


def test_a_node_with_output_is_ok_and_becomes_an_error_once_nothing_comes(clock):
    now = state(clock)
    now.log.add(allocation(8), 20.0, 10.0)
    assert judge_inference(now) == (Level.OK, "latency p50 20 ms, p95 20 ms")
    assert judge_budget(now)[0] is Level.OK and is_current(now)
    clock.now_s += 3.0
    assert judge_inference(now)[0] is Level.OK
    clock.now_s += 17.0
    assert judge_inference(now) == (Level.ERROR, "no estimate for 20 s: nothing received on any of 2 inputs")
    assert not is_current(now)
    assert judge_budget(now) == (Level.OK, "8 layers from thermal in force; no frame uses it at present")


def test_a_node_that_just_started_is_no_error(clock):
    assert judge_inference(state(clock)) == (Level.WARN, "no estimate yet")
    assert judge_inference(state(clock, active=False)) == (Level.STALE, "not active")
    assert judge_budget(state(clock, active=False))[0] is Level.STALE


def silent_text(clock: SteadyClock, now: OutputState) -> str:
    """The reason after the time without an estimate."""
    clock.now_s += 10.0
    level, text = judge_inference(now)
    assert level is Level.ERROR and text.startswith("no estimate for 10 s: ")
    return text.removeprefix("no estimate for 10 s: ")


def test_silent_inputs_are_the_reason(clock):
    stream = frames()
    arrive(stream, (RGB, 10.0), (DEPTH, 12.0))
    assert silent_text(clock, state(clock, stream)) == "all 2 inputs are silent, the last one for 38.0 s"


def test_refused_messages_are_the_reason(clock):
    stream = frames()
    stream.health[DEPTH].refuse(InputError("left/depth.encoding", "nv21", "16UC1"))
    text = silent_text(clock, state(clock, stream))
    assert text.startswith("no input is live, and messages are refused: left/depth.encoding: found")


def test_refusals_of_the_past_are_no_reason(clock):
    stream = frames()
    stream.health[DEPTH].refuse(InputError("left/depth.encoding", "nv21", "16UC1"))
    stream.health[DEPTH].accept(0, 10.0)
    arrive(stream, (RGB, 10.0), (DEPTH, 12.0))
    assert "are silent" in silent_text(clock, state(clock, stream))


def test_approximate_time_names_what_it_lacks(clock):
    stream = frames("approximate_time")
    arrive(stream, (RGB, 50.0))
    now = state(clock, stream)
    assert silent_text(clock, now).endswith("needs every input, and these are not live: left/depth")
    arrive(stream, (DEPTH, 50.0))
    assert "within 0.1 s (sync.slop_s)" in judge_inference(now)[1]


def test_live_inputs_without_frames_point_to_their_statuses(clock):
    stream = frames()
    arrive(stream, (DEPTH, 50.0))
    assert silent_text(clock, state(clock, stream)) == "1 of 2 inputs are live, but give no frame; see their statuses"


def test_a_budget_below_the_floor_is_the_reason(clock):
    now = state(clock)
    clock.now_s += 10.0
    now.log.add(allocation(0.5, "battery"), 20.0, 10.0)
    assert judge_inference(now) == (
        Level.ERROR, "no estimate for 10 s: the budget, 0.5 layers from battery, runs nothing: "
        + now.log.last.allocation.reason_text)
    assert judge_budget(now) == (Level.WARN, now.log.last.allocation.reason_text)


def test_a_network_that_fails_is_the_reason(clock):
    now = state(clock)
    now.log.fail(ValueError("a hole"))
    assert judge_inference(now) == (Level.WARN, f"1 frames failed in the last {RECENT_S:g} s, last: ValueError: a hole")
    clock.now_s += 9.0
    now.log.fail(ValueError("a hole"))
    clock.now_s += 1.0
    assert judge_inference(now) == (Level.ERROR, "no estimate for 10 s: the network fails: ValueError: a hole")


def test_a_network_that_hangs_is_the_reason(clock):
    assert silent_text(clock, state(clock, busy_s=9.5)) == "the network has worked on one frame for 10 s"


def test_one_failure_is_forgotten_after_a_while(clock):
    now = state(clock)
    now.log.fail(ValueError("a hole"))
    now.log.refuse_budget(InputError("unit", "watts", "layers"))
    for _ in range(2):
        now.log.add(allocation(8), 20.0, 10.0)
        assert judge_inference(now)[0] is Level.WARN and judge_budget(now)[0] is Level.WARN
        clock.now_s += RECENT_S / 2
    clock.now_s += 0.1
    now.log.add(allocation(8), 20.0, 10.0)
    assert judge_inference(now)[0] is Level.OK and judge_budget(now)[0] is Level.OK
    assert (now.log.failures.total, now.log.refusals.total) == (1, 1)


def test_a_refused_budget_is_a_warning_in_every_state(clock):
    for active in (True, False):
        now = state(clock, active=active)
        now.log.refuse_budget(InputError("unit", "watts", "layers"))
        level, text = judge_budget(now)
        assert level is Level.WARN and text.endswith("last: unit: found watts; allowed: layers")


def test_an_idle_node_is_ok_and_says_why(clock):
    now = state(clock, idle="no subscriber")
    clock.now_s += 60.0
    assert judge_inference(now) == (Level.OK, "idle: no subscriber") and not now.silent
    now.log.expect_from_now()
    assert judge_inference(replace(now, idle="")) == (Level.WARN, "no estimate yet")


def test_a_pending_budget_is_stated(clock):
    now = state(clock, pending="5 milliseconds from battery waits for the measurement of costs")
    assert judge_budget(now) == (Level.WARN, now.pending)


def test_sources_that_contradict_each_other_are_a_warning(clock):
    now = state(clock, contest="equal priority 0: battery 6 layers, operator 12 layers")
    now.log.add(allocation(6), 20.0, 10.0)
    level, text = judge_budget(now)
    assert level is Level.WARN and text.endswith("; equal priority 0: battery 6 layers, operator 12 layers")
    assert judge_inference(now)[0] is Level.OK


def test_a_violation_stays_an_error(clock):
    now = state(clock)
    now.log.add(replace(allocation(8), spent=9.0), 20.0, 10.0)
    clock.now_s += 1000.0
    now.log.add(allocation(8), 20.0, 10.0)
    assert judge_budget(now) == (Level.ERROR, "1 frames spent more than granted")
