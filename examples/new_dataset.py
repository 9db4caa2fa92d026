# SPDX-License-Identifier: Apache-2.0
"""Read a dataset in a format of your own, and score a model on it.

A reader has a length and returns samples by number. Its entry in `READERS` gives it a kind. Here the entry is
made at run time; in `admn_ros/datasets/open.py` it serves training files and `admn evaluate --kind`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import admn_ros
from admn_ros.datasets.open import READERS, open_dataset
from admn_ros.datasets.source import LabeledReadings
from admn_ros.sample import Target
from admn_ros.scoring.metrics import distances


class NpzFolder:
    """A folder SPLIT/*.npz; each file has `rgb`, `depth` and `position` of one sample of one sensor node."""

    def __init__(self, folder: Path, split: str) -> None:
        self._files = sorted((folder / split).glob("*.npz"))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> LabeledReadings:
        with np.load(self._files[index], allow_pickle=False) as arrays:
            readings = {admn_ros.SensorKey("node1", m): arrays[m.value]
                        for m in (admn_ros.Modality.RGB, admn_ros.Modality.DEPTH)}
            x, y, z = arrays["position"].tolist()
        return LabeledReadings(readings, Target((x, y, z)))


def write_samples(folder: Path, count: int = 4) -> None:
    """Write a small dataset of noise."""
    (folder / "test").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        np.savez(folder / "test" / f"{number:04d}.npz", rgb=rng.integers(0, 256, (270, 480, 3), dtype=np.uint8),
                 depth=rng.uniform(0.5, 5.0, (120, 160)).astype(np.float32), position=rng.uniform(-1, 1, 3))


def main() -> None:
    """Print the mean error of the shipped model within two budgets."""
    READERS["npz_folder"] = NpzFolder
    model = admn_ros.load_model("gdtm")
    with tempfile.TemporaryDirectory() as folder:
        write_samples(Path(folder))
        source = open_dataset("npz_folder", folder, "test", model=model.config)
        samples = [source[k] for k in range(len(source))]
        truth = np.array([s.target.position_m[:2] for s in samples])
        for limit in (1, 24):
            budget = admn_ros.Budget(limit, "layers")
            estimates = [model.engine.infer(s.sample(model.config), budget) for s in samples]
            errors_m = distances(np.array([e.mean_m[:2] for e in estimates]), truth)
            print(f"{len(source)} samples, budget {limit}: mean error {100 * errors_m.mean():.0f} cm")


if __name__ == "__main__":
    main()
