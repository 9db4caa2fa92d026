# SPDX-License-Identifier: Apache-2.0
"""Program that each process of `test_processes.py` runs: finetuning, and a record of it.

Arguments: dataset, model folder, output folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.errors import AdmnError, InputError
from admn_ros.model.checkpoint import load_model
from admn_ros.sample import MultimodalSample
from admn_ros.training.config import LossConfig, OptimizerConfig
from admn_ros.training.data import Samples
from admn_ros.training.loop import RATE, fit
from admn_ros.training.processes import Processes, joined
from admn_ros.training.stages.finetune import Finetune, FinetuneConfig

OPTIMIZER = OptimizerConfig(learning_rate=1e-3, batch=5, epochs=2, seed=3, keep="best", best_of="val/full/nll")


class Recorded(Samples):
    """Records the indices of the requested samples."""

    def __init__(self, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)  # type: ignore[arg-type]
        self.seen: list[tuple[int, int]] = []

    def sample(self, epoch: int, index: int) -> MultimodalSample:
        self.seen.append((epoch, index))
        return super().sample(epoch, index)


def train(dataset: Path, model: Path, output: Path) -> None:
    with joined("cpu") as processes:
        network = load_model(model)
        # 11 samples in batches of 5: neither 5 nor the last batch's single one divides by two.
        samples = Recorded(Some(dataset), network.config, seed=3)
        validation = Recorded(ShardDataset(dataset, "val"), network.config)
        # Classes alone: every sample has one, so the mean over processes is that over the batch.
        config = FinetuneConfig(modality_dropout=0.3, loss=LossConfig(nll=0, distance_per_cm=0))
        rows = [{name: value for name, value in row.items() if name != RATE}
                for row in fit(Finetune(network, config), samples, validation, OPTIMIZER, output / "run",
                               processes=processes)]
        torch.save({"weights": network.state_dict(), "seen": samples.seen, "validated": len(validation.seen),
                    "rows": rows, "error": received_error(processes)}, output / f"process{processes.rank}.pt")


def received_error(processes: Processes) -> str:
    """Return the error that a process gets if the first one fails."""
    def full() -> None:
        raise InputError("disk", "full", "room")

    try:
        processes.lead(full)
    except AdmnError as error:
        return str(error)
    return ""


class Some(ShardDataset):
    """The first eleven training samples."""

    def __init__(self, dataset: Path) -> None:
        super().__init__(dataset, "train")

    def __len__(self) -> int:
        return 11


if __name__ == "__main__":
    train(*map(Path, sys.argv[1:]))
