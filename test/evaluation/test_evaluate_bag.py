# SPDX-License-Identifier: Apache-2.0
"""Bags through the node's own synchronizer and engine: in their time, with truth from anywhere, broken or not."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from admn_ros.budget.budget import Budget
from admn_ros.cli import main
from admn_ros.config import dump_config, load_config, parse_config
from admn_ros.deployment import DeploymentConfig, InputTopic
from admn_ros.errors import InputError
from admn_ros.evaluation.budgets import TracedBudget
from admn_ros.evaluation.plan import EvaluationPlan
from admn_ros.evaluation.records import read_columns
from admn_ros.evaluation.run import evaluate
from admn_ros.inference.pipeline import Pipeline
from admn_ros.model.checkpoint import create_random_model
from admn_ros.model.presets import preset
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.bag_writer import BagWriter
from admn_ros.recordings.rgbd_folder import convert_rgbd_folder
from admn_ros.replay.ground_truth import NS, Track, search_offset
from admn_ros.replay.ground_truth_sources import find_track

START_NS = 1_700_000_000_000_000_000   # as in conftest.py
NOT_TURNED = (0.0, 0.0, 0.0, 1.0)



def records(folder: Path, corruption: str = "clean") -> dict[str, np.ndarray]:
    return read_columns(folder / "records" / f"{corruption}.npz")


def test_a_bag_gives_the_estimates_of_the_nodes_pipeline(bag, make_bag_plan, deployment, model, tmp_path):
    results = evaluate(make_bag_plan(bag), tmp_path / "out")
    seen = records(tmp_path / "out")
    pipeline = Pipeline.load(model, deployment, "cpu", threads=1)
    topics = {entry.topic: key for key, entry in deployment.inputs.items()}
    expected = []
    with BagReader(bag) as reader:
        for topic, stamp_ns, message in reader.messages(list(topics)):
            now_s = stamp_ns * 1e-9
            for frame in [*pipeline.frames.poll(now_s - 1e-6), *pipeline.frames.receive(topics[topic], message, now_s)]:
                expected.append(pipeline.process(frame, Budget(5, "layers")))
        for frame in pipeline.frames.poll(now_s + 1):
            expected.append(pipeline.process(frame, Budget(5, "layers")))
    assert seen["stamp_ns"].tolist() == [e.stamp_ns for e in expected]
    assert seen["mean_m"][:, 0].tobytes() == np.stack([e.mean_m for e in expected]).tobytes()
    (cell,) = results["cells"]
    assert cell["frames"]["n"] == 24 and cell["error_cm"]["n"] == 24 and cell["violations"] == 0
    inputs = results["pieces"]["clean-00000"]["inputs"]
    assert inputs["node1/rgb"]["received"] == inputs["node1/rgb"]["fresh"] == 24


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"storage": "sqlite3"}, {"compress": True}], ids=["sqlite3", "zstd"])
def test_storages_give_the_same(bag, make_bag_plan, tmp_path, how, write_bag):
    write_bag(tmp_path / "drive", tf=True, extras=True, **how)
    for name, path in (("a", bag), ("b", tmp_path / "drive")):
        evaluate(make_bag_plan(path, changes={"corruptions": ["room-all"]}), tmp_path / name)
    a, b = (records(tmp_path / name, "room-all") for name in "ab")
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.mark.slow
def test_a_corruption_is_held_in_each_bag_and_is_that_of_the_frame_in_any_selection(bag, make_bag_plan, tmp_path,
                                                                                    write_bag):
    other = write_bag(tmp_path / "other", ticks=10)
    evaluate(make_bag_plan(bag, other, hold_s=0.5, changes={"corruptions": ["room-all"]}), tmp_path / "all")
    bad = records(tmp_path / "all", "room-all")
    assert len(bad["index"]) == 34
    severity = bad["severity"][:24]
    changes = (np.diff(severity, axis=0) != 0).any(axis=1).nonzero()[0]
    assert 0 < len(changes) <= 3   # 1.6 s with draws that hold 0.5 s
    evaluate(make_bag_plan(bag, hold_s=0.5, changes={"corruptions": ["room-all"], "limit": 6}), tmp_path / "few")
    few = records(tmp_path / "few", "room-all")
    assert few["index"].tolist() == [0, 4, 8, 12, 16, 20]
    assert few["severity"].tobytes() == bad["severity"][few["index"]].tobytes()


# --- budgets ------------------------------------------------------------------------------------------


def test_traces_recorded_budgets_and_the_governor(bag, make_bag_plan, tmp_path):
    trace, law = tmp_path / "trace.csv", tmp_path / "law.yaml"
    trace.write_text("time_s,limit,unit\n0.4,3,layers\n1.0,inf,layers\n")
    law.write_text("/**: {ros__parameters: {default_layers: 9, safe_layers: 1, rise_layers_per_s: 10.0, priority: 3,\n"
                   "  hysteresis_layers: 0.0, max_layers: 9, min_layers: 1}}\n")
    plan = make_bag_plan(bag, trace=str(trace), recorded_budgets="/admn/budget", governor=str(law),
                         changes={"budgets": [7]})
    results = evaluate(plan, tmp_path / "out")
    assert [c["budget"] for c in results["cells"]] == [
        {"limit": 7.0, "unit": "layers"}, {"from": "trace trace.csv"}, {"from": "recorded /admn/budget"},
        {"from": "governor law.yaml"}]
    seen = records(tmp_path / "out")
    granted, spent = seen["granted"], seen["spent"]
    assert (spent <= granted).all()
    assert granted[:14, 1].tolist() == [3] * 14 and np.isinf(granted[16:, 1]).all()
    assert granted[:, 2].tolist() == sorted(granted[:, 2]) and set(granted[:, 2]) == {2, 3, 4, 5}
    # The law rises from its safe start to what the robot asks for.
    assert granted[0, 3] == 1 and granted[-1, 3] == 5
    assert (granted[:, 3] <= np.maximum(granted[:, 2], 1)).all()
    assert set(seen["source"][:, 3]) == {"governor"}


def test_budgets_that_the_model_cannot_count_are_refused(bag, make_bag_plan, tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("time_s,limit,unit\n0.4,3,joules\n")
    with pytest.raises(InputError, match="unit: found joules"):
        evaluate(make_bag_plan(bag, trace=str(trace)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # Recorded ones as in the node: what was in force stays.
    with BagReader(bag) as reader, BagWriter(tmp_path / "joules") as writer:
        for topic, stamp_ns, raw in reader:
            if topic == "/admn/budget":
                hungry = make.compute_budget(1, "joules", stamp_ns, source="robot")
                writer.write(topic, make.COMPUTE_BUDGET, hungry, stamp_ns)
            else:
                writer.write_raw(topic, reader.topics[topic].type, raw, stamp_ns)
    results = evaluate(make_bag_plan(tmp_path / "joules", recorded_budgets="/admn/budget"), tmp_path / "out")
    [line] = results["pieces"]["clean-00000"]["budget_refusals"]
    assert line.startswith("recorded /admn/budget: 4 messages refused, last robot: unit: found joules")
    assert set(records(tmp_path / "out")["granted"][:, 1]) == {4}   # the deployment's


@pytest.mark.parametrize(("text", "says"), [
    ("", "no limits"), ("time_s,limit\n", "no limits"), ("t,limit\n0,1\n", "time_s"), ("time_s,limit\n0,x\n", "line 2"),
    ("time_s,limit\n1,2\n0,2\n", "line 3: time_s"), ("time_s,limit,unit\n0,2,horses\n", "unit: found horses"),
    ("time_s,limit\n0,-2\n", "limit")])
def test_malformed_traces(tmp_path, text, says):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=says):
        TracedBudget(tmp_path / "t.csv", 0.0)


# --- truth --------------------------------------------------------------------------------------------


def test_truth_from_topic_tf_and_files_is_the_same(bag, tmp_path, place):
    times = np.arange(24) / 15
    lines = [(t, *place(t), 0.1) for t in times]
    csv, tum = tmp_path / "mocap.csv", tmp_path / "mocap.tum"
    csv.write_text("time_s, x, y, z\n" + "\n".join(",".join(map(str, line)) for line in lines))
    tum.write_text("# made up\n" + "\n".join(f"{t + START_NS * 1e-9:.9f} {x} {y} {z} 0 0 0 1" for t, x, y, z in lines))
    asked = np.array([START_NS + round(s * NS) for s in (0.0, 0.5, 1.21)])
    with BagReader(bag) as reader:
        tracks = [find_track(reader, wanted, "map")[0] for wanted in (None, "tf:car", str(csv), str(tum))]
    for track in tracks:
        assert len(track.stamps_ns) == 24
        assert track.at(asked, "linear", 0.1) == pytest.approx(tracks[0].at(asked, "linear", 0.1), abs=1e-4)
    assert tracks[0].at(asked, "linear", 0.1)[1, :2] == pytest.approx(place(0.5), abs=0.01)


def test_truth_in_another_frame_goes_through_tf(tmp_path, write_bag, place):
    turned = write_bag(tmp_path / "mocap", truth="mocap", tf=True)
    with BagReader(turned) as bag:
        track, _ = find_track(bag, None, "map")
        assert track.position_m[0] == pytest.approx([place(0)[0] + 1, place(0)[1], 0.1])
        fixed, _ = find_track(bag, "tf:mocap", "map")
        assert fixed.fixed and fixed.at(np.array([0, 5]), "linear", 0.1).tolist() == [[1, 0, 0]] * 2
        with pytest.raises(InputError, match=r"TF: found no connection from car to moon; allowed: .*map, mocap"):
            find_track(bag, "tf:car", "moon")
    with BagReader(write_bag(tmp_path / "lost", truth="elsewhere", ticks=2)) as bag, \
            pytest.raises(InputError, match="no connection from elsewhere to map"):
        find_track(bag, None, "map")


def test_gaps_edges_and_alignment():
    track = Track.of(np.array([3, 1, 2, 9]) * NS, np.array([[3.0, 0, 0], [1, 0, 0], [np.nan, 0, 0], [9, 0, 0]]), "t")
    asked = np.array([0.9, 1.0, 1.5, 3.4, 9.0, 9.1]) * NS
    assert track.at(asked.astype(np.int64), "linear", 2.0)[:, 0] == pytest.approx(
        [np.nan, 1, 1.5, np.nan, 9, np.nan], nan_ok=True)
    assert track.at(asked.astype(np.int64), "nearest", 0.2)[:, 0] == pytest.approx(
        [1, 1, np.nan, np.nan, 9, 9], nan_ok=True)
    assert track.at(np.array([2 * NS]), "linear", 2.0, offset_s=1.0)[0, 0] == 1
    with pytest.raises(InputError, match="no finite position"):
        Track.of(np.array([1]), np.full((1, 3), np.nan), "t")


@pytest.mark.parametrize("offset_s", [0.0, 0.13, -0.2])
def test_an_offset_is_found(offset_s):
    times = np.arange(0, 20, 0.05)
    path = np.column_stack([np.cos(2 * times), np.sin(3 * times), np.zeros(len(times))])
    track = Track.of((times * NS).round().astype(np.int64), path, "t")
    frames = (np.arange(2, 18, 0.07) * NS).round().astype(np.int64)
    estimates = track.at(frames, "linear", 0.1, offset_s)[:, :2] + np.random.default_rng(0).normal(0, .02, (229, 2))
    found = search_offset(track, frames, estimates, align="linear", max_gap_s=0.1, around_s=0.0, within_s=0.3)
    assert found.seconds == pytest.approx(offset_s, abs=0.011) and found.searched and not found.at_edge
    short = search_offset(track, frames, estimates, align="linear", max_gap_s=0.1, around_s=0.5, within_s=0.05)
    assert short.at_edge


@pytest.mark.slow
def test_an_offset_is_part_of_the_results(tmp_path, make_bag_plan, write_bag, place):
    late = write_bag(tmp_path / "late", offset_s=0.3)
    results = evaluate(make_bag_plan(late, offset_s=-0.3, search_s=0.1), tmp_path / "out")
    truth = results["source"]["bags"][0]["truth"]
    assert truth["offset_searched"] and abs(truth["offset_s"] + 0.3) <= 0.1
    evaluate(make_bag_plan(late, offset_s=-0.3), tmp_path / "fixed")
    seen = records(tmp_path / "fixed")
    expected = [place((s - START_NS) * 1e-9) for s in seen["stamp_ns"]]
    assert seen["position_m"][:, :2] == pytest.approx(np.array(expected), abs=1e-3)


# --- bags that are not as they should be --------------------------------------------------------------


def test_without_truth_there_are_still_results(tmp_path, make_bag_plan, write_bag):
    results = evaluate(make_bag_plan(write_bag(tmp_path / "bag", truth=None)), tmp_path / "out")
    (cell,) = results["cells"]
    assert cell["error_cm"] is cell["nll"] is cell["coverage"] is cell["classes"] is None
    assert cell["layers"]["max"] == 5 and cell["frames"]["n"] == 24
    assert "no topic /ground_truth/pose" in results["source"]["bags"][0]["why_no_truth"]
    assert "no frame has both" in cell["why_null"]["error_cm"]
    with pytest.raises(InputError, match="truth: found /nowhere"):
        evaluate(make_bag_plan(tmp_path / "bag", truth="/nowhere"), tmp_path / "other")


def test_the_class_can_be_configured(bag, tmp_path, make_bag_plan):
    results = evaluate(make_bag_plan(bag, true_class="green_car"), tmp_path / "out")
    assert np.sum(results["cells"][0]["classes"]["confusion"][1]) == 24
    with pytest.raises(InputError, match="true class: found train"):
        evaluate(make_bag_plan(bag, true_class="train"), tmp_path / "other")


def test_stamps_out_of_order_lose_no_frame(tmp_path, make_bag_plan, write_bag):
    results = evaluate(make_bag_plan(write_bag(tmp_path / "bag", shuffle=True)), tmp_path / "out")
    seen = records(tmp_path / "out")
    assert (np.diff(seen["stamp_ns"]) > 0).all()
    stats = results["pieces"]["clean-00000"]["inputs"]["node1/rgb"]
    assert stats["received"] == 24 and stats["late"] + len(seen["index"]) >= 12


def test_a_missing_topic_is_named_and_the_rest_is_evaluated(tmp_path, make_bag_plan, deployment, write_bag):
    with BagReader(write_bag(tmp_path / "bag")) as bag, BagWriter(tmp_path / "part") as part:
        for topic, stamp_ns, raw in bag:
            if topic != "/node2/audio":
                part.write_raw(topic, bag.topics[topic].type, raw, stamp_ns)
    results = evaluate(make_bag_plan(tmp_path / "part"), tmp_path / "out")
    assert results["source"]["bags"][0]["topics_missing"] == ["/node2/audio"]
    assert results["pieces"]["clean-00000"]["inputs"]["node2/audio"]["missing"] == 24
    elsewhere = {"sensors": {"node1": {"rgb": InputTopic(topic="/camera").model_dump()}}}
    with pytest.raises(InputError, match=r"topics: found /ground_truth/pose, .*allowed: at least one of /camera"):
        evaluate(make_bag_plan(tmp_path / "part", deployment=elsewhere), tmp_path / "none")


def test_messages_that_cannot_be_used_are_counted(tmp_path, make_bag_plan, write_bag):
    with BagReader(write_bag(tmp_path / "bag")) as bag, BagWriter(tmp_path / "hurt") as hurt:
        for n, (topic, stamp_ns, raw) in enumerate(bag):
            broken = topic == "/node1/rgb" and n % 2
            hurt.write_raw(topic, bag.topics[topic].type, raw[:60] if broken else raw, stamp_ns)
    results = evaluate(make_bag_plan(tmp_path / "hurt"), tmp_path / "out")
    stats = results["pieces"]["clean-00000"]["inputs"]["node1/rgb"]
    assert stats["refused"] == 12 and stats["received"] == 12 and "intact CDR" in stats["last_refusal"]


def test_types_messages_and_files_that_are_wrong(tmp_path, make_bag_plan, write_bag):
    def refused(path: Path, says: str) -> None:
        with pytest.raises(InputError, match=says) as caught:
            evaluate(make_bag_plan(path), tmp_path / "out")
        assert "\n" not in str(caught.value) and path.name in str(caught.value)
        assert not (tmp_path / "out" / "results.json").exists()
        shutil.rmtree(tmp_path / "out", ignore_errors=True)

    BagWriter(tmp_path / "empty").close()
    refused(tmp_path / "empty", "found 0 messages")
    with BagWriter(tmp_path / "poses") as bag:
        bag.write("/node1/rgb", make.POSE, make.pose_stamped((0, 0, 0), NOT_TURNED, START_NS, "map"), START_NS)
    refused(tmp_path / "poses", r"/node1/rgb: found geometry_msgs/msg/PoseStamped; allowed: sensor_msgs/msg/Image")
    refused(tmp_path / "nothing", "missing")
    cut = write_bag(tmp_path / "cut")
    (file,) = cut.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:int(0.6 * file.stat().st_size)])
    refused(cut, "cannot be read")
    index = write_bag(tmp_path / "index", storage="sqlite3")
    (file,) = index.glob("*.db3")
    data = bytearray(file.read_bytes())
    data[4096:12288] = bytes(8192)
    file.write_bytes(data)
    refused(index, "cannot be read|0 messages")
    (write_bag(tmp_path / "meta") / "metadata.yaml").write_text("broken: [")
    refused(tmp_path / "meta", "cannot be read")
    with BagReader(write_bag(tmp_path / "black", ticks=3)) as bag, BagWriter(tmp_path / "useless") as useless:
        for topic, stamp_ns, raw in bag:
            useless.write_raw(topic, bag.topics[topic].type, raw[:20] if "node" in topic else raw, stamp_ns)
    refused(tmp_path / "useless", r"frames: found none; node1/rgb: 3 refused")


def test_damage_far_inside_leaves_no_results(tmp_path, make_bag_plan, write_bag):
    """The file opens, and half of the frames come, before the damage shows."""
    bag = write_bag(tmp_path / "bag", storage="sqlite3", ticks=40)
    (file,) = bag.glob("*.db3")
    with sqlite3.connect(file) as base:
        base.execute("PRAGMA writable_schema = 1")
        pages = base.execute("PRAGMA page_count").fetchone()[0]
    data = bytearray(file.read_bytes())
    middle = 4096 * (pages // 2)
    data[middle:middle + 40 * 4096] = bytes(40 * 4096)
    file.write_bytes(data)
    with pytest.raises(InputError):
        evaluate(make_bag_plan(bag), tmp_path / "out")
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_real_recording_from_end_to_end(shared_data, tmp_path):
    """Nobody here made it: RGB-D of an office, its camera's poses as truth, with bad sensors injected."""
    convert_rgbd_folder(shared_data / "rgbd_sequence", tmp_path / "office", limit=12)
    create_random_model(preset("rgbd"), tmp_path / "model", seed=0)
    deployment = load_config(DeploymentConfig, Path(__file__).parents[2] / "config" / "rgbd.yaml")
    plan = parse_config(EvaluationPlan, {
        "sources": [str(tmp_path / "office")], "kind": "bag", "model": str(tmp_path / "model"), "budgets": [6],
        "corruptions": ["clean", "mmfi-gaussian"], "bag": {
            "deployment": deployment.model_dump(mode="json"), "hold_s": 0.3}}, "plan")
    clean, noisy = evaluate(plan, tmp_path / "out")["cells"]
    assert clean["frames"]["n"] == clean["error_cm"]["n"] == noisy["frames"]["n"] == 12
    assert clean["error_cm"]["mean"] != noisy["error_cm"]["mean"]
    assert records(tmp_path / "out", "mmfi-gaussian")["severity"].any()


def test_real_cameras_without_our_topics(shared_data, make_bag_plan, tmp_path):
    bags = shared_data / "rosbag2"
    with pytest.raises(InputError, match="topics: found /raspicam_node"):
        evaluate(make_bag_plan(bags / "fiducial_slam_test_aruco_images_d99eed"), tmp_path / "out")
    for folder in (p.parent for p in (bags / "nebula_continental_radar").rglob("metadata.yaml")):
        with BagReader(folder) as bag:
            (topic,) = bag.topics
        sensors = {"sensors": {"node1": {"rgb": {"topic": topic}}}}
        with pytest.raises(InputError, match="found nebula_msgs/msg/NebulaPackets; allowed: sensor_msgs/msg/Image"):
            evaluate(make_bag_plan(folder, deployment=sensors), tmp_path / "out")


# --- the command --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command(bag, model, deployment, tmp_path, capsys):
    dump_config(deployment, tmp_path / "sensors.yaml")
    arguments = ["evaluate", str(bag), "--model", str(model), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "--sensors" in capsys.readouterr().err
    arguments += ["--sensors", str(tmp_path / "sensors.yaml"), "--budgets", "3", "--recorded-budgets", "--governor"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "recorded /admn/budget" in printed and "governor" in printed
