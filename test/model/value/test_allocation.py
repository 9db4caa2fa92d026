# SPDX-License-Identifier: Apache-2.0
import itertools
import math
import os
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.budget.budget import MICRO, Budget
from admn_ros.budget.costs import LayerCosts, ModalityCosts
from admn_ros.errors import InputError
from admn_ros.model.allocation import Assessment, Reason, Why
from admn_ros.model.costs import layer_costs
from admn_ros.model.presets import preset
from admn_ros.model.value.allocation import allocate_by_value
from admn_ros.sample import Modality

RGB, DEPTH, RADAR, AUDIO = Modality
ROOM = layer_costs(preset("gdtm-room"))
EVERYWHERE = dict.fromkeys(Modality, 3)
CASES = int(os.environ.get("ADMN_CASES", "2000"))
"""Number of random cases; set it to 1000000 for a long run."""


def random_case(draw: random.Random, modalities: int = 4):
    unit = draw.choice(["layers", "gflops", "milliseconds", "joules"])
    nodes, micro = draw.randint(1, 3), MICRO[unit]
    scale = draw.choice([1, 3, micro, 10 * micro])      # small numbers give many equal costs

    def prices():
        return tuple(draw.randrange(scale) for _ in range(nodes))

    table = LayerCosts(unit, draw.randrange(scale), {
        m: ModalityCosts(draw.randint(1, 4), prices(), prices(), prices())
        for m in draw.sample(list(Modality), draw.randint(1, modalities))})
    value = draw.choice([lambda: draw.uniform(0, 5), lambda: float(draw.randrange(3)),
                         lambda: draw.choice([math.nan, math.inf, -1.0, 0.0, 1.0])])
    values = {m: [[value() for _ in range(c.depth)] for _ in range(nodes)] for m, c in table.modalities.items()}
    present = {m: tuple(i for i in range(nodes) if draw.random() < 0.7) for m in table.modalities}
    full = float(Fraction(table.total({m: len(x) for m, x in present.items()}), micro))
    budget = Budget(draw.choice([draw.uniform(0, 1.1 * full), draw.randint(0, 20), math.inf]), unit)
    return Assessment(values=values), present, table, budget


def worth(assessment, modality, nodes, layers):
    """Value of layers at sensor nodes, with a deeper choice at least as valuable as a shallower one."""
    curves = [assessment.values[modality][node][:layers] for node in nodes]
    return sum(max(0.0, *(v if math.isfinite(v) else 0.0 for v in curve)) for curve in curves if layers)


def worth_of(assessment, result):
    return sum(worth(assessment, m, result.nodes[m], len(layers)) for m, layers in result.active.items())


def price(table, present, chosen):
    """Micro-units of a frame that runs `chosen`: (number of sensor nodes, layers) of each modality that runs."""
    if not chosen:
        return 0
    costs = table.modalities
    return table.fixed + sum(c.controller[len(present[m]) - 1] for m, c in costs.items() if present[m]) + sum(
        costs[m].embedding[n - 1] + k * costs[m].layer[n - 1] for m, (n, k) in chosen.items())


def fits(micro, table, budget):
    return math.isinf(budget.limit) or Fraction(micro, MICRO[table.unit]) <= Fraction(repr(float(budget.limit)))


def test_random_cases_never_overspend_and_account_for_every_input():
    draw = random.Random(1)
    for _ in range(CASES):
        assessment, present, table, budget = random_case(draw)
        result = allocate_by_value(assessment, present, table, budget)
        ran = {m: (len(result.nodes[m]), len(x)) for m, x in result.active.items() if x}
        spent = price(table, present, ran)
        assert result.spent == float(Fraction(spent, MICRO[table.unit]))
        assert fits(spent, table, budget)
        assert bool(ran) == any(fits(price(table, present, {m: (n, 1)}), table, budget)
                                for m, x in present.items() for n in range(1, len(x) + 1))
        for i in result.inputs:
            m, layers = i.modality, len(result.active[i.modality])
            assert i.ran == (i.why is Why.RAN) == (bool(layers) and i.node in result.nodes[m])
            assert (i.why is Why.NO_READING) == (i.node not in present[m])
            if ran and i.node in present[m]:
                assert i.value == worth(assessment, m, [i.node], layers if i.ran else 1)
                assert str(m) in result.reason_text


def test_small_cases_are_the_best_choice():
    draw = random.Random(3)
    for _ in range(CASES // 4):
        assessment, present, table, budget = random_case(draw, modalities=2)
        result = allocate_by_value(assessment, present, table, budget)
        choices = [[(nodes, k) for n in range(1, len(present[m]) + 1) for nodes in itertools.combinations(present[m], n)
                    for k in range(1, c.depth + 1)] for m, c in table.modalities.items()]
        best, least = 0.0, 0
        for picked in itertools.product(*([None, *some] for some in choices)):
            chosen = {m: pick for m, pick in zip(table.modalities, picked, strict=True) if pick}
            cost = price(table, present, {m: (len(nodes), k) for m, (nodes, k) in chosen.items()})
            value = sum(worth(assessment, m, nodes, k) for m, (nodes, k) in chosen.items())
            if fits(cost, table, budget) and (value > best + 1e-9 or (value > best - 1e-9 and cost < least)):
                best, least = max(value, best), cost
        assert worth_of(assessment, result) == pytest.approx(best, rel=1e-12)
        if best:
            assert result.spent == float(Fraction(least, MICRO[table.unit]))


def test_more_budget_is_never_worth_less():
    draw = random.Random(2)
    for _ in range(CASES // 4):
        assessment, present, table, budget = random_case(draw)
        low, high = sorted([budget.limit, draw.uniform(0, 20)])
        less, more = (worth_of(assessment, allocate_by_value(assessment, present, table, Budget(x, table.unit)))
                      for x in (low, high))
        assert less <= more + 1e-12


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(list(Modality)), st.lists(st.floats(), min_size=3, max_size=3), min_size=1),
       st.floats(0, 60))
def test_in_layers_all_present_sensor_nodes_run(first, limit):
    values = {m: [[v] * 12 for v in nodes] for m, nodes in first.items()}
    present = dict.fromkeys(first, (0, 2))
    result = allocate_by_value(Assessment(values=values), present, ROOM, Budget(limit, "layers"))
    assert all(result.nodes[m] == ((0, 2) if layers else ()) for m, layers in result.active.items())


def test_one_layer_goes_to_the_most_valuable_modality_and_the_reason_says_so():
    values = {m: [[v] * 12] * 3 for m, v in {RGB: 1.0, DEPTH: 0.5, RADAR: 2.0, AUDIO: 0.25}.items()}
    one = allocate_by_value(Assessment(values=values), EVERYWHERE, ROOM, Budget(1, "layers"))
    assert {m: x for m, x in one.active.items() if x} == {RADAR: (0,)}
    assert one.reason is Reason.DEGRADED
    assert one.reason_text == ("Layers by predicted value: radar 1 (value 6); not run (what ran is worth more): "
                               "rgb (value 3), depth (value 1.5), audio (value 0.75).")
    three = allocate_by_value(Assessment(values=values), EVERYWHERE, ROOM, Budget(3, "layers"))
    assert {m for m, x in three.active.items() if x} == {RGB, DEPTH, RADAR}


def test_layers_that_add_nothing_do_not_run():
    values = {m: [[1.0] * 12] * 3 for m in Modality}
    assert allocate_by_value(Assessment(values=values), EVERYWHERE, ROOM, Budget(48, "layers")).layers == 4


def test_a_frame_without_value_still_has_an_estimate():
    values = {m: [[0.0] * 12] * 3 for m in Modality}
    assert allocate_by_value(Assessment(values=values), EVERYWHERE, ROOM, Budget(48, "layers")).layers == 1


def test_the_layers_of_highest_score_follow_the_first_one():
    scores, values = {RGB: [0.0] * 11 + [1.0]}, {RGB: [[float(k) for k in range(1, 13)]] * 3}
    result = allocate_by_value(Assessment(scores, values=values), {RGB: 3}, ROOM, Budget(3, "layers"))
    assert result.active[RGB] == (0, 1, 11)


GFLOPS = LayerCosts("gflops", 10, {
    RGB: ModalityCosts(2, (1, 2, 3), (2, 4, 6), (10, 20, 30)),
    AUDIO: ModalityCosts(2, (1, 2, 3), (0, 0, 0), (50, 90, 99))})


def test_the_best_sensor_node_runs_and_each_other_input_says_why_not():
    values = {RGB: [[1.0, 3.0], [9.0, 9.0], [5.0, 6.0]], AUDIO: [[2.0, 2.0], [0.0, 0.0], [7.0, 7.0]]}
    assessment, present = Assessment(values=values, sensor_nodes=("n1", "n2", "n3")), {RGB: (0, 2), AUDIO: (0, 1)}
    budget = Budget(40e-9, "gflops")       # 10 fixed and 4 for the controller; the rest holds one camera at both layers
    result = allocate_by_value(assessment, present, GFLOPS, budget)
    assert result.active == {RGB: (0, 1), AUDIO: ()}
    assert result.nodes == {RGB: (2,), AUDIO: ()}
    assert result.spent == 36e-9
    assert result.cost == {RGB: 24e-9, AUDIO: 2e-9}
    assert [(i.value, round(1e9 * i.cost), i.ran, i.why) for i in result.inputs if i.why is not Why.NO_READING] == [
        (1.0, 12, False, Why.OUTBID), (6.0, 22, True, Why.RAN),
        (2.0, 50, False, Why.DOES_NOT_FIT), (0.0, 50, False, Why.DOES_NOT_FIT)]
    assert result.reason_text == (
        "Layers by predicted value: rgb 2 at n3 (value 6); not run (what ran is worth more): rgb at n1 (value 1); "
        "not run (does not fit into the budget): audio (value 2).")
    everything = allocate_by_value(assessment, present, GFLOPS, Budget(math.inf, "gflops"))
    assert everything.reason is Reason.ALLOCATED and result.reason is Reason.DEGRADED
    assert everything.nodes == {RGB: (0, 2), AUDIO: (0,)}
    assert everything.inputs[4].why is Why.WORTHLESS
    assert "not run (its predicted value is 0): audio at n2 (value 0)" in everything.reason_text


def test_a_budget_for_one_sensor_node_is_enough():
    values = {RGB: [[1.0] * 2] * 3}
    one = allocate_by_value(Assessment(values=values), {RGB: 3}, GFLOPS, Budget(25e-9, "gflops"))
    assert one.active[RGB] == (0,) and one.nodes[RGB] == (0,)
    none = allocate_by_value(Assessment(), {RGB: 3}, GFLOPS, Budget(24e-9, "gflops"))
    assert none.reason is Reason.BELOW_FLOOR
    assert none.reason_text == "Nothing ran: one layer of one input needs 2.5e-08 gflops."


@pytest.mark.parametrize("values", [{}, {RGB: [1.0] * 12}, {RGB: [[1.0] * 12] * 2}, {RGB: [[1.0] * 11] * 3},
                                    {RGB: [[1.0], [1.0, 2.0], []]}],
                         ids=["none", "one per depth", "a node fewer", "a layer fewer", "ragged"])
def test_missing_values_are_named(values):
    with pytest.raises(InputError, match=r"values of rgb: found shape .*; allowed: \(3, 12\).*admn train value"):
        allocate_by_value(Assessment(values=values), {RGB: 1}, ROOM, Budget(3, "layers"))


def test_a_modality_without_value_is_no_reason_to_raise_the_budget():
    values = {RGB: [[1.0] * 2] * 3, AUDIO: [[0.0] * 2] * 3}
    result = allocate_by_value(Assessment(values=values), {RGB: 3, AUDIO: 3}, GFLOPS, Budget(math.inf, "gflops"))
    assert result.active[AUDIO] == () and result.reason is Reason.ALLOCATED
