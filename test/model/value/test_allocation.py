# SPDX-License-Identifier: Apache-2.0
import itertools
import math
import os
import random
from fractions import Fraction

import pytest

from admn_ros.budget.budget import MICRO, Budget
from admn_ros.budget.costs import CostLedger, LayerCosts, ModalityCosts
from admn_ros.errors import InputError
from admn_ros.model.allocation import Assessment, Reason
from admn_ros.model.costs import layer_costs
from admn_ros.model.presets import preset
from admn_ros.model.value.allocation import allocate_by_value
from admn_ros.sample import Modality

RGB, DEPTH, RADAR, AUDIO = Modality
ROOM = layer_costs(preset("gdtm-room"))
EVERYWHERE = dict.fromkeys(Modality, 3)
CASES = int(os.environ.get("ADMN_CASES", "2000"))
"""Number of random cases; set it to 1000000 for a long run."""


def random_case(draw: random.Random):
    unit = draw.choice(["layers", "gflops", "milliseconds", "joules"])
    nodes, micro = draw.randint(1, 3), MICRO[unit]
    scale = draw.choice([3, micro, 10 * micro])      # small numbers give many equal costs

    def prices():
        return tuple(draw.randrange(scale) for _ in range(nodes))

    table = LayerCosts(unit, draw.randrange(scale), {
        m: ModalityCosts(draw.randint(1, 4), prices(), prices(), prices())
        for m in draw.sample(list(Modality), draw.randint(1, 4))})
    value = draw.choice([lambda: draw.uniform(0, 5), lambda: float(draw.randrange(3)),
                         lambda: draw.choice([math.nan, math.inf, -1.0, 0.0, 1.0])])
    values = {m: [value() for _ in range(c.depth)] for m, c in table.modalities.items()}
    present = {m: draw.randint(0, nodes) for m in table.modalities}
    full = float(Fraction(table.total(present), micro))
    budget = Budget(draw.choice([draw.uniform(0, 1.1 * full), draw.randint(0, 20), math.inf]), unit)
    return Assessment(values=values), present, table, budget


def worth(assessment, active):
    """Value of an allocation, with a deeper choice at least as valuable as a shallower one."""
    finite = {m: [v if math.isfinite(v) else 0.0 for v in x] for m, x in assessment.values.items()}
    return sum(max(0.0, *finite[m][:len(layers)]) for m, layers in active.items() if layers)


def test_random_cases_never_overspend_and_are_the_best_choice():
    draw = random.Random(1)
    for _ in range(CASES):
        assessment, present, table, budget = random_case(draw)
        result = allocate_by_value(assessment, present, table, budget)
        counts = {m: len(x) for m, x in result.active.items()}
        spent = table.price(counts, present)
        assert result.spent == float(Fraction(spent, MICRO[table.unit]))
        assert math.isinf(budget.limit) or Fraction(spent, MICRO[table.unit]) <= Fraction(repr(float(budget.limit)))
        ledger = CostLedger.open(present, table, budget)
        assert bool(result.layers) == bool(ledger.runnable)
        choices = (dict(zip(table.modalities, k, strict=True)) for k in itertools.product(
            *(range(c.depth + 1 if present[m] else 1) for m, c in table.modalities.items())))
        best = max((worth(assessment, {m: range(k) for m, k in c.items()}) for c in choices if ledger.affords(c)),
                   default=0.0)
        assert worth(assessment, result.active) == pytest.approx(best, rel=1e-12)


def test_more_budget_is_never_worth_less():
    draw = random.Random(2)
    for _ in range(CASES // 4):
        assessment, present, table, budget = random_case(draw)
        low, high = sorted([budget.limit, draw.uniform(0, 20)])
        less, more = (worth(assessment, allocate_by_value(assessment, present, table, Budget(x, table.unit)).active)
                      for x in (low, high))
        assert less <= more + 1e-12


def test_one_layer_goes_to_the_most_valuable_modality_and_the_reason_says_so():
    values = {RGB: [3.0] * 12, DEPTH: [1.0] * 12, RADAR: [4.0] * 12, AUDIO: [0.5] * 12}
    one = allocate_by_value(Assessment(values=values), EVERYWHERE, ROOM, Budget(1, "layers"))
    assert {m: x for m, x in one.active.items() if x} == {RADAR: (0,)}
    assert one.reason is Reason.DEGRADED
    assert one.reason_text == ("Layers by predicted value: radar 1 (value 4); "
                               "not run: rgb (value 3), depth (value 1), audio (value 0.5).")
    three = allocate_by_value(Assessment(values=values), EVERYWHERE, ROOM, Budget(3, "layers"))
    assert {m for m, x in three.active.items() if x} == {RGB, DEPTH, RADAR}


def test_layers_that_add_nothing_do_not_run():
    values = {m: [1.0] * 12 for m in Modality}
    assert allocate_by_value(Assessment(values=values), EVERYWHERE, ROOM, Budget(48, "layers")).layers == 4


def test_a_frame_without_value_still_has_an_estimate():
    values = {m: [0.0] * 12 for m in Modality}
    assert allocate_by_value(Assessment(values=values), EVERYWHERE, ROOM, Budget(48, "layers")).layers == 1


def test_the_layers_of_highest_score_follow_the_first_one():
    scores, values = {RGB: [0.0] * 11 + [1.0]}, {RGB: [float(k) for k in range(1, 13)]}
    result = allocate_by_value(Assessment(scores, values=values), {RGB: 3}, ROOM, Budget(3, "layers"))
    assert result.active[RGB] == (0, 1, 11)


def test_missing_values_are_named():
    with pytest.raises(InputError, match=r"values of rgb: found 0 values; allowed: 12.*admn train value"):
        allocate_by_value(Assessment(), {RGB: 1}, ROOM, Budget(3, "layers"))
