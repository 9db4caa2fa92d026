# SPDX-License-Identifier: Apache-2.0
"""An evaluation with ONNX Runtime gives the records of one with PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from admn_ros.cli import main
from admn_ros.evaluation.records import read_columns
from admn_ros.evaluation.results_folder import TIMINGS, read_results
from admn_ros.files import read_json
from admn_ros.inference.onnx.export import export_model

pytestmark = pytest.mark.slow  # tracing a network takes seconds

RELATIVE = 1e-4
"""Largest difference, as a share of the largest value."""


def test_records_are_those_of_pytorch(dataset: Path, model: Path, tmp_path: Path) -> None:
    export_model(model, tmp_path / "model")
    for engine in ("torch", "onnxruntime"):
        assert not main(["evaluate", str(dataset), "--model", str(tmp_path / "model"), "--engine", engine, "--out",
                         str(tmp_path / engine), "--budgets", "2", "inf", "--limit", "12", "--corruption", "room-all",
                         "--policy", "allocate", "naive", "--no-report"])
        assert read_json(tmp_path / engine / TIMINGS)["machine"]["runtime"].startswith(engine)
        assert all(c["violations"] == c["ran_unlike_listed"] == 0 for c in read_results(tmp_path / engine)["cells"])
    expected, found = (read_columns(tmp_path / engine / "records" / "room-all.npz")
                       for engine in ("torch", "onnxruntime"))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        if values.dtype.kind == "f":
            largest = np.nanmax(np.abs(values), initial=0.0, where=np.isfinite(values))
            np.testing.assert_allclose(found[name], values, rtol=RELATIVE, atol=RELATIVE * largest, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)
