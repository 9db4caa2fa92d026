# SPDX-License-Identifier: Apache-2.0
"""Layers for a limit in another unit: sound for every allocation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import LayerCosts, MeasuredCosts, MeasuredModality, MeasuredTable
from admn_ros.errors import InputError
from admn_ros.governor.layer_equivalent import LayerEquivalent, PowerModel, frame_energy
from admn_ros.model.costs import ModelCosts
from admn_ros.model.presets import preset
from admn_ros.sample import Modality

RGBD = preset("rgbd")


def table(scale: float) -> MeasuredTable:
    return MeasuredTable(fixed=scale, modalities={
        Modality.RGB: MeasuredModality(controller=(0.1 * scale,), embedding=(0.2 * scale,), layer=(0.5 * scale,)),
        Modality.DEPTH: MeasuredModality(controller=(0.1 * scale,), embedding=(0.4 * scale,), layer=(0.3 * scale,))})


COSTS = ModelCosts(RGBD, MeasuredCosts(device="a", torch="2", threads=1, date="d", repeats=3, milliseconds=table(1.0),
                                       power_w=10.0, joules=table(0.01)))
EQUIVALENT = LayerEquivalent(COSTS, max_layers=7)


def spent(costs: LayerCosts, layers: dict[Modality, int]) -> int:
    """What a frame costs that runs so many layers of each modality, with everything present."""
    present = {m: c.nodes for m, c in costs.modalities.items()}
    used = ((costs.modalities[m], n) for m, n in layers.items() if n)
    return costs.base(present) + sum(c.embedding[-1] + n * c.layer[-1] for c, n in used)


@settings(max_examples=200)
@given(st.sampled_from(["gflops", "milliseconds", "joules"]), st.floats(0, 1.2), st.data())
def test_no_allocation_of_the_granted_layers_exceeds_the_limit(unit: str, share: float, data: st.DataObject) -> None:
    costs = COSTS.table(unit)
    limit = share * costs.amount(costs.total(dict.fromkeys(costs.modalities, 1)))
    budget = Budget(limit, unit)  # type: ignore[arg-type]
    layers = EQUIVALENT.layers(budget, 15.0)
    if layers == 0:
        return
    rgb = data.draw(st.integers(max(0, layers - 12), min(12, layers)))
    cost = spent(costs, {Modality.RGB: rgb, Modality.DEPTH: layers - rgb})
    assert cost <= costs.room(budget, dict.fromkeys(costs.modalities, 1))


def test_everything_is_granted_to_a_limit_that_holds_everything() -> None:
    for unit in ("layers", "gflops", "milliseconds", "joules"):
        costs = COSTS.table(unit)
        everything = costs.amount(costs.total({Modality.RGB: 1, Modality.DEPTH: 1}))
        assert EQUIVALENT.layers(Budget(everything, unit), 15.0) == 24  # type: ignore[arg-type]
        assert EQUIVALENT.layers(Budget(math.inf, unit), 15.0) == 24  # type: ignore[arg-type]
        assert EQUIVALENT.layers(Budget(0.0, unit), 15.0) == 0  # type: ignore[arg-type]


def test_watts_are_joules_per_frame_times_the_rate() -> None:
    assert EQUIVALENT.layers(Budget(0.9, "watts"), 10.0) == EQUIVALENT.layers(Budget(0.09, "joules"), 10.0) > 0


def test_without_costs_layers_alone_can_be_converted() -> None:
    plain = LayerEquivalent(None, max_layers=7)
    assert plain.layers(Budget(5.9, "layers"), 15.0) == 5
    assert plain.layers(Budget(math.inf, "layers"), 15.0) == 7
    with pytest.raises(InputError, match="measured costs"):
        plain.layers(Budget(5, "gflops"), 15.0)


def test_measured_joules_make_the_power_model() -> None:
    energy = frame_energy(COSTS)
    assert energy is not None
    power = PowerModel.of(*energy, 10.0)
    total = COSTS.table("joules")
    everything_j = total.amount(total.total({Modality.RGB: 1, Modality.DEPTH: 1}))
    assert power.watts(24) == pytest.approx(10.0 * everything_j)
    assert power.layers(power.watts(7)) == pytest.approx(7)
    assert power.layers(0.0) == power.watts(0) == 0
    assert frame_energy(ModelCosts(RGBD)) is None
