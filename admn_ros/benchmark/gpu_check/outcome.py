# SPDX-License-Identifier: Apache-2.0
"""What a check found."""

from __future__ import annotations

from typing import Literal

from admn_ros.config import Strict

Device = Literal["cpu", "cuda"]


class Outcome(Strict):
    """What one check found.

    Attributes:
        name: the check.
        state: passed, failed, or `not run`.
        detail: figure or reason.
    """

    name: str
    state: Literal["passed", "failed", "not run"]
    detail: str


def judged(name: str, good: bool, detail: str) -> Outcome:
    """Return the outcome of a check that ran."""
    return Outcome(name=name, state="passed" if good else "failed", detail=detail)
