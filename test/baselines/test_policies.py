# SPDX-License-Identifier: Apache-2.0
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.baselines.allocations import NaiveAllocation, OnlyModality, PrefixScores, RandomAllocation, UpperBound
from admn_ros.baselines.orders import every_other, prefix
from admn_ros.baselines.static import StaticAllocation, some_depths
from admn_ros.budget.budget import MICRO, Budget
from admn_ros.budget.costs import CostLedger, LayerCosts, ModalityCosts
from admn_ros.errors import InputError
from admn_ros.model.allocation import Assessment, Reason, allocate, settle
from admn_ros.model.costs import layer_costs
from admn_ros.model.presets import preset
from admn_ros.model.value.allocation import allocate_by_value
from admn_ros.sample import Modality

RGB, DEPTH, RADAR, AUDIO = Modality
GDTM = layer_costs(preset("gdtm"))
BOTH = {RGB: 3, DEPTH: 3}

limits = st.one_of(st.sampled_from([0.0, 1e-9, 1e300, math.inf]), st.floats(0, 60), st.integers(0, 60))
any_float = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def problems(draw):
    """A table with random costs, and an assessment, presence and a budget for it."""
    unit = draw(st.sampled_from(["layers", "gflops", "milliseconds", "joules"]))
    chosen = draw(st.lists(st.sampled_from(list(Modality)), min_size=1, unique=True))
    nodes = draw(st.integers(1, 3))
    price = st.integers(0, 10 * MICRO[unit])
    prices = st.lists(price, min_size=nodes, max_size=nodes).map(tuple)
    modalities = {m: ModalityCosts(draw(st.integers(1, 4)), draw(prices), draw(prices), draw(prices)) for m in chosen}
    scores = {m: draw(st.lists(any_float, min_size=c.depth, max_size=c.depth)) for m, c in modalities.items()}
    qoi = {m: draw(any_float) for m in chosen}
    present = {m: draw(st.integers(0, nodes)) for m in chosen}
    table = LayerCosts(unit, draw(price), modalities)
    curve = {m: st.lists(any_float, min_size=c.depth, max_size=c.depth) for m, c in modalities.items()}
    values = {m: draw(st.lists(x, min_size=nodes, max_size=nodes)) for m, x in curve.items()}
    return Assessment(scores, qoi, values), present, table, Budget(draw(limits), unit)


def static_for(table, seed=0):
    """Arbitrary but fixed losses for every allocation of a table."""
    depths = {m: c.depth for m, c in table.modalities.items()}
    losses = {counts: float(hash((seed, *counts)) % 97)
              for counts in some_depths(depths, range(1, max(depths.values(), default=1)))}
    return StaticAllocation(tuple(table.modalities), losses)


POLICIES = {
    "allocate": lambda table: allocate,
    "value": lambda table: allocate_by_value,
    "naive": lambda table: NaiveAllocation(),
    "only": lambda table: OnlyModality(next(iter(table.modalities))),
    "upper": lambda table: UpperBound(),
    "random": lambda table: RandomAllocation(7),
    "prefix": lambda table: PrefixScores(),
    "prefix of naive": lambda table: PrefixScores(NaiveAllocation()),
    "static": static_for,
}
MONOTONE = ("naive", "only", "upper")


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=120, deadline=None)
@given(problem=problems())
def test_contract(name, problem):
    assessment, present, table, budget = problem
    policy = POLICIES[name](table)
    result = policy(assessment, present, table, budget)
    used = {m: layers for m, layers in result.active.items() if layers}
    cost = dict.fromkeys(table.modalities, 0)
    for m, n in present.items():
        if n and used:
            c = table.modalities[m]
            k = len(result.nodes[m])
            cost[m] = c.controller[n - 1] + (c.embedding[k - 1] + len(used[m]) * c.layer[k - 1] if m in used else 0)
            assert set(result.nodes[m]) <= set(range(n)) and bool(k) == (m in used)
            assert name == "value" or k in (0, n)
    micro = sum(cost.values()) + (table.fixed if used else 0)
    if math.isfinite(budget.limit):
        assert Fraction(micro, MICRO[table.unit]) <= Fraction(repr(float(budget.limit)))
    assert result.spent == float(Fraction(micro, MICRO[table.unit]))
    assert result.cost == {m: float(Fraction(c, MICRO[table.unit])) for m, c in cost.items()}
    assert list(result.active) == list(table.modalities)
    for m, layers in used.items():
        assert present[m]
        assert list(layers) == sorted(set(layers))
        assert layers[0] == 0
        assert layers[-1] < table.modalities[m].depth
    assert bool(used) == (result.reason in (Reason.ALLOCATED, Reason.DEGRADED))
    if not any(present.values()):
        assert result.reason is Reason.NO_INPUT
    assert (result.requested, result.granted_limit, result.granted_unit) == (budget, budget.limit, table.unit)
    assert result == POLICIES[name](table)(assessment, present, table, budget)


@pytest.mark.parametrize("name", MONOTONE)
@settings(max_examples=120, deadline=None)
@given(problem=problems(), other=limits)
def test_spending_never_falls_when_the_budget_grows(name, problem, other):
    assessment, present, table, budget = problem
    policy = POLICIES[name](table)
    low, high = sorted([budget.limit, float(other)])
    spent = [policy(assessment, present, table, Budget(x, table.unit)).spent for x in (low, high)]
    assert spent[0] <= spent[1]


@settings(max_examples=150, deadline=None)
@given(problems())
def test_naive_runs_whenever_something_can_and_everything_when_it_fits(problem):
    assessment, present, table, budget = problem
    result = NaiveAllocation()(assessment, present, table, budget)
    assert bool(result.layers) == bool(CostLedger.open(present, table, budget).runnable)
    full = NaiveAllocation()(Assessment(), present, table, Budget(math.inf, table.unit))
    assert full == UpperBound()(Assessment(), present, table, Budget(math.inf, table.unit))
    assert full.layers == sum(table.modalities[m].depth for m, n in present.items() if n)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_requested_budget_is_reported(problem):
    assessment, present, table, budget = problem
    asked = Budget(5, "watts", "governor")
    for make in POLICIES.values():
        assert make(table)(assessment, present, table, budget, requested=asked).requested is asked


@pytest.mark.parametrize(("limit", "kept"), [
    (6, (0, 10, 11)), (8, (0, 8, 10, 11)), (12, (0, 1, 3, 8, 10, 11)), (16, (0, 1, 2, 4, 6, 8, 10, 11)),
    (24, tuple(range(12)))])
def test_naive_is_the_published_baseline_at_the_published_budgets(limit, kept):
    assert NaiveAllocation()(Assessment(), BOTH, GDTM, Budget(limit, "layers")).active == {RGB: kept, DEPTH: kept}


def test_naive_gives_the_layers_of_missing_modalities_to_the_others():
    naive = NaiveAllocation()
    assert naive(Assessment(), {DEPTH: 1}, GDTM, Budget(8, "layers")).active == {RGB: (), DEPTH: every_other(12, 8)}
    odd = naive(Assessment(), BOTH, GDTM, Budget(7, "layers"))
    assert {m: len(x) for m, x in odd.active.items()} == {RGB: 4, DEPTH: 3}
    one = naive(Assessment(), BOTH, GDTM, Budget(1, "layers"))
    assert one.active == {RGB: (0,), DEPTH: ()}
    assert one.reason is Reason.DEGRADED
    assert "depth" in one.reason_text


@pytest.mark.parametrize(("limit", "layers"), [(12, 3), (13, 3), (16, 4), (24, 6), (32, 8)])
def test_naive_keeps_equal_counts_with_the_papers_unequal_costs(limit, layers):
    """Table 4 of the paper: an image layer costs three audio layers; what is left over stays unspent."""
    costs = {RGB: ModalityCosts(12, (0,), (0,), (3,)), AUDIO: ModalityCosts(12, (0,), (0,), (1,))}
    table = LayerCosts("layers", 0, costs)
    result = NaiveAllocation()(Assessment(), {RGB: 1, AUDIO: 1}, table, Budget(limit, "layers"))
    assert {m: len(x) for m, x in result.active.items()} == {RGB: layers, AUDIO: layers}


def test_only_modality():
    only = OnlyModality(DEPTH)
    assert only(Assessment(), BOTH, GDTM, Budget(3, "layers")).active == {RGB: (), DEPTH: (0, 10, 11)}
    assert only(Assessment(), BOTH, GDTM, Budget(20, "layers")).active == {RGB: (), DEPTH: tuple(range(12))}
    assert only(Assessment(), BOTH, GDTM, Budget(3, "layers")).reason is Reason.ALLOCATED
    assert only(Assessment(), {RGB: 3}, GDTM, Budget(20, "layers")).reason is Reason.NO_INPUT
    assert only(Assessment(), BOTH, GDTM, Budget(0, "layers")).reason is Reason.BELOW_FLOOR


def test_upper_bound_is_all_or_nothing():
    assert UpperBound()(Assessment(), BOTH, GDTM, Budget(24, "layers")).layers == 24
    short = UpperBound()(Assessment(), BOTH, GDTM, Budget(23, "layers"))
    assert (short.layers, short.spent, short.reason) == (0, 0, Reason.BELOW_FLOOR)


def test_random_differs_by_frame_and_seed_and_covers_the_layers():
    budget, seen = Budget(8, "layers"), set()
    for frame in range(60):
        scores = {RGB: [frame / 7] * 12, DEPTH: [0.0] * 12}
        first, second = (RandomAllocation(s)(Assessment(scores), BOTH, GDTM, budget).active for s in (1, 2))
        assert first != second
        seen |= {(m, i) for m, layers in first.items() for i in layers}
    assert len(seen) == 24


def test_prefix_keeps_the_counts():
    scores = {RGB: [0.0] * 6 + [9.0] * 6, DEPTH: [-1.0] * 12}
    chosen = PrefixScores()(Assessment(scores, dict.fromkeys(BOTH, 1.0)), BOTH, GDTM, Budget(6, "layers"))
    assert chosen.active == {RGB: (0, 1, 2, 3, 4), DEPTH: (0,)}


@pytest.mark.parametrize("order", [every_other, prefix])
def test_orders_give_as_many_layers_as_asked(order):
    for depth in range(1, 17):
        for count in range(depth + 1):
            layers = order(depth, count)
            assert len(set(layers)) == count
            assert list(layers) == sorted(layers)
            assert all(0 <= i < depth for i in layers)
            assert not count or layers[0] == 0
        with pytest.raises(InputError):
            order(depth, depth + 1)
    assert every_other(5, 3) == (0, 2, 4)
    assert every_other(12, 2) == (0, 11)
    assert prefix(5, 3) == (0, 1, 2)


def brute_force(losses, present, table, budget):
    """Least loss of all listed allocations that the budget holds, computed the plain way."""
    best = math.inf
    for counts, loss in losses.items():
        cost = table.fixed
        ok = True
        for (m, c), k in zip(table.modalities.items(), counts, strict=True):
            n = present[m]
            ok &= bool(n) or not k
            if n:
                cost += c.controller[n - 1] + (c.embedding[n - 1] + k * c.layer[n - 1] if k else 0)
        if ok and Fraction(cost, MICRO[table.unit]) <= Fraction(repr(min(budget.limit, 1e300))):
            best = min(best, loss)
    return best


@settings(max_examples=150, deadline=None)
@given(problems(), st.integers(0, 5))
def test_static_search_is_the_best_by_enumeration(problem, seed):
    _, present, table, budget = problem
    losses = static_for(table, seed).losses
    static = StaticAllocation(tuple(table.modalities), losses)
    found = static.best(CostLedger.open(present, table, budget))
    best = brute_force(losses, present, table, budget)
    assert (found is None) == math.isinf(best)
    if found is not None:
        assert losses[tuple(found.values())] == best
        result = static(Assessment(), present, table, budget)
        assert {m: len(x) for m, x in result.active.items()} == found
        more = static.best(CostLedger.open(present, table, Budget(budget.limit * 2, table.unit)))
        assert losses[tuple(more.values())] <= best


def test_static_prefers_the_cheaper_of_equal_losses_among_the_listed():
    losses = {(1, 3): 1.0, (3, 3): 1.0, (2, 1): 1.0, (6, 0): 2.0}
    static = StaticAllocation((RGB, DEPTH), losses)
    chosen = static(Assessment(), BOTH, GDTM, Budget(9, "layers"))
    assert {m: len(x) for m, x in chosen.active.items()} == {RGB: 2, DEPTH: 1}
    assert static(Assessment(), {RGB: 2}, GDTM, Budget(9, "layers")).active == {RGB: every_other(12, 6), DEPTH: ()}
    assert static(Assessment(), BOTH, GDTM, Budget(2, "layers")).reason is Reason.BELOW_FLOOR


@pytest.mark.parametrize(("losses", "what"), [
    ({}, "none"), ({(1,): 0.0}, r"\(1,\)"), ({(0, 0): 0.0}, "not all 0"), ({(1, 1): math.nan}, "nan"),
    ({(-1, 1): 0.0}, "-1")])
def test_invalid_losses_are_refused(losses, what):
    with pytest.raises(InputError, match=what):
        StaticAllocation((RGB, DEPTH), losses)


def test_wrong_arguments_are_refused():
    with pytest.raises(InputError, match="13 layers of rgb"):
        StaticAllocation((RGB, DEPTH), {(13, 0): 0.0})(Assessment(), BOTH, GDTM, Budget(20, "layers"))
    with pytest.raises(InputError, match="audio"):
        StaticAllocation((RGB, AUDIO), {(1, 1): 0.0})(Assessment(), BOTH, GDTM, Budget(20, "layers"))
    one = Budget(1, "layers")
    for bad, present in ((Budget(1, "joules"), BOTH), (one, {RADAR: 1}), (one, {RGB: 4})):
        with pytest.raises(InputError):
            NaiveAllocation()(Assessment(), present, GDTM, bad)


def test_a_policy_that_overspends_is_refused():
    ledger = CostLedger.open(BOTH, GDTM, Budget(2, "layers"))
    with pytest.raises(InputError, match="cost of 3"):
        settle(ledger, {RGB: (0, 1, 2)}, [RGB])
    with pytest.raises(InputError, match="layers of rgb"):
        settle(ledger, {RGB: (12,)}, [RGB])
    with pytest.raises(InputError, match="layers of depth"):
        settle(CostLedger.open({RGB: 1}, GDTM, Budget(9, "layers")), {DEPTH: (0,)}, [RGB])
