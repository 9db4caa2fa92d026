# SPDX-License-Identifier: Apache-2.0
"""Freezing and delay in evaluations of recordings and of datasets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from admn_ros.evaluation.records import read_columns
from admn_ros.evaluation.run import evaluate

pytestmark = pytest.mark.slow

PRESETS = {"room-freeze": "freezing", "room-delay": "delay"}


def check(folder: Path) -> None:
    """Each preset is in the records, and changes the estimates of the frames that it affects."""
    clean = read_columns(folder / "records" / "clean.npz")
    for name, kind in PRESETS.items():
        found = read_columns(folder / "records" / f"{name}.npz")
        assert set(np.unique(found["kind"])) == {"clean", kind}
        assert (found["severity"].max(axis=1) > 0).all()  # one modality in every frame
        changed = (found["mean_m"] != clean["mean_m"]).any(axis=(1, 2))
        assert changed.sum() > len(changed) / 4


def test_recordings(bag, make_bag_plan, tmp_path):
    changes = {"corruptions": ["clean", *PRESETS]}
    evaluate(make_bag_plan(bag, hold_s=0.5, changes=changes), tmp_path / "all")
    check(tmp_path / "all")
    # Frames that are not evaluated are still shown later.
    evaluate(make_bag_plan(bag, hold_s=0.5, changes={**changes, "limit": 6}), tmp_path / "few")
    for name in PRESETS:
        every, few = (read_columns(tmp_path / f / "records" / f"{name}.npz") for f in ("all", "few"))
        kept = np.isin(every["index"], few["index"])
        assert 0 < kept.sum() < len(kept)
        for column in ("mean_m", "severity"):
            assert np.array_equal(every[column][kept], few[column], equal_nan=True)


@pytest.mark.parametrize("limit", [None, 20])
def test_datasets(make_plan, tmp_path, limit):
    evaluate(make_plan(corruptions=["clean", *PRESETS], policies=["allocate"], limit=limit), tmp_path / "out")
    check(tmp_path / "out")
