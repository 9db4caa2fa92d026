# SPDX-License-Identifier: Apache-2.0
"""One way to open a dataset: kinds, views for a model, and temporal corruptions of consecutive samples."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from admn_ros.config import NodePose, parse_config
from admn_ros.datasets.corrupted import STRETCH_FRAMES, CorruptedSource
from admn_ros.datasets.open import READERS, open_dataset
from admn_ros.datasets.source import LabeledReadings, ModelInputs, SampleSource, Spread, frame_number, recording_of
from admn_ros.datasets.viewpoints import Viewpoints
from admn_ros.errors import ConfigError, InputError
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.model.presets import preset
from admn_ros.sample import Modality, SensorKey, Target
from admn_ros.sensing.corruption.draws import CorruptionPreset, Draw
from admn_ros.sensing.corruption.presets import corruption_preset
from admn_ros.sensing.corruption.temporal import Delay
from admn_ros.training.config import DataConfig

RGB, RADAR = Modality.RGB, Modality.RADAR
NODES = ("node1", "node2")


class Drive:
    """Two recordings of 20 frames each, seen by two nodes; the values of a reading tell frame and node."""

    consecutive: Literal[True] = True
    reads = 0

    def __len__(self) -> int:
        return 40

    def recording(self, index: int) -> str:
        return f"drive {index // 20}"

    def __getitem__(self, index: int) -> LabeledReadings:
        self.reads += 1
        readings = {SensorKey(node, m): np.full((24, 32, 3) if m is RGB else (8, 8), 2 * index + k,
                                                np.uint8 if m is RGB else np.float32)
                    for k, node in enumerate(NODES) for m in (RGB, RADAR)}
        return LabeledReadings(readings, Target((0.0, 0.0, 0.0), 1), index,
                               poses={node: NodePose(x_m=1.0, y_m=0.0) for node in NODES})


def late(frames: int) -> CorruptionPreset:
    return CorruptionPreset("late", "paper", (RADAR,), lambda rng, scene: {RADAR: Draw(Delay(RADAR, frames), 1.0, -1)},
                            temporal=True)


def radar(sample: LabeledReadings, node: str = "node1") -> float | None:
    data = sample.readings.get(SensorKey(node, RADAR))
    return None if data is None else float(data[0, 0])


def test_samples_are_late_within_their_recording() -> None:
    source = CorruptedSource(Drive(), late(3), seed=0)
    assert [radar(source[i]) for i in (0, 2, 3, 19, 20, 22, 23)] == [None, None, 0, 32, None, None, 40]
    assert [radar(source[i], "node2") for i in (3, 23)] == [1, 41]
    assert all((source[i].readings[SensorKey("node1", RGB)] == 2 * i).all() for i in (3, 22))


def test_views_show_what_the_source_had_before() -> None:
    views = Viewpoints(Drive(), ("node2", "node1"), "node1")
    for view in (views, Spread(views, 9), ModelInputs(Spread(views, 9), preset("table"))):
        source = CorruptedSource(view, late(3), seed=0)
        for i in range(len(view)):
            frame = view[i].stamp_ns
            seen = radar(view[i])
            assert seen is not None
            assert seen - 2 * frame in (0, 1)  # the number of the node
            assert frame_number(view, i) == frame
            assert recording_of(view, i) == f"drive {frame // 20}"
            assert radar(source[i]) == (None if frame % 20 < 3 else seen - 6)


def test_a_draw_holds_for_a_stretch_and_reads_no_more_than_it_needs() -> None:
    drive = Drive()
    source = CorruptedSource(drive, corruption_preset("room-freeze", modalities=(RGB, RADAR)), seed=3, repeats=2)
    labels = [source.labels(i) for i in range(80)]
    assert all(labels[i] == labels[i - i % 40 % STRETCH_FRAMES] for i in range(80))
    assert labels[0] != labels[STRETCH_FRAMES] or labels[0] != labels[40]
    drive.reads = 0
    samples = [source[i] for i in range(80)]
    assert drive.reads <= 160
    frozen = [i for i in range(40) if radar(samples[i]) != 2 * i]
    assert all(2 * i - (radar(samples[i]) or 0) == 2 * (i % 10) for i in frozen)


class Pictures(list[LabeledReadings]):
    """Single samples."""


def test_single_samples_cannot_be_late() -> None:
    with pytest.raises(InputError, match="dataset: found Pictures, single samples; allowed: consecutive frames"):
        CorruptedSource(Pictures([Drive()[0]]), late(3), seed=0)


def test_kinds_are_named_in_one_place() -> None:
    known = ", ".join(READERS)
    with pytest.raises(InputError, match=f"kind: found tapes; allowed: {known}"):
        open_dataset("tapes", "x", "train")
    with pytest.raises(ConfigError, match=rf"source: found 'tapes' .*; allowed: {known}"):
        parse_config(DataConfig, {"source": "tapes"}, "train.yaml")
    with pytest.raises(ConfigError, match=rf"kind: found 'tapes' .*; allowed: {known}, bag"):
        parse_config(EvaluationPlan, {"sources": ["x"], "model": "m", "kind": "tapes"}, "arguments")
    with pytest.raises(ConfigError, match=r"source: found 'simulated' .*; allowed: shards, the new name of simulated"):
        parse_config(DataConfig, {"source": "simulated"}, "train.yaml")
    for kind in READERS:
        assert parse_config(DataConfig, {"source": kind}, "train.yaml").source == kind


def test_a_reader_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[Path, str]] = []

    def reader(folder: Path, split: str) -> SampleSource:
        opened.append((folder, split))
        return Drive()

    monkeypatch.setitem(READERS, "drive", reader)
    config = parse_config(DataConfig, {"source": "drive"}, "train.yaml")
    source = open_dataset(config.source, "somewhere", "train", model=preset("table"), viewpoints=NODES, limit=10)
    assert opened == [(Path("somewhere"), "train")]
    assert len(source) == 10
    assert source[0].readings.keys() <= {SensorKey("node1", RGB), SensorKey("node1", RADAR)}


def test_the_caches_of_clips_are_kinds(tmp_path: Path) -> None:
    folder = tmp_path / "mmfi/E01/S07/A05"
    folder.mkdir(parents=True)
    video = np.full((30, 3, 16, 16), 51, np.uint8)
    (folder / "data.pickle").write_bytes(pickle.dumps({"rgb": video, "depth": video}))
    mmfi = open_dataset("mmfi_cache", tmp_path / "mmfi", "val", model=preset("mmfi"))
    assert (len(mmfi), mmfi[0].target.label) == (1, 4)
    assert recording_of(mmfi, 0) == "S07"
    assert mmfi[0].sample(preset("mmfi")).present[RGB].all()
    with pytest.raises(InputError, match="no clips"):
        open_dataset("mmfi_cache", tmp_path / "mmfi", "train")

    (tmp_path / "ave/test").mkdir(parents=True)
    item = ((np.ones((1, 128, 1024), np.float32), np.zeros((8, 3, 224, 224), np.float32), 5), 1)
    (tmp_path / "ave/test/0.pickle").write_bytes(pickle.dumps(item))
    ave = open_dataset("ave_cache", tmp_path / "ave", "test", model=preset("ave"))
    sample = ave[0].sample(preset("ave"))
    assert sample.target is not None
    assert (sample.target.label, sample.target.corruption) == (5, {RGB: 0.0, Modality.AUDIO: 1.0})
    assert sample.present[Modality.AUDIO].tolist() == [True] + [False] * 7


def test_an_empty_split_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, "nothing", lambda folder, split: Pictures())
    with pytest.raises(InputError, match="x: train: found no samples; allowed: at least one"):
        open_dataset("nothing", "x", "train")
