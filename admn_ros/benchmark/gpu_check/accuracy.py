# SPDX-License-Identifier: Apache-2.0
"""What the precisions of a GPU cost in accuracy: the shipped model on the bundled recording."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from admn_ros.benchmark.gpu_check.outcome import Device, Outcome, judged
from admn_ros.deployment import load_deployment
from admn_ros.evaluation.plan import BagPlan, EvaluationPlan
from admn_ros.evaluation.run import evaluate
from admn_ros.inference.runtime import PRECISIONS
from admn_ros.share import find_shipped, share_directory

MODEL, DEMO, BUDGETS, FRAMES = "gdtm", "demo", (1.0, 4.0), 60
LARGEST_FACTOR = {"float32": 1.001, "bfloat16": 1.02, "float16": 1.005}
"""Mean error of each precision, at most, relative to that of a CPU."""
Errors = dict[float, float]
"""Mean error of the position in centimetres by budget in layers."""


def accuracy(device: Device) -> Iterator[Outcome]:
    """Compare the errors in each precision with those of a CPU."""
    expected = mean_errors_cm("cpu", "float32") if device == "cuda" else {}
    for precision in PRECISIONS:
        name = f"error of {MODEL}, {precision}"
        if device == "cuda":
            yield compare(name, mean_errors_cm(device, precision), expected, LARGEST_FACTOR[precision])
        else:
            yield Outcome(name=name, state="not run", detail="it is compared with that of a CPU")


def compare(name: str, found: Errors, expected: Errors, largest_factor: float) -> Outcome:
    """Judge errors against expected ones."""
    good = all(found[budget] <= largest_factor * error for budget, error in expected.items())
    return judged(name, good, ", ".join(f"{found[budget]:.3f} cm at {budget:g} layers (CPU {error:.3f})"
                                        for budget, error in expected.items()))


def mean_errors_cm(device: Device, precision: str, frames: int = FRAMES) -> Errors:
    """Evaluate the shipped model on frames of the bundled recording.

    Raises:
        AdmnError: the recording or the model is missing.
    """
    plan = EvaluationPlan.model_validate({
        "sources": (str(share_directory() / "config" / DEMO),), "kind": "bag", "budgets": BUDGETS, "limit": frames,
        "model": str(find_shipped(MODEL, "models")), "device": device, "precision": precision,
        "bag": BagPlan(deployment=load_deployment(DEMO))})
    with tempfile.TemporaryDirectory() as folder:
        cells = evaluate(plan, Path(folder) / "out")["cells"]
    return {cell["budget"]["limit"]: cell["error_cm"]["mean"] for cell in cells}
