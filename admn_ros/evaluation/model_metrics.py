# SPDX-License-Identifier: Apache-2.0
"""`metrics.json` of a model folder: the main figures of one evaluation, and how to repeat it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from admn_ros.files import fingerprint, read_json, write_json
from admn_ros.model.checkpoint import METRICS, WEIGHTS

FORMAT = "admn-metrics-1"
Json = dict[str, Any]


def save_metrics(model: Path, results: Json) -> Path:
    """Write the main figures of an evaluation into the folder of its model.

    Args:
        model: model folder that was evaluated.
        results: content of `results.json`.

    Raises:
        InputError: the folder cannot be written.
    """
    path = model / METRICS
    write_json(path, {
        "format": FORMAT, "version": results["version"], "weights": _weights(model), "settings": results["settings"],
        "sources": results["sources"], "figures": [_figures(cell) for cell in results["cells"]]})
    return path


def read_metrics(model: Path) -> Json | None:
    """Return the metrics of a model folder; None if it has none, or those of other weights.

    Raises:
        InputError: the file cannot be read.
    """
    path = model / METRICS
    if not path.is_file():
        return None
    found = read_json(path)
    return found if found.get("format") == FORMAT and found.get("weights") == _weights(model) else None


def describe(figures: Json) -> str:
    """Format the figures of one cell in one line."""
    error, budget = figures["error_cm"], figures["budget"]
    limit = "all layers" if budget.get("limit") is None else f"{budget['limit']:g} {budget['unit']}"
    parts = [] if error is None else [
        f"error {error['mean']:.1f} cm (median {error['median']:.1f}, 95th percentile {error['p95']:.1f})"]
    parts += [] if figures["class_accuracy"] is None else [f"class {figures['class_accuracy']:.1%}"]
    parts += [f"{figures['violations']} overruns in {figures['frames']} frames"]
    return f"{figures['corruption']}, {figures['policy']}, {limit}: {', '.join(parts)}"


def _figures(cell: Json) -> Json:
    error, classes, coverage = cell["error_cm"], cell["classes"], cell["coverage"]
    return {"corruption": cell["corruption"], "policy": cell["policy"], "budget": cell["budget"],
            "frames": cell["frames"]["n"],
            "error_cm": None if error is None else {k: error[k] for k in ("mean", "mean_interval", "median", "p95")},
            "inside_ellipse": None if coverage is None else {k: inside["share"] for k, inside in coverage.items()},
            "class_accuracy": None if classes is None else classes["accuracy"],
            "class_calibration_error": None if classes is None else classes["calibration_error"],
            "violations": cell["violations"]}


def _weights(model: Path) -> str:
    return fingerprint([model / WEIGHTS], model, whole=True)
