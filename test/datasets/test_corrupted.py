# SPDX-License-Identifier: Apache-2.0
"""Corrupted datasets: reproducible in any order, labelled, and independent across samples."""

from __future__ import annotations

import numpy as np
import pytest

from admn_ros.datasets.corrupted import CorruptedSource
from admn_ros.datasets.source import LabeledReadings
from admn_ros.errors import InputError
from admn_ros.model.presets import preset
from admn_ros.sample import Modality, SensorKey, Target
from admn_ros.sensing.corruption.presets import corruption_preset

RGB, DEPTH = Modality.RGB, Modality.DEPTH


class Clean:
    """Ten frames of an RGB-D camera; every other one outdoors."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> LabeledReadings:
        readings = {SensorKey("camera", RGB): np.full((24, 32, 3), 100 + index, np.uint8),
                    SensorKey("camera", DEPTH): np.full((24, 32), 3, np.float32)}
        return LabeledReadings(readings, Target((1.0, 2.0, 0.0), 1), 5, scene="outdoor" if index % 2 else "indoor")


def test_same_data_in_any_order() -> None:
    source = CorruptedSource(Clean(), corruption_preset("gdtm-gaussian"), seed=3)
    forwards = [source[i] for i in range(10)]
    backwards = [source[i] for i in reversed(range(10))][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert a.target == b.target
        assert all(np.array_equal(a.readings[k], b.readings[k]) for k in a.readings)
    others = [CorruptedSource(Clean(), corruption_preset("gdtm-gaussian"), seed=4)[i].target for i in range(10)]
    assert others != [a.target for a in forwards]


def test_target_and_labels() -> None:
    source = CorruptedSource(Clean(), corruption_preset("gdtm-lowlight"), seed=0, repeats=3)
    assert len(source) == 30
    seen = set()
    for i in range(30):
        sample, labels = source[i], source.labels(i)
        assert (sample.target.position_m, sample.target.label, sample.stamp_ns) == ((1.0, 2.0, 0.0), 1, 5)
        assert sample.target.corruption == {m: x.severity for m, x in labels.items()}
        damaged = {m for m in (RGB, DEPTH)
                   if not np.array_equal(sample.readings[SensorKey("camera", m)],
                                         Clean()[i % 10].readings[SensorKey("camera", m)])}
        assert damaged == {m for m, x in labels.items() if x.severity}
        seen.add((labels[RGB].level, labels[DEPTH].level))
    assert seen == {(0, 1), (1, 0), (2, 0)}
    repeats = [[source.labels(r * 10 + i)[RGB].level for r in range(3)] for i in range(10)]
    assert max(len(set(levels)) for levels in repeats) > 1  # a draw of its own for each


def test_the_scene_decides() -> None:
    source = CorruptedSource(Clean(), corruption_preset("ave-rain-noise"), seed=0, repeats=4)
    kinds = {(i % 2, source.labels(i)[RGB].kind) for i in range(40)}
    assert kinds == {(0, "clean"), (0, "lowlight"), (1, "clean"), (1, "rain+lowlight")}


def test_dropout_reaches_the_network_as_missing() -> None:
    source = CorruptedSource(Clean(), corruption_preset("room-all", modalities=(RGB, DEPTH)), seed=0, repeats=5)
    dropped = [i for i in range(50) if source.labels(i)[DEPTH].kind == "dropout"]
    assert dropped
    sample = source[dropped[0]].sample(preset("rgbd"))
    assert (sample.present[DEPTH].tolist(), sample.present[RGB].tolist()) == ([False], [True])
    assert sample.target is not None
    assert sample.target.corruption is not None
    assert sample.target.corruption[DEPTH] == 1


def test_errors() -> None:
    for seed, repeats in ((-1, 1), (0, 0)):
        with pytest.raises(InputError, match="seed, repeats"):
            CorruptedSource(Clean(), corruption_preset("gdtm-blur"), seed, repeats)
    with pytest.raises(IndexError):
        CorruptedSource(Clean(), corruption_preset("gdtm-blur"), 0)[10]
