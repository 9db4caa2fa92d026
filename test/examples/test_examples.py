# SPDX-License-Identifier: Apache-2.0
"""Every program of examples/ runs and prints what it promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def run(program: str, *arguments: str) -> list[str]:
    """Lines that a program prints; it must succeed."""
    done = subprocess.run([sys.executable, str(EXAMPLES / program), *arguments], cwd=ROOT, capture_output=True,
                          text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_program_is_listed_and_tested():
    programs = {path.name for path in EXAMPLES.glob("*.py")}
    assert programs == set(re.findall(r"\[(\w+\.py)\]", (EXAMPLES / "README.md").read_text()))
    tests = "".join(path.read_text() for path in (ROOT / "test").rglob("test_*example*.py"))
    assert all(f'"{name}"' in tests for name in programs)


def test_run_model():
    lines = run("run_model.py")
    spent = [int(m[1]) for line in lines if (m := re.search(r"spent +(\d+)", line))]
    assert spent == [3, 3, 2, 1]
    assert "nothing ran" in lines[-1]


def test_replay_bag():
    first, *lines = run("replay_bag.py")
    assert first.startswith("12 inputs, 0 configured topics")
    assert len(lines) >= 8
    for line in lines:
        budget = int(re.search(r"budget +(\d+)", line)[1])
        assert 1 <= sum(int(n) for n in re.findall(r"(?:rgb|depth|radar|audio) (\d+)", line)) <= budget
    errors_cm = [int(m[1]) for line in lines if (m := re.search(r"error (\d+) cm", line))]
    assert sorted(errors_cm)[len(errors_cm) // 2] < 30  # guessing the middle of the track gives 110


def test_new_corruption():
    lines = run("new_corruption.py")
    spots = {int(re.search(r"(\d+) spots", line)[1]) for line in lines}
    assert len(lines) == len(spots) == 3
    assert all(line.startswith("lens_dirt: severity 0.") for line in lines)


def test_new_dataset():
    lines = run("new_dataset.py")
    assert [line.partition(":")[0] for line in lines] == ["4 samples, budget 1", "4 samples, budget 24"]
