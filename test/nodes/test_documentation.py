# SPDX-License-Identifier: Apache-2.0
"""The documentation has the parameters of the node, and the units of the messages."""

from __future__ import annotations

from pathlib import Path

from admn_ros.config import BUDGET_UNITS
from admn_ros.msg import ComputeBudget
from admn_ros.nodes.perception.parameters import PARAMETERS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "node.md").read_text()


def test_every_parameter_is_documented_with_its_default():
    for spec in PARAMETERS:
        rows = [line for line in PAGE.splitlines() if line.startswith("|") and f"`{spec.name}`" in line.split("|")[1]]
        assert len(rows) == 1, spec.name
        row, default = rows[0], str(spec.default).lower().removesuffix(".0")
        assert not default or f"`{default}`" in row, f"{spec.name}: default {default} is not in {row}"


def test_units_are_the_messages_in_order():
    assert [getattr(ComputeBudget, f"UNIT_{unit.upper()}") for unit in BUDGET_UNITS] == list(range(len(BUDGET_UNITS)))
