# SPDX-License-Identifier: Apache-2.0
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import LayerCosts, MeasuredCosts, MeasuredModality, MeasuredTable, ModalityCosts
from admn_ros.config import dump_config
from admn_ros.errors import InputError
from admn_ros.model.costs import ModelCosts, flop_costs, layer_costs
from admn_ros.model.presets import preset
from admn_ros.sample import Modality

RGBD = preset("rgbd")
ALL = {Modality.RGB: 1, Modality.DEPTH: 1}


def table(fixed=1.0, controller=0.1, embedding=0.25, layer=0.5, modalities=("rgb", "depth")):
    one = MeasuredModality(controller=(controller,), embedding=(embedding,), layer=(layer,))
    return MeasuredTable(fixed=fixed, modalities={Modality(m): one for m in modalities})


def measured(**changes):
    values = {"device": "a", "torch": "2", "threads": 1, "date": "d", "repeats": 3, "milliseconds": table()}
    return MeasuredCosts(**{**values, **changes})


def test_costs_in_layers_count_layers_only():
    costs = layer_costs(preset("gdtm"))
    assert costs.fixed == 0
    assert costs.total({Modality.RGB: 1, Modality.DEPTH: 0}) == 12
    assert costs.total({Modality.RGB: 3, Modality.DEPTH: 3}) == 24


def test_flops_of_the_paper_network():
    # The official network counts 211.332 GFLOP for three nodes, 24 layers and the controller.
    costs = flop_costs(preset("gdtm"))
    everything = costs.amount(costs.total({Modality.RGB: 3, Modality.DEPTH: 3}))
    assert everything == pytest.approx(211.332, rel=1e-3)
    # One ViT-B layer of 197 tokens: 1.454 GMAC.
    assert costs.amount(costs.modalities[Modality.RGB].layer[0]) == pytest.approx(2 * 1.454, rel=1e-3)


def test_flops_grow_with_each_present_node():
    rgb = flop_costs(preset("gdtm")).modalities[Modality.RGB]
    for part in (rgb.controller, rgb.embedding, rgb.layer):
        assert part[2] == 3 * part[0] > 0


def test_a_frame_costs_the_sum_of_its_parts():
    costs = ModelCosts(RGBD, measured()).table("milliseconds")
    assert costs.amount(costs.base(ALL)) == 1.2
    assert costs.amount(costs.base({Modality.RGB: 1, Modality.DEPTH: 0})) == 1.1
    assert costs.amount(costs.modalities[Modality.RGB].backbone(1, 1)) == 0.75
    assert costs.amount(costs.total(ALL)) == 1.2 + 2 * (0.25 + 12 * 0.5)
    assert costs.amount(costs.price({Modality.DEPTH: 3}, ALL)) == 1.2 + 0.25 + 3 * 0.5
    assert costs.price({Modality.DEPTH: 0}, ALL) == 0


@st.composite
def frames(draw):
    """A random table, and layers and present sensor nodes of five frames."""
    nodes, price = draw(st.integers(1, 3)), st.integers(0, 10**12)
    parts = st.lists(price, min_size=nodes, max_size=nodes).map(tuple)
    chosen = draw(st.lists(st.sampled_from(list(Modality)), min_size=1, unique=True))
    costs = LayerCosts("gflops", draw(price), {
        m: ModalityCosts(draw(st.integers(1, 4)), draw(parts), draw(parts), draw(parts)) for m in chosen})
    layers = [[draw(st.integers(0, c.depth)) for c in costs.modalities.values()] for _ in range(5)]
    present = [[draw(st.integers(0, nodes)) for _ in chosen] for _ in range(5)]
    return costs, np.array(layers), np.array(present)


@settings(max_examples=200, deadline=None)
@given(frames())
def test_prices_of_many_frames_are_those_of_each(case):
    costs, layers, present = case
    for got, ran, nodes in zip(costs.prices(layers, present).tolist(), layers.tolist(), present.tolist(), strict=True):
        expected = costs.fixed if any(ran) else 0
        for part, k, n in zip(costs.modalities.values(), ran, nodes, strict=True):
            if any(ran) and n:
                expected += part.controller[n - 1] + (part.embedding[n - 1] + k * part.layer[n - 1] if k else 0)
        assert got == expected
        modalities = list(costs.modalities)
        assert got == costs.price(dict(zip(modalities, ran, strict=True)), dict(zip(modalities, nodes, strict=True)))


def test_decimal_limits_are_exact():
    # As binary floats 0.29 * 1e6 is 289999.99..., and a budget of 0.29 would not hold a cost of 0.29.
    joules = table(fixed=0.29, controller=0, embedding=0, layer=0)
    costs = ModelCosts(RGBD, measured(joules=joules)).table("joules")
    big = LayerCosts("joules", 0, {Modality.RGB: ModalityCosts(9, (0,), (0,), (10**6,))})
    assert costs.fixed == 290000
    assert big.room(Budget(0.29, "joules"), {Modality.RGB: 1}) == 290000


@settings(deadline=None)
@given(st.floats(0, 1e6, exclude_min=True), st.floats(0, 1e6))
def test_costs_round_up_and_budgets_down(cost, limit):
    joules = table(fixed=cost)
    costs = ModelCosts(RGBD, measured(joules=joules)).table("joules")
    assert Fraction(costs.fixed, 10**6) >= Fraction(repr(cost))
    room = costs.room(Budget(limit, "joules"), ALL)
    assert Fraction(room, 10**6) <= Fraction(repr(limit))
    assert costs.amount(room) <= limit


@pytest.mark.parametrize("limit", [math.inf, 1e300])
def test_an_unlimited_budget_is_the_cost_of_everything(limit):
    costs = layer_costs(RGBD)
    assert costs.room(Budget(limit, "layers"), ALL) == 24


def test_a_budget_in_another_unit_is_refused():
    with pytest.raises(InputError, match="allowed: layers"):
        layer_costs(RGBD).room(Budget(1, "gflops"), ALL)


def test_units_without_measurements():
    costs = ModelCosts(RGBD)
    assert costs.units == ("layers", "gflops")
    with pytest.raises(InputError) as error:
        costs.table("milliseconds")
    assert str(error.value) == ("unit: found milliseconds; allowed: layers, gflops "
                                "(this model has no measured costs; run `admn profile`)")


def test_milliseconds_without_joules():
    costs = ModelCosts(RGBD, measured())
    assert costs.units == ("layers", "gflops", "milliseconds")
    with pytest.raises(InputError, match="joules were not measured"):
        costs.table("joules")


def test_costs_come_from_the_model_folder(tmp_path):
    assert ModelCosts.load(RGBD, tmp_path).measured is None
    dump_config(measured(power_w=4.0, joules=table(fixed=0.5)), tmp_path / "costs.yaml")
    costs = ModelCosts.load(RGBD, tmp_path)
    assert costs.units == ("layers", "gflops", "milliseconds", "joules")
    assert costs.table("joules").fixed == 500_000


@pytest.mark.parametrize(("change", "field"), [
    ({"milliseconds": table(modalities=("rgb",))}, "milliseconds.modalities"),
    ({"milliseconds": table(modalities=("rgb", "audio"))}, "milliseconds.modalities"),
    ({"joules": MeasuredTable(fixed=1, modalities={
        Modality.RGB: MeasuredModality(controller=(1.0, 1.0), embedding=(1.0,), layer=(1.0,)),
        Modality.DEPTH: MeasuredModality(controller=(1.0,), embedding=(1.0,), layer=(1.0,))})},
     "joules.modalities.rgb.controller"),
])
def test_costs_of_another_model_are_refused(tmp_path, change, field):
    dump_config(measured(**change), tmp_path / "costs.yaml")
    with pytest.raises(InputError, match=field) as error:
        ModelCosts.load(RGBD, tmp_path)
    assert "costs.yaml" in str(error.value)


def test_a_broken_costs_file_is_refused(tmp_path):
    (tmp_path / "costs.yaml").write_text("format: admn-costs-1\nmilliseconds: 3\n")
    with pytest.raises(InputError, match=r"costs\.yaml"):
        ModelCosts.load(RGBD, tmp_path)


@pytest.mark.parametrize("costs", [((-1,), (0,), (0,)), ((0, 0), (0,), (0,)), ((), (), ())])
def test_impossible_costs_are_refused(costs):
    with pytest.raises(InputError):
        ModalityCosts(1, *costs)
