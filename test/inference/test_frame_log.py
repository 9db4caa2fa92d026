# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import replace

import pytest

from admn_ros.budget.budget import Budget
from admn_ros.inference.frame_log import LATENCIES, FrameLog, percentiles
from admn_ros.model.allocation import allocate
from admn_ros.model.costs import ModelCosts
from helpers import models


def allocation(limit: float):
    config = models.four_modalities()
    present = dict.fromkeys(config.modalities, 2)
    scores = {m: [1.0] * c.backbone.depth for m, c in config.modalities.items()}
    table = ModelCosts(config).table("layers")
    return allocate(scores, dict.fromkeys(scores, 1.0), present, table, Budget(limit, "layers"))


def test_frames_failures_refusals_and_violations_are_counted():
    log, honest = FrameLog(), allocation(8)
    log.add(honest, 20.0, 10.0)
    log.add(replace(honest, spent=9.0), 30.0, 20.0)
    assert (log.frames, log.violations) == (2, 1) and log.last.spent == 9.0
    log.fail(ValueError("a hole"))
    assert (log.failures, log.last_error) == (1, "ValueError: a hole")
    log.refuse_budget(ValueError("furlongs"))
    assert (log.budgets_refused, log.last_error) == (1, "furlongs")


def test_only_the_latest_latencies_are_kept():
    log, honest = FrameLog(), allocation(math.inf)
    for k in range(2 * LATENCIES):
        log.add(honest, float(k), 0.0)
    assert len(log.latency_ms) == LATENCIES and min(log.latency_ms) == LATENCIES


@pytest.mark.parametrize(("values", "found"), [([], (0.0, 0.0)), ([3.0], (3.0, 3.0)),
                                               ([float(k) for k in range(101)], (50.0, 95.0))])
def test_percentiles(values, found):
    assert percentiles(values) == pytest.approx(found)
