# SPDX-License-Identifier: Apache-2.0
"""The README documents the parameters, commands and files."""

from __future__ import annotations

import re
from pathlib import Path

from admn_ros.cli import main
from admn_ros.config import BUDGET_UNITS
from admn_ros.msg import ComputeBudget
from admn_ros.nodes.perception.parameters import PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_every_parameter_is_in_the_readme_with_its_default():
    for spec in PARAMETERS:
        rows = [line for line in README.splitlines() if line.startswith("|") and f"`{spec.name}`" in line.split("|")[1]]
        assert len(rows) == 1, spec.name
        row, default = rows[0], str(spec.default).lower().removesuffix(".0")
        assert not default or f"`{default}`" in row, f"{spec.name}: default {default} is not in {row}"


def test_units_are_the_messages_in_order():
    assert [getattr(ComputeBudget, f"UNIT_{unit.upper()}") for unit in BUDGET_UNITS] == list(range(len(BUDGET_UNITS)))


def test_every_command_and_file_in_the_readme_exists(capsys):
    for command in set(re.findall(r"(?:^|`)admn ([a-z-]+)", README, flags=re.M)):
        try:
            main([command, "--help"])
        except SystemExit as done:
            assert done.code == 0, command
    for path in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / path).exists(), path
