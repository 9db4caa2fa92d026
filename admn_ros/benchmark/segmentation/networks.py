# SPDX-License-Identifier: Apache-2.0
"""Networks of the segmentation study, trained on first use: static ones, and DynMM by each training strategy."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch

from admn_ros.baselines.segmentation.network import RgbdSegmentation
from admn_ros.benchmark.dynmm.strategies import Strategy
from admn_ros.benchmark.segmentation.config import SegmentationStudy
from admn_ros.benchmark.tables.config import Effort, SplitConfig
from admn_ros.benchmark.tables.training import OnStep, Part, TrainingStore
from admn_ros.datasets.corrupted import preset_for_source
from admn_ros.datasets.open import open_dataset
from admn_ros.datasets.source import SampleSource, recording_of
from admn_ros.errors import InputError
from admn_ros.model.checkpoint import initialize
from admn_ros.model.presets import preset
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import Samples
from admn_ros.training.processes import Processes
from admn_ros.training.rivals.segmentation_gate import SegmentationGate, SegmentationGateConfig
from admn_ros.training.seeding import CORRUPTION, derive

CACHE_MB = 1024
RARE = 1.02
"""Classes weigh 1 / log(RARE + share of their pixels), as in ENet (Paszke et al. 2016)."""


class SegmentationSplits:
    """Training, validation and test samples with masks, each with one draw of the corruption.

    Args:
        study: configuration.
        dataset: folder of the dataset.

    Raises:
        InputError: the dataset cannot be read, or has no masks.
    """

    def __init__(self, study: SegmentationStudy, dataset: Path) -> None:
        self._study, self._dataset = study, dataset
        self._test_source = self._open(study.test)
        train = self._open(study.train)
        self.classes = _mask_classes(dataset, study, train)
        self._train = self._samples(study.train, train)
        self.validation = self._samples(study.validation, self._open(study.validation))
        self.test = self._samples(study.test, self._test_source)

    def train(self, seed: int, clean_epochs: int) -> Samples:
        """Return the training samples in the order of a seed; the first `clean_epochs` epochs are not corrupted."""
        return self._train.ordered(seed, clean_epochs)

    def scene(self, index: int) -> str:
        """Return the recording of a test sample, for the bootstrap."""
        return recording_of(self._test_source, index) or str(index)

    def class_weights(self) -> tuple[float, ...]:
        """Return the weight of each class, from its share of the training pixels."""
        counts = np.zeros(len(self.classes))
        for i in range(len(self._train)):
            target = self._train.sample(0, i).target
            if target is not None and target.mask is not None:
                pixels = target.mask.astype(np.int64)
                counts += np.bincount(pixels[pixels >= 0], minlength=len(counts))
        return tuple(round(float(w), 4) for w in 1 / np.log(RARE + counts / max(1.0, counts.sum())))

    def _open(self, wanted: SplitConfig) -> SampleSource:
        return open_dataset(self._study.source, self._dataset, wanted.split, model=preset(self._study.model),
                            limit=wanted.samples)

    def _samples(self, wanted: SplitConfig, source: SampleSource) -> Samples:
        model, seed = preset(self._study.model), derive(self._study.seed, CORRUPTION, zlib.crc32(wanted.split.encode()))
        return Samples(source, model, preset_for_source(self._study.corruption, source, model), seed=seed,
                       draws=wanted.draws, cache_mb=CACHE_MB)


def _mask_classes(dataset: Path, study: SegmentationStudy, source: SampleSource) -> tuple[str, ...]:
    while hasattr(source, "source"):   # views of the dataset
        source = source.source
    classes = getattr(source, "mask_classes", None)
    if not classes:
        raise InputError("source", study.source, f"a kind of dataset with masks, in {dataset}")
    return tuple(classes)


class SegmentationNetworks:
    """Trains the networks, each once; the store keeps them.

    Args:
        study: configuration.
        data: folder of the dataset.
        work: folder of trained networks; can be deleted.
        device: device; None is the CPU.
        on_step: callback for the progress.

    Raises:
        InputError: the dataset cannot be read, or has no masks.
    """

    def __init__(self, study: SegmentationStudy, data: Path, work: Path, *, device: torch.device | None = None,
                 on_step: OnStep = lambda what, at, of: None) -> None:
        self.study, self.splits = study, SegmentationSplits(study, data)
        processes = Processes(device=device or torch.device("cpu"))
        self.device = processes.device
        self.store = TrainingStore(study, self.splits, work / study.fingerprint, processes, on_step)
        self.config = study.network(self.splits.classes)
        self._weights = self.splits.class_weights()

    def static(self, blocks: int, seed: int) -> SegmentationGate:
        """Return a network that always runs the same number of depth blocks.

        Raises:
            AdmnError: a training fails.
        """
        effort = self._whole_effort()
        return self._part(f"static{blocks}-s{seed}", effort, seed, None, blocks=blocks, price=0.0,
                          random_epochs=0, hard_epochs=0).stage

    def gated(self, strategy: Strategy, price: float, seed: int) -> SegmentationGate:
        """Return DynMM with a price on compute, trained by a strategy.

        Raises:
            AdmnError: a training fails.
        """
        name = f"{strategy}-{price:g}-s{seed}"
        if strategy == "one_stage":
            return self._part(name, self._whole_effort(), seed, None, price=price, random_epochs=0,
                              hard_epochs=0).stage
        known = self._part(f"pretrained-s{seed}", self.study.pretrain, seed, None, price=0.0,
                           random_epochs=self.study.pretrain.epochs, hard_epochs=0).stage.network
        return self._part(name, self.study.gate, seed, known, price=price, random_epochs=0, hard_epochs=0,
                          joint=strategy == "joint").stage

    def _whole_effort(self) -> Effort:
        """Return the training of a network in one stage: as many epochs as in two."""
        both = self.study.pretrain.epochs + self.study.gate.epochs
        return self.study.pretrain.model_copy(update={"epochs": both})

    def _part(self, name: str, effort: Effort, seed: int, known: RgbdSegmentation | None,
              **settings: float | int | bool) -> Part[SegmentationGate]:
        def recipe(optimizer: OptimizerConfig, price: float) -> SegmentationGate:
            network = RgbdSegmentation(self.config)
            initialize(network, optimizer.seed)
            if known is not None:
                network.load_state_dict(known.state_dict())
            return SegmentationGate(network, SegmentationGateConfig.model_validate(
                {"optimizer": optimizer, "class_weights": self._weights, **settings}))

        return self.store.part(name, name, effort, recipe, seed=seed)
