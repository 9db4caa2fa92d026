# SPDX-License-Identifier: Apache-2.0
"""One list of budget units, also where it cannot be imported."""

from __future__ import annotations

import re
from pathlib import Path

from admn_ros.config import BUDGET_UNITS
from admn_ros.views.dashboard import SHORT_UNITS

ROOT = Path(__file__).parents[1]


def test_the_message_numbers_the_units_in_order() -> None:
    text = (ROOT / "msg" / "ComputeBudget.msg").read_text(encoding="utf-8")
    found = {int(number): name.lower() for name, number in re.findall(r"^uint8 UNIT_(\w+)=(\d+)", text, re.MULTILINE)}
    assert [found[i] for i in range(len(found))] == list(BUDGET_UNITS)


def test_the_launch_file_offers_the_units() -> None:
    text = (ROOT / "launch" / "gdtm.launch.py").read_text(encoding="utf-8")
    [choices] = re.findall(r'"budget_unit": \[([^]]*)\]', text)
    assert re.findall(r'"(\w+)"', choices) == list(BUDGET_UNITS)


def test_the_dashboard_has_a_name_for_each_unit() -> None:
    assert tuple(SHORT_UNITS) == BUDGET_UNITS
