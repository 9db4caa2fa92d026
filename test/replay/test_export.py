# SPDX-License-Identifier: Apache-2.0
"""Recordings to datasets: the node's own frames, split by time, whole or not at all, and fit for training."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from admn_ros.cli import main, parser
from admn_ros.config import ModelConfig, dump_config, parse_config
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import ConfigError, InputError
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.records import read_columns
from admn_ros.evaluation.run import evaluate
from admn_ros.inference.frame_stream import FrameStream
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings import shards
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.bag_writer import BagWriter
from admn_ros.recordings.rgbd_folder import convert_rgbd_folder
from admn_ros.recordings.shard_format import decode, encode
from admn_ros.replay.export import export
from admn_ros.replay.export_plan import SPLITS, Blocks, ExportPlan
from admn_ros.sample import Modality, SensorKey
from helpers.demo_recording import DEMO_SENSORS, cut_recording

pytestmark = pytest.mark.slow

START_NS = 1_700_000_000_000_000_000   # as in conftest.py
NOT_TURNED = (0.0, 0.0, 0.0, 1.0)
RGB1, DEPTH1, AUDIO2 = (SensorKey(n, m) for n, m in (
    ("node1", Modality.RGB), ("node1", Modality.DEPTH), ("node2", Modality.AUDIO)))


@pytest.fixture
def make_export(deployment: DeploymentConfig) -> Callable[..., ExportPlan]:
    def plan(*bags: Path, **changes: object) -> ExportPlan:
        return parse_config(ExportPlan, {"sources": [str(b) for b in bags], "pause_s": 0.2,
                                         "deployment": deployment.model_dump(mode="json"), **changes}, "plan")

    return plan


def hashes(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file()}


def stamps(folder: Path) -> dict[str, list[int]]:
    return {split: [sample.stamp_ns for sample in ShardDataset(folder, split)] for split in SPLITS}


def rewrite(source: Path, target: Path, change: Callable[[int, str, int, bytes], list[tuple[str, int, bytes]]]) -> Path:
    """A bag with its messages changed: (number on its topic, topic, stamp, bytes) to what takes its place."""
    seen: dict[str, int] = {}
    with BagReader(source) as old, BagWriter(target) as new:
        for topic, stamp_ns, raw in old:
            number = seen.setdefault(topic, 0)
            seen[topic] += 1
            for name, stamp, data in change(number, topic, stamp_ns, raw):
                new.write_raw(name, old.topics[topic].type, data, stamp)
    return target


# --- what is in it ------------------------------------------------------------------------------------


def test_frames_and_estimates_are_those_of_the_node(bag, make_export, make_bag_plan, model, config, tmp_path):
    found = export(make_export(bag), config, tmp_path / "data")
    assert found["frames"] == {"train": 12, "val": 3, "test_time": 3}
    evaluate(make_bag_plan(bag, changes={"budgets": [None]}), tmp_path / "bag")
    live = read_columns(tmp_path / "bag" / "records" / "clean.npz")
    for split in SPLITS:
        evaluate(parse_config(EvaluationPlan, {"sources": [str(tmp_path / "data")], "model": str(model),
                                               "split": split}, "plan"), tmp_path / split)
        stored = read_columns(tmp_path / split / "records" / "clean.npz")
        rows = np.searchsorted(live["stamp_ns"], stored["stamp_ns"])
        assert live["stamp_ns"][rows].tolist() == stored["stamp_ns"].tolist() == stamps(tmp_path / "data")[split]
        # Depth is in whole millimetres and sound in 16 bits.
        assert stored["mean_m"][:, 0] == pytest.approx(live["mean_m"][rows, 0], abs=2e-3)
        assert stored["position_m"] == pytest.approx(live["position_m"][rows], abs=1e-9)


def test_splits_are_stretches_of_time_with_pauses_between(bag, make_export, config, tmp_path):
    export(make_export(bag), config, tmp_path / "data")
    seconds = {split: np.array(found) - START_NS for split, found in stamps(tmp_path / "data").items()}
    for before, after in (("train", "val"), ("val", "test_time")):
        assert seconds[after].min() - seconds[before].max() >= 0.2e9
    assert all((np.diff(found) > 0).all() for found in seconds.values())
    sample = ShardDataset(tmp_path / "data", "train")
    assert sample.recording(0) == "drive +0 s" and len(sample) == 12


@given(length_s=st.floats(0.1, 1e4), pause_s=st.floats(0, 50), cut=st.floats(0.01, 0.98), times=st.lists(
    st.floats(0, 1), min_size=1, max_size=50))
def test_any_instant_is_in_one_split_or_none(length_s, pause_s, cut, times):
    shares = (cut, (1 - cut) / 2, (1 - cut) / 2)
    plan = ExportPlan.model_construct(shares=shares, pause_s=pause_s)
    if length_s <= 2 * pause_s:
        with pytest.raises(InputError, match="pauses between its splits"):
            Blocks(plan, length_s, "bag")
        return
    order = [Blocks(plan, length_s, "bag").split(length_s * t) for t in sorted(times)]
    named = [SPLITS.index(name) for name in order if name is not None]
    assert named == sorted(named)


def test_held_readings_are_stored_once_and_missing_ones_not_at_all(bag, make_export, config, deployment, tmp_path):
    def slow(number: int, topic: str, stamp: int, raw: bytes) -> list[tuple[str, int, bytes]]:
        kept = topic != "/node2/audio" and not (topic == "/node1/depth" and number % 3)
        return [(topic, stamp, raw)] if kept else []

    found = export(make_export(rewrite(bag, tmp_path / "slow", slow)), config, tmp_path / "data")
    assert found["bags"][0]["topics_missing"] == ["/node2/audio"]
    source = ShardDataset(tmp_path / "data", "train")
    (shard,) = (tmp_path / "data" / "train").iterdir()
    rows, stored = np.load(shard / "node1.depth.row.npy"), np.load(shard / "node1.depth.npy")
    # The first frame was made when nothing but its own picture had been heard.
    assert rows.tolist() == [-1, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3] and len(stored) == 4
    assert all(AUDIO2 not in sample.readings and RGB1 in sample.readings for sample in source)
    assert source[2].readings[DEPTH1].tolist() == source[1].readings[DEPTH1].tolist()
    assert source[1].sample(config).present[Modality.AUDIO].tolist() == [True, False]
    # The readings themselves are those of the messages.
    stream, first = FrameStream(config, deployment), None
    with BagReader(tmp_path / "slow") as reader:
        for _, stamp_ns, message in reader.messages(["/node1/rgb"]):
            first = first or next(iter(stream.receive(RGB1, message, stamp_ns * 1e-9)), None)
    assert source[0].readings[RGB1].tolist() == first.readings[RGB1].data.tolist()


def test_an_input_that_changes_its_size_begins_a_shard(bag, make_export, config, tmp_path):
    def shrunk(number: int, topic: str, stamp: int, raw: bytes) -> list[tuple[str, int, bytes]]:
        if topic == "/node1/rgb" and number >= 6:
            image = make.rgb_image(np.full((12, 20, 3), number, np.uint8), START_NS + round(number / 15 * 1e9), "node1")
            raw = bytes(make.typestore().serialize_cdr(image, make.IMAGE))
        return [(topic, stamp, raw)]

    export(make_export(rewrite(bag, tmp_path / "shrunk", shrunk)), config, tmp_path / "data")
    source = ShardDataset(tmp_path / "data", "train")
    assert len(list((tmp_path / "data" / "train").iterdir())) == 2
    assert [source[k].readings[RGB1].shape for k in (5, 6)] == [(24, 24, 3), (12, 20, 3)]
    assert source.recording(5) == source.recording(6)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2),
              elements=st.floats(-1, 100, width=32) | st.just(np.nan)))
def test_depth_keeps_millimetres_and_invalid_pixels(metres):
    again = decode(Modality.DEPTH, encode(Modality.DEPTH, metres))
    valid = metres > 0
    assert np.array_equal(np.isfinite(again), valid)
    near = valid & (metres >= 0.001) & (metres < 65)
    assert np.abs(again[near] - metres[near]).max(initial=0) <= 0.00051


@given(arrays(np.float32, (7, 2), elements=st.floats(-2, 2, width=32)))
def test_sound_keeps_16_bits(sound):
    again = decode(Modality.AUDIO, encode(Modality.AUDIO, sound))
    assert np.abs(again - np.clip(sound, -1, 1)).max() <= 0.6 / 32767


# --- truth --------------------------------------------------------------------------------------------


def test_frames_without_truth_are_dropped_or_kept_and_counted(make_export, config, tmp_path, write_bag):
    bare = write_bag(tmp_path / "bare", truth=None)
    with pytest.raises(InputError, match=r"split train: found no frames; 18 had no truth .*--true-class.*keep"):
        export(make_export(bare), config, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    found = export(make_export(bare, without_truth="keep"), config, tmp_path / "kept")
    assert found["frames"]["train"] == 12 and found["bags"][0]["located"] == 0
    sample = ShardDataset(tmp_path / "kept", "train")[0]
    assert np.isnan(sample.target.position_m).all() and sample.target.label == -1
    found = export(make_export(bare, true_class="green_car"), config, tmp_path / "class")
    assert found["bags"][0]["with_class"] == 18
    assert ShardDataset(tmp_path / "class", "val")[0].target.label == 1


def test_ground_truth_is_that_of_an_evaluation(bag, make_export, config, tmp_path, place):
    lines = "\n".join(f"{k / 15},{','.join(map(str, place(k / 15)))}" for k in range(12))
    (tmp_path / "half.csv").write_text(f"time_s,x,y\n{lines}\n")
    for name, truth in (("topic", "/ground_truth/pose"), ("tf", "tf:car"), ("file", str(tmp_path / "half.csv"))):
        shares = [1.0, 0.0, 0.0] if name == "file" else [0.7, 0.15, 0.15]
        found = export(make_export(bag, truth=truth, shares=shares), config, tmp_path / name)
        sample = ShardDataset(tmp_path / name, "train")[5]
        assert sample.target.position_m[:2] == pytest.approx(place((sample.stamp_ns - START_NS) * 1e-9), abs=1e-4)
    assert found["frames"] == {"train": 12} and found["bags"][0]["left_out"]["without_truth"] == 12


# --- sensor nodes -------------------------------------------------------------------------------------


def test_poses_are_those_of_the_node(bag, make_export, config, deployment, tmp_path):
    """node2 drives; node1 has no frames, so it stands where the model says."""
    own = {"node1": {"x_m": 1.0, "y_m": -2.0, "yaw_rad": 1.5}, "node2": {"x_m": 0.0, "y_m": 2.0}}
    places = parse_config(ModelConfig, {**config.model_dump(mode="json"), "node_poses": own,
                                        "localization": {"kind": "evidence"}}, "model")

    with BagReader(bag) as old, BagWriter(tmp_path / "drives") as new:
        for topic, stamp_ns, raw in old:
            if topic == "/ground_truth/pose":
                base = make.Transform("map", "rover", ((stamp_ns - START_NS) * 1e-9, 0.5, 0.25), NOT_TURNED)
                new.write("/tf", make.TF, make.static_transforms([base], stamp_ns), stamp_ns)
            if topic != "/tf":
                new.write_raw(topic, old.topics[topic].type, raw, stamp_ns)
    frames = {**deployment.model_dump(mode="json"), "frames": {"node2": {"base": "rover"}}}
    export(make_export(tmp_path / "drives", deployment=frames), places, tmp_path / "data")
    source = ShardDataset(tmp_path / "data", "train")
    for sample in (source[2], source[9]):
        assert sample.poses["node1"].numbers == (1.0, -2.0, 0.0, 1.5, 0.0)
        x, *fixed = sample.poses["node2"].numbers
        assert x == pytest.approx((sample.stamp_ns - START_NS) * 1e-9, abs=0.1) and fixed == [0.5, 0.25, 0.0, 0.0]
    assert source[9].poses["node2"].x_m > source[2].poses["node2"].x_m + 0.3
    assert tuple(source[2].sample(places).poses.shape) == (2, 5)
    export(make_export(tmp_path / "drives"), places, tmp_path / "own")
    assert ShardDataset(tmp_path / "own", "train")[2].poses is None


# --- whole or not at all ------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_interrupted_export_is_not_a_dataset_and_can_be_resumed(bag, make_export, config, tmp_path, write_bag):
    other = write_bag(tmp_path / "other", tf=True)
    plan = make_export(bag, other)
    export(plan, config, tmp_path / "whole")
    assert sum(len(found) for found in stamps(tmp_path / "whole").values()) == 36

    def interrupt(done_s: float, total_s: float) -> None:
        if done_s > 2.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(plan, config, tmp_path / "cut", interrupt)
    with pytest.raises(InputError, match="an incomplete dataset; allowed: a complete one; the same command"):
        ShardDataset(tmp_path / "cut", "train")
    with pytest.raises(InputError, match="begun with other arguments"):
        export(make_export(bag, other, every=2), config, tmp_path / "cut")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "cut").glob("*/000-*/*")}
    seen: list[float] = []
    export(plan, config, tmp_path / "cut", lambda done, total: seen.append(done))
    assert seen[0] > 1.5 and before and all(p.stat().st_mtime_ns == t for p, t in before.items())
    assert hashes(tmp_path / "cut") == hashes(tmp_path / "whole")
    assert export(plan, config, tmp_path / "cut")["frames"] == {"train": 24, "val": 6, "test_time": 6}


def test_a_dataset_of_which_nothing_was_written_is_begun_anew(bag, make_export, config, tmp_path):
    """A full disk leaves such a folder. It has nothing to lose, and does not stand in the way of other arguments."""
    whole = make_export(bag)
    shards.begin(tmp_path / "data", whole.identity(config))
    (tmp_path / "data" / "train" / ".partial-000-x").mkdir(parents=True)
    (tmp_path / "data" / "train" / ".partial-000-x" / "rgb.npy").write_bytes(b"half")
    found = export(make_export(bag, every=2), config, tmp_path / "data")
    assert sum(found["frames"].values()) and not list((tmp_path / "data").glob("*/.partial-*"))
    with pytest.raises(InputError, match="begun with other arguments"):
        export(whole, config, tmp_path / "data")


def test_a_bag_that_breaks_half_way_gives_no_dataset(bag, make_export, config, tmp_path, write_bag):
    broken = write_bag(tmp_path / "broken", storage="sqlite3", ticks=40)
    (file,) = broken.glob("*.db3")
    data = bytearray(file.read_bytes())
    middle = 4096 * (len(data) // 8192)
    data[middle:middle + 40 * 4096] = bytes(40 * 4096)
    file.write_bytes(data)
    with pytest.raises(InputError, match="broken"):
        export(make_export(bag, broken), config, tmp_path / "data")
    assert not (tmp_path / "data").exists()   # nothing stands in the way of a conversion without the broken one


@pytest.mark.parametrize(("changes", "says"), [
    ({"pause_s": 30.0}, "seconds: found 1.54; allowed: more than 60"),
    ({"shares": [0.5, 0.2, 0.2]}, "must add up to 1, not 0.9"), ({"shares": [-0.5, 1.0, 0.5]}, "shares"),
    ({"every": 0}, "every"), ({"true_class": "train"}, "true class: found train"), ({"truth": "/nowhere"}, "/nowhere"),
    ({"deployment": {"sensors": {"node9": {"rgb": {"topic": "/node1/rgb"}}}}}, "node9")])
def test_invalid_plans_are_refused_before_anything_is_written(bag, make_export, config, tmp_path, changes, says):
    with pytest.raises((InputError, ConfigError), match=says) as caught:
        export(make_export(bag, **changes), config, tmp_path / "data")
    assert "\n" not in str(caught.value) and not (tmp_path / "data").exists()


# --- and then -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_recording_is_converted_trained_on_and_evaluated(config: ModelConfig, tmp_path: Path, capsys) -> None:
    """By commands alone: a simulated drive to a bag, to a dataset, to a model, to figures."""
    cut_recording(tmp_path / "drive", 3.0)
    shipped = yaml.safe_load(DEMO_SENSORS.read_text())["sensors"]
    nodes = {node: {m: shipped[node][m] for m in ("rgb", "depth", "audio")} for node in ("node1", "node2")}
    sensors, training = tmp_path / "sensors.yaml", tmp_path / "train.yaml"
    sensors.write_text(yaml.safe_dump({"sensors": nodes}))
    training.write_text(yaml.safe_dump({
        "data": {"source": "shards"},
        "finetune": {"optimizer": {"batch": 8, "epochs": 1, "learning_rate": 0.001, "seed": 4}, "budgets": [4]}}))
    (tmp_path / "start").mkdir()
    dump_config(config, tmp_path / "start" / "config.yaml")
    data, arguments = str(tmp_path / "data"), ["--sensors", str(sensors), "--pause-s", "0.3"]
    assert main(["convert", "bag", str(tmp_path / "drive"), data, "--model", str(tmp_path / "start"), *arguments]) == 0
    printed = capsys.readouterr().out
    assert "with a position (/ground_truth/pose)" in printed and "from the model;" in printed
    assert json.loads((tmp_path / "data" / "plan.json").read_text())["targets"] == list(config.classes)

    from admn_ros.model.checkpoint import create_random_model

    create_random_model(config, tmp_path / "micro", seed=0)
    assert main(["train", "finetune", "--config", str(training), "--data", data, "--model", str(tmp_path / "micro"),
                 "--out", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert main(["evaluate", data, "--model", str(tmp_path / "run" / "model"), "--out", str(tmp_path / "out"),
                 "--budgets", "4", "--corruption", "clean", "gdtm-gaussian", "--no-report"]) == 0
    clean, noisy = json.loads((tmp_path / "out" / "results.json").read_text())["cells"]
    # The motion capture ends a little before the last frame.
    assert clean["frames"]["n"] == noisy["frames"]["n"] >= 5 and clean["error_cm"]["n"] >= clean["frames"]["n"] - 1
    assert clean["layers"]["max"] == 4 and clean["classes"]["n"] == clean["frames"]["n"]


def test_a_real_recording_becomes_a_dataset(shared_data, tmp_path, capsys):
    """Nobody here made it: every 4th frame of a hand-held RGB-D camera, whose own way is the truth."""
    source = shared_data / "rgbd_sequence"
    convert_rgbd_folder(source, tmp_path / "office", limit=40)
    assert main(["convert", "bag", str(tmp_path / "office"), str(tmp_path / "data"), "--model", "untrained:rgbd",
                 "--sensors", str(Path(__file__).parents[2] / "config" / "rgbd.yaml"), "--pause-s", "0.5",
                 "--every", "2"]) == 0
    printed = capsys.readouterr().out
    assert "17 of 40 frames, 17 with a position" in printed and "left out 3 in pauses" in printed
    splits = {split: ShardDataset(tmp_path / "data", split) for split in SPLITS}
    assert {split: len(found) for split, found in splits.items()} == {"train": 12, "val": 3, "test_time": 2}
    sample, key = splits["train"][3], SensorKey("camera", Modality.RGB)
    number = round((sample.stamp_ns - 10**9) * 30 / 1e9)
    stored = cv2.imread(str(source / f"frame-{number:06d}.color.jpg"))[:, :, ::-1]
    assert number == 24 and np.array_equal(sample.readings[key], stored)
    pose = np.loadtxt(source / f"frame-{number:06d}.pose.txt")
    assert sample.target.position_m == pytest.approx(tuple(pose[:3, 3]))
    depth = sample.readings[SensorKey("camera", Modality.DEPTH)]
    assert 0.3 < np.nanmin(depth) < np.nanmax(depth) < 10


def test_errors_of_the_command_are_one_line(bag, tmp_path, capsys):
    arguments = ["convert", "bag", str(bag), str(tmp_path / "data")]
    assert main([*arguments, "--model", "untrained:gdtm-tiny"]) == 2
    assert "--sensors: missing; required: deployment file" in capsys.readouterr().err
    (tmp_path / "sensors.yaml").write_text(yaml.safe_dump({"sensors": {"node1": {"rgb": {"topic": "/x"}}}}))
    arguments += ["--sensors", str(tmp_path / "sensors.yaml")]
    for model, says in (("untrained:gdtm-tiny", "at least one of /x"), (str(tmp_path / "no"), "config.yaml"),
                        ("untrained:gpt", "gpt")):
        assert main([*arguments, "--model", model]) == 2
        (line,) = [text for text in capsys.readouterr().err.splitlines() if text.strip()]
        assert says in line and "allowed" in line


def test_the_commands_of_the_guide_parse():
    guide = (Path(__file__).parents[2] / "docs" / "own_recordings.md").read_text().replace("\\\n", " ")
    commands = [shlex.split(line, comments=True) for line in guide.splitlines() if line.startswith("admn ")]
    assert {command[1] for command in commands} == {"inspect", "evaluate", "convert", "train", "replay"}
    for command in commands:
        assert parser().parse_args(command[1:]).run
