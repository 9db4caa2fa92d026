# SPDX-License-Identifier: Apache-2.0
"""Worlds, datasets and bags of the simulated room, and the command that makes them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from admn_ros.cli import main
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.errors import InputError
from admn_ros.model.presets import preset
from admn_ros.recordings import shards
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.sample import Modality, SensorKey
from admn_ros.simulation.dataset import PAUSE_S, SHARES, SPACING_S, DatasetPlan, make_dataset
from admn_ros.simulation.world import World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def renderer() -> None:
    try:
        World(1, quality="small", nodes=1).close()
    except InputError as error:
        if "MuJoCo" in str(error.allowed):
            pytest.skip(f"no renderer: {error}")
        raise


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    make_dataset(folder, DatasetPlan(20, 3, nodes=2, audio_s=0.1))
    return folder


def digest(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file()}


def test_readings_have_the_documented_shapes_and_ranges():
    with World(5, target="green_car", quality="small", nodes=2) as world:
        readings = world.readings(4.0, 0, 0.1)
        assert list(readings) == world.keys
    rgb, depth = readings[SensorKey("node1", Modality.RGB)], readings[SensorKey("node1", Modality.DEPTH)]
    radar, audio = readings[SensorKey("node2", Modality.RADAR)], readings[SensorKey("node2", Modality.AUDIO)]
    assert rgb.shape == (72, 128, 3) and rgb.dtype == np.uint8 and 20 < rgb.mean() < 235
    assert depth.shape == (60, 80) and depth.dtype == np.float32 and 0.2 < np.nanmin(depth) <= np.nanmax(depth) < 9.1
    assert 0.0 < np.isnan(depth).mean() < 0.9
    assert radar.shape == (128, 64) and radar.dtype == np.float32 and (radar >= 0).all()
    assert audio.shape == (1600, 4) and audio.dtype == np.float32 and 1e-4 < np.abs(audio).max() < 1


def test_a_room_without_a_car_is_silent_and_static():
    with World(5, target="none", quality="small", nodes=1) as world:
        assert world.car(3.0) is None
        first, later = world.readings(3.0, 0, 0.1), world.readings(6.0, 0, 0.1)
        key = SensorKey("node1", Modality.RGB)
        assert np.array_equal(first[key], later[key])
    with World(5, target="red_car", quality="small", nodes=1) as world:
        sound = world.readings(3.0, 0, 0.1)[SensorKey("node1", Modality.AUDIO)]
    assert sound.std() > 2 * first[SensorKey("node1", Modality.AUDIO)].std()


def test_a_measurement_does_not_depend_on_what_else_is_measured():
    with World(8, quality="small", nodes=2) as world:
        alone = world.radar(1, 2.0, 5).range_azimuth
        world.readings(1.0, 4, 0.1)
        assert np.array_equal(world.radar(1, 2.0, 5).range_azimuth, alone)


def test_a_dataset_has_the_planned_samples_and_reads_back(dataset: Path):
    lengths = {split: len(ShardDataset(dataset, split)) for split in SHARES}
    assert sum(lengths.values()) == 20 and lengths["train"] == 14 and all(lengths.values())
    train = ShardDataset(dataset, "train")
    item = train[3]
    assert {k.node for k in item.readings} == {"node1", "node2"} and item.audio_rate_hz == 16000
    assert item.target.label in (0, 1, 2) and train.classes == ["red_car", "green_car", "none"]
    sample = item.sample(preset("gdtm-tiny"))
    assert sample.present[Modality.RGB].tolist() == [True, True, False]
    with pytest.raises(IndexError):
        train[14]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_room(dataset: Path, tmp_path: Path):
    make_dataset(tmp_path / "again", DatasetPlan(20, 3, nodes=2, audio_s=0.1), jobs=2)
    assert digest(tmp_path / "again") == digest(dataset)
    make_dataset(tmp_path / "other", DatasetPlan(2, 4, nodes=2, audio_s=0.1))
    first, other = ShardDataset(dataset, "train")[0], ShardDataset(tmp_path / "other", "train")[0]
    key = SensorKey("node1", Modality.RGB)
    assert np.abs(first.readings[key].astype(int) - other.readings[key].astype(int)).mean() > 5


def test_an_interrupted_run_continues_and_gives_the_same(dataset: Path, tmp_path: Path):
    folder, plan = tmp_path / "set", DatasetPlan(20, 3, nodes=2, audio_s=0.1)

    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dataset(folder, plan, progress=stop)
    with pytest.raises(InputError, match="incomplete"):
        ShardDataset(folder, "train")
    (folder / "val" / ".partial-shard-00000").mkdir(parents=True)
    make_dataset(folder, plan)
    assert digest(folder) == digest(dataset)


def test_splits_never_neighbour_each_other():
    rooms = DatasetPlan(4000, 9).rooms()
    by_split = {split: [r for r in rooms if r.split == split] for split in SHARES}
    assert all(r.frames <= 100 for r in rooms) and sum(r.frames for r in rooms) == 4000
    seeds = {split: {r.seed for r in found} for split, found in by_split.items()}
    assert not seeds["train"] & seeds["val"] and not seeds["train"] & seeds["test_view"]
    assert seeds["test_time"] <= seeds["train"]
    ends = {r.seed: r.start_s + r.frames * SPACING_S for r in by_split["train"]}
    assert all(r.start_s >= ends[r.seed] + PAUSE_S - 1e-9 for r in by_split["test_time"])
    assert {r.viewpoints for r in by_split["test_view"]} == {"held_out"}
    assert "held_out" not in {r.viewpoints for r in rooms if r.split != "test_view"}


def test_one_set_of_viewpoints_for_all_splits():
    own, moved = (DatasetPlan(400, 9, viewpoints=v).rooms() for v in (None, "moved"))
    assert {r.viewpoints for r in moved} == {"moved"}
    assert [(r.split, r.name, r.seed) for r in moved] == [(r.split, r.name, r.seed) for r in own]
    with pytest.raises(InputError, match="default, train, held_out, moved"):
        DatasetPlan(4, 9, viewpoints="above")


def test_broken_and_foreign_folders_are_refused(dataset: Path, tmp_path: Path):
    with pytest.raises(InputError, match="other arguments"):
        make_dataset(dataset, DatasetPlan(21, 3, nodes=2, audio_s=0.1))
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="not a dataset"):
        make_dataset(tmp_path, DatasetPlan(2, 3))
    with pytest.raises(InputError, match="split"):
        ShardDataset(dataset, "holdout")
    copy = tmp_path / "copy"
    make_dataset(copy, DatasetPlan(2, 3, nodes=1, audio_s=0.1))
    broken = next(copy.glob("train/*/rgb.npy"))
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(InputError, match="broken array"):
        ShardDataset(copy, "train")
    (copy / shards.INDEX).write_text("{")
    with pytest.raises(InputError, match="JSON"):
        ShardDataset(copy, "train")


@pytest.mark.parametrize(("fields", "says"), [
    ({"frames": 0}, "frames"), ({"seed": -1}, "seed"), ({"quality": "huge"}, "quality"), ({"audio_s": 0.0}, "audio_s"),
])
def test_a_bad_plan_is_refused(fields, says):
    with pytest.raises(InputError, match=f"{says}: found .* allowed"):
        DatasetPlan(**({"frames": 10, "seed": 1} | fields))


def test_a_bag_holds_sensors_calibration_truth_and_temperature(tmp_path: Path, capsys):
    bag = tmp_path / "bag"
    arguments = ["simulate", "--frames", "30", "--seed", "2", "--target", "red_car", "--quality", "small"]
    assert main([*arguments, "--bag", str(bag), "--sheet", str(tmp_path / "sheet.png")]) == 0
    assert "multimodal frames per second" in capsys.readouterr().out
    assert (tmp_path / "sheet.png").stat().st_size > 50_000
    with BagReader(bag) as reader:
        counts = {topic: info.count for topic, info in reader.topics.items()}
        assert counts["/node1/rgb/image_raw"] in (29, 30) and counts["/node3/radar/points"] in (7, 8)
        assert counts["/ground_truth/pose"] > 110 and counts["/temperature"] == 2 and counts["/admn/budget"] == 2
        assert reader.topics["/tf_static"].latched
        transforms = next(m for _, _, m in reader.messages(["/tf_static"])).transforms
        children = {t.child_frame_id for t in transforms}
        assert {"optitrack", "node2_rgb_optical", "node3_radar", "node1_microphones"} <= children
        assert json.loads(reader.custom_data["admn_recording"])["target"] == "red_car"
        info = next(m for _, _, m in reader.messages(["/node1/rgb/camera_info"]))
        assert (info.width, info.height) == (128, 72) and info.k[0] > 0


def test_the_command_makes_a_dataset_as_asked(tmp_path: Path):
    arguments = ["--frames", "2", "--nodes", "1", "--audio-s", "0.2", "--room-frames", "50", "--jobs", "1"]
    assert main(["simulate", "--dataset", str(tmp_path / "set"), *arguments]) == 0
    plan = json.loads((tmp_path / "set" / "plan.json").read_text())
    assert (plan["frames"], plan["nodes"], plan["audio_s"], plan["room_frames"]) == (2, 1, 0.2, 50)


def test_a_drive_goes_in_laps_or_at_random(tmp_path: Path):
    ways = {}
    for drive in ("laps", "random"):
        bag = tmp_path / drive
        arguments = ["--frames", "8", "--seed", "4", "--nodes", "1", "--quality", "small", "--drive", drive]
        assert main(["simulate", "--bag", str(bag), *arguments]) == 0
        with BagReader(bag) as reader:
            poses = [m.pose.position for _, _, m in reader.messages(["/ground_truth/pose"])]
        ways[drive] = np.array([(p.x, p.y) for p in poses])
    assert not np.allclose(ways["laps"], ways["random"])


@pytest.mark.parametrize(("arguments", "says"), [
    ([], "--dataset DIR"),
    (["--sheet", "{tmp}/a.png", "--frames", "0"], "--frames"),
    (["--dataset", "{tmp}/file/x"], "file/x"),
    (["--dataset", "{tmp}/new", "--jobs", "0"], "jobs"),
    (["--bag", "{tmp}/bag", "--nodes", "7"], "nodes"),
    (["--bag", "{tmp}/file"], "file"),
])
def test_bad_arguments_are_one_clear_line(tmp_path: Path, capsys, arguments, says):
    (tmp_path / "file").write_text("x")
    assert main(["simulate", *(a.format(tmp=tmp_path) for a in arguments)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1 and says in lines[0]
    assert "allowed: " in lines[0] or "required: " in lines[0]
