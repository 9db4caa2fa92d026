# SPDX-License-Identifier: Apache-2.0
"""Probes on a made-up dataset in which a bright spot, a gap in depth, an echo or a sound tells the place."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from admn_ros.benchmark.probe.inputs import load_split
from admn_ros.benchmark.probe.network import ProbeNet
from admn_ros.benchmark.probe.probe import (
    STRONGEST,
    TESTS,
    CorruptedResult,
    Errors,
    ProbeResult,
    ProbeSettings,
    draw_probe,
    probe,
    probe_all,
)
from admn_ros.cli import main
from admn_ros.errors import AdmnError, InputError
from admn_ros.recordings import shards
from admn_ros.sample import Array, Modality
from admn_ros.sensing.corruption.corruption import Corruption, GaussianNoise
from admn_ros.sensing.preprocess.sound_direction import SOUND_MPS
from admn_ros.simulation.sound.room_acoustics import array_shape

RATE_HZ, SAMPLES = 16000, 3072
STATIONS = {"node1": [0.0, -2.0, 0.8], "node2": [2.0, 0.5, 0.7]}
QUICK = ProbeSettings(epochs=12, retrain=False)
POSES = {n: dict(zip(("x_m", "y_m", "z_m"), place, strict=True)) for n, place in STATIONS.items()}


@dataclass(frozen=True)
class Wiped(Corruption):
    """Every reading is the same: nothing is left."""

    kind: ClassVar[str] = "wiped"

    def parameters(self, severity: float) -> dict[str, float]:
        return {"left": 1 - severity}

    def _damage(self, data: Array, severity: float, rng: np.random.Generator) -> Array:
        return np.zeros_like(data)


def seen_from(place: list[float], car: np.ndarray) -> tuple[float, float]:
    """Distance and azimuth (0 towards the origin, positive to the left) of the car."""
    way = car - place[:2]
    ahead = math.atan2(-place[1], -place[0])
    azimuth = math.atan2(way[1], way[0]) - ahead
    return float(np.hypot(*way)), (azimuth + np.pi) % (2 * np.pi) - np.pi


def sound_from(azimuth: float, rng: np.random.Generator) -> np.ndarray:
    """White noise (SAMPLES, 4) of a distant source."""
    early_s = array_shape()[:, :2] @ [math.cos(azimuth), math.sin(azimuth)] / SOUND_MPS
    spectrum = np.fft.rfft(rng.standard_normal(SAMPLES))
    hertz = np.fft.rfftfreq(SAMPLES, 1 / RATE_HZ)
    heard = np.fft.irfft(spectrum * np.exp(2j * np.pi * hertz * early_s[:, None]), SAMPLES)
    return (0.1 * heard.T).clip(-1, 1)


def write_dataset(folder: Path, counts: dict[str, int], without_car: int = 0, meta: dict[str, object] | None = None):
    shards.begin(folder, {"targets": ["car", "none"], "audio_rate_hz": RATE_HZ, "sensor_nodes": list(STATIONS)})
    for number, (split, count) in enumerate(counts.items()):
        rng = np.random.default_rng(number)
        cars = rng.uniform(-1.3, 1.3, (count, 2))
        arrays = {"rgb": np.full((count, 2, 36, 48, 3), 60, np.uint8),
                  "depth": np.full((count, 2, 30, 40), 3000, np.uint16),
                  "radar": rng.rayleigh(1, (count, 2, 48, 32)).astype(np.float16),
                  "audio": np.zeros((count, 2, SAMPLES, 4), np.int16),
                  "time": np.arange(count) * 0.5, "label": np.zeros(count, np.int64),
                  "position": np.column_stack([cars, np.full(count, 0.06)])}
        for row, (node, place) in product(range(count), enumerate(STATIONS.values())):
            distance, azimuth = seen_from(place, cars[row])
            for name, size in (("rgb", 4), ("depth", 4), ("radar", 3)):
                height, width = arrays[name].shape[2:4]
                down = int(np.clip(distance / 5 * height, 0, height - size))
                across = int(np.clip((0.5 - azimuth / 3) * width, 0, width - size))
                arrays[name][row, node, down:down + size, across:across + size] = 250
            arrays["audio"][row, node] = 32767 * sound_from(azimuth, rng)
        arrays["position"][:without_car] = np.nan
        shards.write(folder, split, "shard-00000", arrays, {"node_poses": POSES} if meta is None else meta)
    shards.finish(folder, {split: ["shard-00000"] for split in counts})
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("probe") / "ds", {"train": 160, "test_time": 40, "test_view": 40})


@pytest.mark.slow
@pytest.mark.parametrize("modality", [Modality.RGB, pytest.param(Modality.DEPTH, marks=pytest.mark.nightly),
                                      pytest.param(Modality.RADAR, marks=pytest.mark.nightly), Modality.AUDIO])
def test_a_probe_finds_information_and_none_in_wiped_data(dataset: Path, modality: Modality):
    found = probe(dataset, modality, [Wiped(modality)], settings=QUICK)
    for split in TESTS:
        constant = found.constant[split].median_cm
        assert 60 < constant < 140  # of a square of 2.6 m
        assert found.clean[split].median_cm < 0.4 * constant
        assert found.corrupted[0].clean_trained[split].median_cm > 0.75 * constant
    assert found.samples == {"train": 160, "test_time": 40, "test_view": 40}
    assert found.epochs == QUICK.epochs


@pytest.mark.slow
def test_a_probe_trained_on_wiped_data_answers_the_mean(dataset: Path):
    found = probe(dataset, Modality.RADAR, [Wiped(Modality.RADAR)], settings=ProbeSettings(epochs=4))
    assert found.corrupted[0].kind == "wiped"
    assert found.corrupted[0].parameters == {"left": 0.0}
    again = found.corrupted[0].corrupted_trained
    assert again is not None
    for split in TESTS:
        assert 0.85 < again[split].mean_cm / found.constant[split].mean_cm < 1.25


def test_the_constant_is_the_mean_of_training(tmp_path: Path):
    folder = write_dataset(tmp_path / "ds", {"train": 8, "test_time": 6, "test_view": 6}, without_car=2)
    found = probe(folder, Modality.DEPTH, settings=ProbeSettings(epochs=1))
    assert found.samples == {"train": 6, "test_time": 4, "test_view": 4}
    truth = {split: np.load(folder / split / "shard-00000" / "position.npy")[2:, :2] for split in ("train", *TESTS)}
    for split in TESTS:
        away = 100 * np.hypot(*(truth[split] - truth["train"].mean(0)).T)
        assert found.constant[split].mean_cm == pytest.approx(away.mean(), abs=0.01)


@pytest.mark.slow
def test_same_seed_same_figures(tmp_path: Path):
    folder = write_dataset(tmp_path / "ds", {"train": 40, "test_time": 10, "test_view": 10})

    def figures(seed: int) -> tuple[object, ...]:
        noise = GaussianNoise(Modality.RGB, 0.5)
        found = probe(folder, Modality.RGB, [noise], seed=seed, settings=ProbeSettings(epochs=2, retrain=False))
        return found.clean, found.corrupted

    assert figures(3) == figures(3)
    assert figures(3) != figures(4)


def test_the_state_of_torch_is_restored(tmp_path: Path):
    folder = write_dataset(tmp_path / "ds", {"train": 8, "test_time": 4, "test_view": 4})
    torch.manual_seed(5)
    expected, threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(5)
    probe(folder, Modality.RADAR, settings=ProbeSettings(epochs=1, threads=threads + 1))
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == threads


def test_no_epoch_starts_after_the_limit(tmp_path: Path):
    folder = write_dataset(tmp_path / "ds", {"train": 8, "test_time": 4, "test_view": 4})
    assert probe(folder, Modality.RADAR, settings=ProbeSettings(epochs=50, limit_s=1e-6)).epochs == 1


def test_estimates_rotate_with_the_nodes():
    """The same images from a room turned about its middle mean a position turned as far."""
    torch.manual_seed(0)
    net = ProbeNet(1, 2, torch.zeros(2)).eval()
    images, stations = torch.randn(3, 2, 1, 32, 32), torch.tensor([*STATIONS.values()]).expand(3, -1, -1)
    turn = torch.tensor([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    with torch.inference_mode():
        before, after = net(images, stations), net(images, stations @ turn.T)
    assert before.norm(dim=1).min() > 0.01
    torch.testing.assert_close(after, before @ turn[:2, :2].T, atol=1e-4, rtol=1e-4)


def test_results_are_written_with_their_provenance(tmp_path: Path):
    folder = write_dataset(tmp_path / "ds", {"train": 12, "test_time": 4, "test_view": 4})
    steps: list[tuple[str, float]] = []
    found = probe_all(folder, tmp_path / "new" / "probe.json", seed=2, command="admn probe x",
                      settings=ProbeSettings(epochs=1),
                      corruptions={m: [Wiped(m)] for m in (Modality.RGB, Modality.RADAR)},
                      on_progress=lambda what, share: steps.append((what, share)))
    text = json.loads((tmp_path / "new" / "probe.json").read_text())
    assert text["command"] == "admn probe x"
    assert (text["seed"], text["effort"]["epochs"], text["torch"]) == (2, 1, torch.__version__)
    assert text["plan"]["sensor_nodes"] == list(STATIONS)
    assert [r["modality"] for r in text["results"]] == ["rgb", "radar"] == [r.modality for r in found]
    assert text["results"][1]["clean"]["test_view"]["mean_cm"] == found[1].clean["test_view"].mean_cm
    assert ("rgb: train wiped", 1.0) in steps
    assert all(0 <= share <= 1 for _, share in steps)


def test_every_modality_has_a_strongest_corruption_of_its_own():
    assert set(STRONGEST) == set(Modality)
    assert all(tried and all(c.modality is m for c in tried) for m, tried in STRONGEST.items())


def test_the_picture_shows_every_bar(tmp_path: Path):
    def result(modality: str, corrupted_cm: float) -> ProbeResult:
        def both(cm: float) -> dict[str, Errors]:
            return {split: Errors(cm, cm) for split in TESTS}

        return ProbeResult(modality, both(10), both(100), [CorruptedResult("fog", {}, both(corrupted_cm), None)],
                           {}, 1, 1.0)

    import cv2

    pictures = [cv2.imread(str(draw_probe([result("rgb", cm), result("audio", 50)], tmp_path / f"{cm}.png")))
                for cm in (30, 90)]
    assert pictures[0].shape == pictures[1].shape
    assert (pictures[0] != pictures[1]).any()
    assert (pictures[0] == pictures[1]).mean() > 0.8


@pytest.mark.parametrize(("change", "field"), [
    ({"seed": -1}, "seed"), ({"seed": 2**31}, "seed"), ({"corruptions": [Wiped(Modality.AUDIO)]}, "corruption")])
def test_bad_arguments(tmp_path: Path, change: dict[str, object], field: str):
    with pytest.raises(InputError) as caught:
        probe(tmp_path, Modality.RGB, **change)
    assert caught.value.field == field


@pytest.mark.parametrize("change", [{"epochs": 0}, {"threads": 0}, {"limit_s": 0.0}, {"limit_s": math.nan},
                                    {"limit_s": math.inf}])
def test_bad_settings(change: dict[str, float]):
    with pytest.raises(InputError) as caught:
        ProbeSettings(**change)
    assert caught.value.field == next(iter(change))


def test_incomplete_datasets(tmp_path: Path):
    with pytest.raises(InputError):
        probe(tmp_path / "nothing", Modality.RGB)
    no_test = write_dataset(tmp_path / "a", {"train": 4})
    with pytest.raises(InputError, match="test_time"):
        probe(no_test, Modality.RGB, settings=ProbeSettings(epochs=1))
    no_car = write_dataset(tmp_path / "b", {"train": 4}, without_car=4)
    with pytest.raises(InputError, match="car"):
        load_split(no_car, "train", Modality.RGB)
    for number, poses in enumerate((None, {"node1": POSES["node1"]}, {n: {"x_m": 1.0} for n in POSES},
                                    {n: {**pose, "x_m": "x"} for n, pose in POSES.items()})):
        with pytest.raises(AdmnError, match="node_poses"):
            load_split(write_dataset(tmp_path / f"c{number}", {"train": 4}, meta={"node_poses": poses}), "train",
                       Modality.RGB)


def test_results_that_cannot_be_written(tmp_path: Path):
    folder = write_dataset(tmp_path / "ds", {"train": 4, "test_time": 2, "test_view": 2})
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        probe_all(folder, tmp_path / "file" / "probe.json", settings=ProbeSettings(epochs=1),
                  corruptions={Modality.RADAR: ()})
    with pytest.raises(InputError, match="results"):
        draw_probe([], tmp_path / "x.png")


@pytest.mark.slow
def test_the_command_probes_as_asked(tmp_path: Path, capsys):
    folder = write_dataset(tmp_path / "ds", {"train": 8, "test_time": 4, "test_view": 4})
    assert main(["probe", str(folder), "--out", str(tmp_path / "probe.json"), "--epochs", "1", "--retrain"]) == 0
    assert (tmp_path / "probe.png").stat().st_size > 1000
    text = json.loads((tmp_path / "probe.json").read_text())
    assert text["effort"]["epochs"] == 1 and text["effort"]["retrain"] and "--retrain" in text["command"]
    assert all(one["corrupted_trained"] for result in text["results"] for one in result["corrupted"])
