# SPDX-License-Identifier: Apache-2.0
"""The comparison of the engine with an earlier commit, with the last commit as the earlier one."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the git history")
def test_a_row_for_each_budget_and_number_of_threads():
    command = [sys.executable, "build_support/compare_commit.py", "HEAD", "--layers", "1", "3", "--threads", "1",
               "--turns", "1"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[:2] for row in rows] == [["1", "1"], ["1", "3"]]
    assert all(float(row[-1]) <= 1e-4 for row in rows), "estimates"
