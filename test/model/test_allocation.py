# SPDX-License-Identifier: Apache-2.0
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.budget.budget import MICRO, Budget
from admn_ros.budget.costs import CostLedger, LayerCosts, ModalityCosts
from admn_ros.errors import InputError
from admn_ros.model.allocation import Assessment, Reason, Why, allocate, gumbel_top_l
from admn_ros.model.costs import layer_costs
from admn_ros.model.presets import preset
from admn_ros.sample import Modality

RGB, DEPTH, RADAR, AUDIO = Modality
TINY = layer_costs(preset("gdtm-tiny"))
EVERYTHING = dict.fromkeys(Modality, 3)
CLEAN = dict.fromkeys(Modality, 1.0)
FLAT = {m: [0.0] * 12 for m in Modality}

any_float = st.floats(allow_nan=True, allow_infinity=True)
limits = st.one_of(st.sampled_from([0.0, 1e-9, 1e300, math.inf]), st.floats(0, 60), st.integers(0, 60))


@st.composite
def problems(draw):
    """A table with random costs, and scores, QoI, presence and a budget for it."""
    unit = draw(st.sampled_from(["layers", "gflops", "milliseconds", "joules"]))
    chosen = draw(st.lists(st.sampled_from(list(Modality)), min_size=1, unique=True))
    nodes = draw(st.integers(1, 3))
    price = st.integers(0, 10 * MICRO[unit])
    prices = st.lists(price, min_size=nodes, max_size=nodes).map(tuple)
    modalities = {m: ModalityCosts(draw(st.integers(1, 5)), draw(prices), draw(prices), draw(prices)) for m in chosen}
    scores = {m: draw(st.lists(any_float, min_size=c.depth, max_size=c.depth)) for m, c in modalities.items()}
    qoi = {m: draw(any_float) for m in chosen}
    present = {m: draw(st.integers(0, nodes)) for m in chosen}
    table = LayerCosts(unit, draw(price), modalities)
    return scores, qoi, present, table, Budget(draw(limits), unit)


@settings(max_examples=300, deadline=None)
@given(problems())
def test_never_overspends_and_the_costs_add_up(problem):
    scores, qoi, present, table, budget = problem
    result = allocate(Assessment(scores, qoi), present, table, budget)
    micro = sum(table.modalities[m].controller[n - 1] for m, n in present.items() if n) + table.fixed
    for m, layers in result.active.items():
        if layers:
            costs, n = table.modalities[m], present[m]
            micro += costs.embedding[n - 1] + len(layers) * costs.layer[n - 1]
    if not any(result.active.values()):
        micro = 0
    if math.isfinite(budget.limit):
        assert Fraction(micro, MICRO[table.unit]) <= Fraction(repr(float(budget.limit)))
    assert result.spent == float(Fraction(micro, MICRO[table.unit]))
    assert result.spent <= result.granted_limit == budget.limit
    fixed = table.amount(table.fixed) if micro else 0.0
    assert fixed + sum(result.cost.values()) == pytest.approx(result.spent)


@settings(max_examples=200, deadline=None)
@given(problems())
def test_shape_of_an_allocation(problem):
    scores, qoi, present, table, budget = problem
    result = allocate(Assessment(scores, qoi), present, table, budget)
    assert list(result.active) == list(table.modalities) == list(result.cost)
    for m, layers in result.active.items():
        assert list(layers) == sorted(set(layers))
        assert all(0 <= i < table.modalities[m].depth for i in layers)
        assert not layers or layers[0] == 0
        if not present[m]:
            assert layers == ()
            assert result.cost[m] == 0
    used = [m for m, layers in result.active.items() if layers]
    available = [m for m, n in present.items() if n]
    expected = (Reason.NO_INPUT if not available
                else Reason.BELOW_FLOOR if not CostLedger.open(present, table, budget).runnable
                else Reason.ALLOCATED if used == available else Reason.DEGRADED)
    assert result.reason is expected
    assert bool(used) == (expected in (Reason.ALLOCATED, Reason.DEGRADED))
    for m in available:
        if m not in used and used:
            assert str(m) in result.reason_text
    assert result == allocate(Assessment(scores, qoi), present, table, budget)


@settings(max_examples=200, deadline=None)
@given(problems())
def test_no_affordable_layer_is_left_out(problem):
    scores, qoi, present, table, budget = problem
    result = allocate(Assessment(scores, qoi), present, table, budget)
    left = table.room(budget, present) - round(Fraction(repr(result.spent)) * MICRO[table.unit])
    for m, layers in result.active.items():
        if 0 < len(layers) < table.modalities[m].depth:
            assert table.modalities[m].layer[present[m] - 1] > left


@settings(max_examples=200, deadline=None)
@given(problems(), st.integers(0, 60))
def test_equal_costs_give_the_top_l(problem, limit):
    scores, qoi, present, table, _ = problem
    ones = {m: ModalityCosts(c.depth, (0,) * c.nodes, (0,) * c.nodes, (1,) * c.nodes)
            for m, c in table.modalities.items()}
    equal = LayerCosts("layers", 0, ones)
    result = allocate(Assessment(scores, qoi), present, equal, Budget(limit, "layers"))
    available = [m for m, n in present.items() if n]
    assert result.layers == min(limit, sum(ones[m].depth for m in available))
    if limit >= len(available):
        def rank(entry):
            m, i = entry
            score = scores[m][i]
            return (-score if math.isfinite(score) else math.inf, available.index(m), i)

        free = sorted(((m, i) for m in available for i in range(1, ones[m].depth)), key=rank)
        top = {(m, 0) for m in available} | set(free[:limit - len(available)])
        assert {(m, i) for m, layers in result.active.items() for i in layers} == top
    else:
        best = sorted(available, key=lambda m: -qoi[m] if math.isfinite(qoi[m]) else math.inf)[:limit]
        assert {m for m, layers in result.active.items() if layers} == set(best)


def test_layers_with_the_highest_scores_run():
    scores = {m: [0.0] * 12 for m in Modality} | {RADAR: [-9.0, *range(11)]}
    result = allocate(Assessment(scores, CLEAN), EVERYTHING, TINY, Budget(7, "layers"))
    assert result.active == {RGB: (0,), DEPTH: (0,), RADAR: (0, 9, 10, 11), AUDIO: (0,)}
    assert (result.spent, result.reason) == (7.0, Reason.ALLOCATED)


def test_half_a_layer_is_rounded_down():
    assert allocate(Assessment(FLAT, CLEAN), EVERYTHING, TINY, Budget(6.9, "layers")).layers == 6
    assert allocate(Assessment(FLAT, CLEAN), EVERYTHING, TINY, Budget(0.9, "layers")).reason is Reason.BELOW_FLOOR


def test_a_small_budget_drops_the_modality_with_the_lowest_qoi():
    result = allocate(Assessment(FLAT, {RGB: 0.2, DEPTH: 0.9, RADAR: math.nan, AUDIO: 0.5}), EVERYTHING, TINY,
                      Budget(2, "layers", "thermal"))
    assert result.active == {RGB: (), DEPTH: (0,), RADAR: (), AUDIO: (0,)}
    assert result.reason is Reason.DEGRADED
    assert result.reason_text == ("2 of 48 available layers ran; "
                                  "the budget had no room for the first layer of rgb, radar.")
    assert result.requested.source == "thermal"


def test_the_last_of_equal_modalities_is_dropped():
    result = allocate(Assessment(FLAT, CLEAN), EVERYTHING, TINY, Budget(3, "layers"))
    assert [m for m, layers in result.active.items() if not layers] == [AUDIO]


def test_scores_that_are_not_finite_are_lowest():
    scores = FLAT | {RGB: [math.nan] * 6 + [math.inf] * 6}
    result = allocate(Assessment(scores, CLEAN), EVERYTHING, TINY, Budget(37, "layers"))
    assert result.active[RGB] == (0,)
    assert result.layers == 37


def test_a_cheap_modality_runs_where_the_best_does_not_fit():
    costs = {RGB: ModalityCosts(2, (0,), (0,), (9,)), DEPTH: ModalityCosts(2, (0,), (0,), (2,)),
             RADAR: ModalityCosts(2, (0,), (0,), (1,))}
    table = LayerCosts("layers", 1, costs)
    qoi, present = {RGB: 1.0, DEPTH: 0.5, RADAR: 0.1}, dict.fromkeys(costs, 1)
    result = allocate(Assessment({m: [0.0, 0.0] for m in costs}, qoi), present, table, Budget(3, "layers"))
    assert result.active == {RGB: (), DEPTH: (0,), RADAR: ()}
    result = allocate(Assessment({m: [0.0, 0.0] for m in costs}, qoi), present, table, Budget(2, "layers"))
    assert result.active == {RGB: (), DEPTH: (), RADAR: (0,)}


def test_a_dropped_modality_still_has_the_cost_of_the_controller():
    costs = {m: ModalityCosts(2, (1,), (2,), (4,)) for m in (RGB, DEPTH)}
    table = LayerCosts("layers", 3, costs)
    scores = {m: [0.0, 0.0] for m in costs}
    one = allocate(Assessment(scores, {RGB: 0.1, DEPTH: 0.9}), {RGB: 1, DEPTH: 1}, table, Budget(11, "layers"))
    assert one.active == {RGB: (), DEPTH: (0,)}
    assert one.cost == {RGB: 1.0, DEPTH: 7.0}
    assert one.spent == 11.0
    none = allocate(Assessment(scores, {RGB: 0.1, DEPTH: 0.9}), {RGB: 1, DEPTH: 1}, table, Budget(10, "layers"))
    assert none.reason is Reason.BELOW_FLOOR
    assert none.cost == {RGB: 0.0, DEPTH: 0.0}
    assert "needs 11 layers" in none.reason_text


def test_the_reported_floor_is_sufficient():
    table = LayerCosts("milliseconds", 1_234_567, {RGB: ModalityCosts(2, (1,), (20,), (7_000_000,))})
    none = allocate(Assessment(), {RGB: 1}, table, Budget(8.0, "milliseconds"))
    assert none.reason_text == "Nothing ran: one layer of one modality needs 8.234588 milliseconds."
    enough = allocate(Assessment({RGB: [0.0, 0.0]}, {RGB: 1.0}), {RGB: 1}, table, Budget(8.234588, "milliseconds"))
    assert enough.active == {RGB: (0,)}


def test_no_scores_are_required_if_nothing_can_run():
    assert allocate(Assessment(), {}, TINY, Budget(math.inf, "layers")).reason is Reason.NO_INPUT
    assert allocate(Assessment(), EVERYTHING, TINY, Budget(0, "layers")).reason is Reason.BELOW_FLOOR


TWO_PRICES = LayerCosts("layers", 0, {
    RGB: ModalityCosts(2, (1, 2, 3), (1, 2, 3), (2, 4, 6)), AUDIO: ModalityCosts(2, (1, 2, 3), (0, 0, 0), (9, 9, 9))})


def test_each_input_says_whether_it_ran_and_why():
    scores, qoi = {RGB: [0.0, 0.0], AUDIO: [0.0, 0.0]}, {RGB: 0.9, AUDIO: 0.5}
    result = allocate(Assessment(scores, qoi), {RGB: (0, 2), AUDIO: (1,)}, TWO_PRICES, Budget(13, "layers"))
    assert result.active == {RGB: (0, 1), AUDIO: ()}
    assert result.nodes == {RGB: (0, 2), AUDIO: ()}
    assert [(i.modality, i.node) for i in result.inputs] == [(m, n) for m in (RGB, AUDIO) for n in range(3)]
    assert [(i.ran, i.cost, i.why) for i in result.inputs] == [
        (True, 5.0, Why.RAN), (False, 0.0, Why.NO_READING), (True, 5.0, Why.RAN),
        (False, 0.0, Why.NO_READING), (False, 9.0, Why.DOES_NOT_FIT), (False, 0.0, Why.NO_READING)]
    assert all(math.isnan(i.value) for i in result.inputs)
    none = allocate(Assessment(), {RGB: (0, 2)}, TWO_PRICES, Budget(1, "layers"))
    assert none.nodes == {RGB: (), AUDIO: ()} and not any(i.ran for i in none.inputs)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_the_costs_of_the_inputs_add_up_to_those_of_the_modality(problem):
    scores, qoi, present, table, budget = problem
    result = allocate(Assessment(scores, qoi), present, table, budget)
    for m, costs in table.modalities.items():
        ran = [i for i in result.inputs if i.modality is m and i.ran]
        assert tuple(i.node for i in ran) == result.nodes[m]
        if ran:
            looks = table.amount(costs.controller[present[m] - 1])
            assert looks + sum(i.cost for i in ran) == pytest.approx(result.cost[m])


@pytest.mark.parametrize(("scores", "qoi", "present", "unit", "field"), [
    ({}, CLEAN, EVERYTHING, "layers", "scores of rgb"),
    (FLAT | {RADAR: [0.0] * 11}, CLEAN, EVERYTHING, "layers", "scores of radar"),
    (FLAT, {}, EVERYTHING, "layers", "qoi"),
    (FLAT, CLEAN, {RGB: 4}, "layers", "present sensor nodes of rgb"),
    (FLAT, CLEAN, {RGB: -1}, "layers", "present sensor nodes of rgb"),
    (FLAT, CLEAN, {RGB: (0, 3)}, "layers", "present sensor nodes of rgb"),
    (FLAT, CLEAN, {RGB: (1, 0)}, "layers", "present sensor nodes of rgb"),
    (FLAT, CLEAN, {RGB: (1, 1)}, "layers", "present sensor nodes of rgb"),
    (FLAT, CLEAN, EVERYTHING, "gflops", "unit"),
])
def test_errors_name_the_argument(scores, qoi, present, unit, field):
    with pytest.raises(InputError) as error:
        allocate(Assessment(scores, qoi), present, TINY, Budget(48, unit))
    assert error.value.field == field


def test_a_modality_of_another_model_is_refused():
    with pytest.raises(InputError, match="radar"):
        allocate(Assessment(FLAT, CLEAN), {RADAR: 1}, layer_costs(preset("rgbd")), Budget(1, "layers"))


# --- training ---------------------------------------------------------------------------------------


def logits(batch, depths=(4, 3), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {m: torch.randn(batch, d, generator=generator, requires_grad=True)
            for m, d in zip((RGB, DEPTH), depths, strict=True)}


def test_masks_are_exact_and_sum_to_l():
    x = logits(64)
    available = {RGB: torch.ones(64, dtype=torch.bool), DEPTH: torch.arange(64) % 2 == 0}
    k = torch.arange(64) % 9 + 2
    masks = gumbel_top_l(x, available, k, generator=torch.Generator().manual_seed(1))
    both = torch.cat(list(masks.values()), dim=1)
    assert set(both.unique().tolist()) == {0.0, 1.0}
    held = torch.where(available[DEPTH], 7, 4)
    assert both.sum(1).tolist() == torch.minimum(k, held).tolist()
    assert (masks[RGB][:, 0] == 1).all()
    assert torch.equal(masks[DEPTH][:, 0], available[DEPTH].float())
    assert (masks[DEPTH][~available[DEPTH]] == 0).all()


def test_masks_of_unequal_costs_are_those_of_the_allocator():
    x, both = logits(64), dict.fromkeys((RGB, DEPTH), torch.ones(64, dtype=torch.bool))
    prices = {RGB: 3, DEPTH: 1}
    table = LayerCosts("layers", 0, {m: ModalityCosts(v.shape[1], (0,), (0,), (prices[m],)) for m, v in x.items()})
    # Without noise: at a temperature this high above the scores' scale only their order counts.
    quiet = {m: 1e6 * v.detach() for m, v in x.items()}
    for budget in (4, 5, 9, 14):
        masks = gumbel_top_l(quiet, both, budget, generator=torch.Generator().manual_seed(1), prices=prices)
        for i in range(64):
            found = allocate(Assessment({m: v[i].tolist() for m, v in quiet.items()}, {RGB: 1.0, DEPTH: 1.0}),
                             {RGB: 1, DEPTH: 1}, table, Budget(budget, "layers"))
            assert {m: tuple(mask[i].nonzero().flatten().tolist()) for m, mask in masks.items()} == found.active
    with pytest.raises(InputError, match="k:"):
        gumbel_top_l(x, both, 3, prices=prices)


def test_gradient_reaches_the_free_logits_of_available_modalities():
    x = logits(5)
    available = {RGB: torch.ones(5, dtype=torch.bool), DEPTH: torch.tensor([True, True, True, True, False])}
    masks = gumbel_top_l(x, available, 3, generator=torch.Generator().manual_seed(1))
    weights = torch.Generator().manual_seed(2)
    sum((m * torch.randn(m.shape, generator=weights)).sum() for m in masks.values()).backward()
    assert torch.isfinite(x[RGB].grad).all()
    assert (x[RGB].grad[:, 1:] != 0).all()
    assert (x[DEPTH].grad[:4, 1:] != 0).all()
    assert (x[DEPTH].grad[4] == 0).all()
    assert (x[RGB].grad[:, 0] == 0).all()


def test_a_sample_without_free_layers_has_no_nan():
    x = logits(1, depths=(1, 1))
    masks = gumbel_top_l(x, dict.fromkeys(x, torch.tensor([True])), 5)
    sum(m.sum() for m in masks.values()).backward()
    assert torch.equal(torch.cat(list(masks.values()), 1), torch.ones(1, 2))
    assert torch.equal(x[RGB].grad, torch.zeros(1, 1))


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_noise_is_gumbel_of_its_scale(scale):
    # Gumbel-max: with standard noise, one free layer is drawn with its softmax probability.
    n = 20000
    x = {RGB: torch.tensor([[0.0, 1.0, 0.0, -1.0]]).expand(n, 4)}
    masks = gumbel_top_l(x, {RGB: torch.ones(n, dtype=torch.bool)}, 2, generator=torch.Generator().manual_seed(3),
                         noise=scale)
    expected = (torch.tensor([1.0, 0.0, -1.0]) / scale).softmax(0)
    assert torch.allclose(masks[RGB][:, 1:].mean(0), expected, atol=0.015)


def test_the_same_generator_gives_the_same_masks():
    x, available = logits(8), dict.fromkeys((RGB, DEPTH), torch.ones(8, dtype=torch.bool))
    one, same, other = (gumbel_top_l(x, available, 4, generator=torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    assert torch.equal(one[RGB], same[RGB])
    assert not torch.equal(one[RGB], other[RGB])


def test_too_few_layers_or_no_temperature_is_refused():
    x, available = logits(2), dict.fromkeys((RGB, DEPTH), torch.ones(2, dtype=torch.bool))
    with pytest.raises(InputError, match="k:"):
        gumbel_top_l(x, available, 1)
    with pytest.raises(InputError, match="tau"):
        gumbel_top_l(x, available, 2, tau=0.0)
