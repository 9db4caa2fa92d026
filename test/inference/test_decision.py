# SPDX-License-Identifier: Apache-2.0
"""What was decided about the inputs of a frame, as lines of text."""

from __future__ import annotations

import math

import pytest

from admn_ros.budget.budget import Budget
from admn_ros.inference.decision import FrameDecision, InputDecision, input_decisions, left_out
from admn_ros.model.allocation import Allocation, InputChoice, Reason, Why
from admn_ros.sample import Modality


def decision(name: str, why: str = "ran", value: float = math.nan, cost: float = 0.0) -> InputDecision:
    node, modality = name.split("/")
    return InputDecision(modality, node, value, cost, why == "ran", why)


@pytest.mark.parametrize(("found", "text"), [
    (decision("node2/depth", "no reading"), "node2/depth did not run: no reading"),
    (decision("node2/depth", "too dear", 1.23456, 0.9), "node2/depth did not run: too dear (value 1.23, cost 0.9 J)"),
    (decision("node2/depth", value=2.5, cost=1.0), "node2/depth ran: value 2.5, cost 1 J"),
    (decision("node2/depth"), "node2/depth ran")], ids=["absent", "left", "ran", "unknown"])
def test_an_input_is_one_line(found, text):
    assert found.text("J") == text


def test_reasons_are_grouped_and_a_modality_stands_for_all_its_nodes():
    found = [decision("a/rgb"), decision("b/rgb", "no reading"), decision("a/depth", "no room"),
             decision("b/depth", "no room"), decision("a/radar", "no room"), decision("b/radar", "no reading")]
    assert left_out(found) == ["b/rgb, b/radar: no reading", "depth, a/radar: no room"]
    assert left_out([decision("a/rgb", "no reading")]) == ["a/rgb: no reading"], "one node has a name"
    assert left_out([]) == []


def test_an_allocation_names_its_sensor_nodes():
    choices = (InputChoice(Modality.RGB, 1, 0.5, 2.0, Why.RAN),)
    allocation = Allocation({Modality.RGB: (0,)}, {Modality.RGB: 2.0}, 2.0, Budget(4, "layers", ""), 4.0, "layers",
                            Reason.ALLOCATED, "fine", {Modality.RGB: (1,)}, choices)
    assert input_decisions(allocation, ("left", "right")) == (InputDecision("rgb", "right", 0.5, 2.0, True, "ran"),)
    assert FrameDecision(1, math.inf, 2.0, "layers", "fine", ()).text() == "budget no limit, spent 2 layers: fine"
