# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import replace

import pytest

from admn_ros.budget.budget import Budget
from admn_ros.inference.health.frame_log import LATENCIES, RECENT_S, FrameLog, percentiles
from admn_ros.model.allocation import Assessment, allocate
from admn_ros.model.costs import ModelCosts
from helpers import models
from helpers.clocks import SteadyClock


def allocation(limit: float):
    config = models.four_modalities()
    present = dict.fromkeys(config.modalities, 2)
    scores = {m: [1.0] * c.backbone.depth for m, c in config.modalities.items()}
    table = ModelCosts(config).table("layers")
    return allocate(Assessment(scores, dict.fromkeys(scores, 1.0)), present, table, Budget(limit, "layers"))


def test_frames_failures_refusals_and_violations_are_counted():
    log, honest = FrameLog(), allocation(8)
    log.add(honest, 20.0, 10.0)
    log.add(replace(honest, spent=9.0), 30.0, 20.0)
    assert (log.frames, log.violations) == (2, 1) and log.last.allocation.spent == 9.0
    log.fail(ValueError("a hole"))
    assert (log.failures.total, log.last_error) == (1, "ValueError: a hole")
    log.refuse_budget(ValueError("furlongs"))
    assert (log.refusals.total, log.last_error) == (1, "furlongs")
    assert log.failures.last == "ValueError: a hole"


def test_events_and_latencies_are_recent_for_a_while_and_counted_for_ever():
    clock = SteadyClock()
    log = FrameLog(clock)
    log.add(allocation(8), 20.0, 10.0)
    log.fail(ValueError("a hole"))
    clock.now_s += RECENT_S
    log.fail(ValueError("a cable"))
    assert log.failures.recent == 2 and len(log.latest) == 1
    clock.now_s += 0.1
    assert (log.failures.recent, log.failures.total) == (1, 2) and not log.latest
    clock.now_s += RECENT_S
    assert (log.failures.recent, log.failures.total, log.failures.last) == (0, 2, "ValueError: a cable")
    for _ in range(5000):
        log.refuse_budget(ValueError("furlongs"))
    assert log.refusals.total == 5000 and log.refusals.recent == 1000


def test_an_estimate_is_due_from_activation_or_the_last_estimate_on():
    clock = SteadyClock()
    log = FrameLog(clock)
    clock.now_s += 7.0
    assert log.without_estimate_s == 7.0
    log.add(allocation(0), 20.0, 10.0)
    assert log.without_estimate_s == 7.0, "a frame below the floor is no estimate"
    log.add(allocation(8), 20.0, 10.0)
    clock.now_s += 2.0
    assert log.without_estimate_s == 2.0
    clock.now_s += 60.0
    log.expect_from_now()
    clock.now_s += 1.0
    assert log.without_estimate_s == 1.0 and not log.latest


def test_only_the_latest_latencies_are_kept():
    log, honest = FrameLog(), allocation(math.inf)
    for k in range(2 * LATENCIES):
        log.add(honest, float(k), 0.0)
    latencies = [frame.latency_ms for frame in log.latest]
    assert len(latencies) == LATENCIES and min(latencies) == LATENCIES


@pytest.mark.parametrize(("values", "found"), [([], (math.nan, math.nan)), ([3.0], (3.0, 3.0)),
                                               ([float(k) for k in range(101)], (50.0, 95.0))])
def test_percentiles(values, found):
    assert percentiles(values) == pytest.approx(found, nan_ok=True)
