# SPDX-License-Identifier: Apache-2.0
"""A few steps of every training stage, in every precision."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from admn_ros.benchmark.gpu_check.stages import STAGES, Precision, train_briefly
from admn_ros.training.settings import STAGES as TRAINED
from helpers import evidence, models


def test_there_is_a_trial_of_every_stage() -> None:
    assert set(STAGES) == set(TRAINED)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_trains_in_every_precision(stage: str, device: str, tmp_path: Path) -> None:
    precisions: tuple[Precision, ...] = ("float32", "bfloat16", "float16")
    model = evidence.described(models.one_node())
    losses = []
    for precision in precisions:
        row = train_briefly(stage, model, tmp_path / precision, device=device, precision=precision)
        assert all(math.isfinite(value) for name, value in row.items() if name.startswith("train/"))
        losses.append(row["train/loss"])
    assert len(set(losses)) == 3
    assert torch.allclose(torch.tensor(losses), torch.tensor(losses[0]), rtol=0.05)
