# SPDX-License-Identifier: Apache-2.0
"""Simulated clips: postures, sounds, and datasets that the readers of MM-Fi and AVE read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from admn_ros.cli import main
from admn_ros.datasets.ave import LABELS, OUTDOOR
from admn_ros.datasets.mmfi import ACTIONS, Clip, MmfiFolder
from admn_ros.datasets.open import open_dataset
from admn_ros.datasets.source import RandomWindows
from admn_ros.errors import InputError
from admn_ros.model.presets import AVE_CLASSES
from admn_ros.sample import Modality, SensorKey
from admn_ros.simulation.clips.activities import ACTIVITIES, posture_at
from admn_ros.simulation.clips.event_clips import event_clips
from admn_ros.simulation.clips.event_sounds import RATE_HZ, VOICES, event_sound
from admn_ros.simulation.clips.event_things import THINGS
from admn_ros.simulation.clips.figure import figure_poses
from admn_ros.simulation.clips.make import make_activities, make_events


def test_the_classes_are_those_of_the_datasets():
    assert tuple(ACTIVITIES) == ACTIONS
    assert list(THINGS) == list(VOICES) == list(LABELS)
    assert {AVE_CLASSES[LABELS[name]] for name, thing in THINGS.items() if thing.outdoor} == OUTDOOR


@pytest.mark.parametrize("activity", list(ACTIVITIES))
def test_a_figure_stands_on_the_floor_and_moves(activity):
    feet, hands = [], []
    for phase in (0.0, 0.25, 0.5):
        poses = figure_poses(1.7, posture_at(activity, phase), (0.0, 0.0), 0.0)
        positions = np.array([position for position, _ in poses])
        feet.append(positions[[7, 9], 2].min())
        hands.append(positions[[3, 5, 7, 9]])
        for _, quaternion in poses:
            assert np.linalg.norm(quaternion) == pytest.approx(1)
    jumps = activity == "A26"
    assert min(feet) > 0 and max(feet) < (0.7 if jumps else 0.4)
    assert np.abs(hands[0] - hands[2]).max() > 0.2


def test_left_and_right_activities_mirror_each_other():
    left = np.array([p for p, _ in figure_poses(1.7, posture_at("A13", 0.5), (0.0, 0.0), 0.0)])
    right = np.array([p for p, _ in figure_poses(1.7, posture_at("A14", 0.5), (0.0, 0.0), 0.0)])
    assert np.allclose(left[[2, 3, 6, 7]], right[[4, 5, 8, 9]] * (1, -1, 1), atol=1e-9)
    assert left[3, 2] > 1.7 > left[5, 2], "the left forearm is up, the right one is down"


@pytest.mark.parametrize("name", list(VOICES), ids=[name.split(",")[0] for name in VOICES])
def test_an_event_is_heard_from_its_start_to_its_end(name):
    sound = event_sound(name, 1.0, 3.0, 4.0, np.random.default_rng(3))
    assert sound.shape == (4 * RATE_HZ,) and np.abs(sound).max() <= 1
    loudness = [float(np.sqrt(np.mean(part**2))) for part in np.split(sound, 4)]
    assert max(loudness[1:3]) > 5 * max(loudness[0], loudness[3])
    assert np.array_equal(sound, event_sound(name, 1.0, 3.0, 4.0, np.random.default_rng(3)))


@pytest.mark.slow
def test_the_reader_of_mm_fi_reads_simulated_activities(tmp_path: Path):
    clips = [(1, "A13"), (11, "A12")]
    assert make_activities(tmp_path, 5, clips=clips) == 2
    source = MmfiFolder(tmp_path)
    assert source.clips == (Clip("S01", "A13"), Clip("S11", "A12"))
    sample = source[1]
    assert sample.target.label == 11 and len(sample.readings) == 30
    rgb = sample.readings[SensorKey("frame01", Modality.RGB)]
    depth = sample.readings[SensorKey("frame15", Modality.DEPTH)]
    assert rgb.shape == (64, 64, 3) and rgb.std() > 10
    windows = [RandomWindows(source, seed)[0].readings for seed in range(40)]
    begins = {int(found[SensorKey("frame01", Modality.RGB)].sum()) for found in windows}
    assert len(begins) == 6, "random windows begin at frames 1, 3, ... 11"
    person, wall = depth[20:50, 28:36], depth[:8]
    trunk = np.nan_to_num(depth, nan=9)[20:44] < 3.2
    assert trunk.sum() > 40 and np.median(rgb[20:44][trunk]) < 0.8 * np.median(rgb[:8]), "clothes are darker than walls"
    assert 1.5 < np.nanquantile(person, 0.1) < 3 < np.nanmedian(wall) < 6


@pytest.mark.slow
def test_the_reader_of_ave_reads_simulated_events(tmp_path: Path):
    clips = [c for c in event_clips(5, {"train": 1, "val": 1}) if c.name in ("Clock", "Bark")]
    assert make_events(tmp_path, 5, clips=clips) == 4
    for split in ("train", "val"):
        source = open_dataset("ave", tmp_path, split)
        assert sorted(source[k].target.label for k in range(len(source))) == [LABELS["Bark"], LABELS["Clock"]]
    sample = source[0]
    assert sample.audio_rate_hz == RATE_HZ and sample.readings[SensorKey("frame1", Modality.AUDIO)].shape == (160000, 1)
    assert sample.readings[SensorKey("frame8", Modality.RGB)].shape == (64, 64, 3)
    assert sample.scene == "outdoor"


@pytest.mark.slow
def test_an_interrupted_dataset_continues_with_its_arguments_only(tmp_path: Path):
    clips = [(1, "A13"), (2, "A13")]
    make_activities(tmp_path / "whole", 5, clips=clips)
    make_activities(tmp_path / "parts", 5, clips=clips[1:])
    make_activities(tmp_path / "parts", 5, clips=clips)
    for path in (tmp_path / "whole").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "parts" / path.relative_to(tmp_path / "whole")).read_bytes()
    with pytest.raises(InputError, match="other arguments"):
        make_activities(tmp_path / "parts", 6, clips=clips)
    with pytest.raises(InputError, match="jobs"):
        make_events(tmp_path / "none", 5, jobs=0)


def test_simulate_names_its_outputs(capsys: pytest.CaptureFixture[str]):
    assert main(["simulate"]) == 2
    assert "--activities" in capsys.readouterr().err
