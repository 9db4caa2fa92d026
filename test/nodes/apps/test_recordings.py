# SPDX-License-Identifier: Apache-2.0
"""Recordings through the nodes as separate processes: demo, replay and simulator."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from admn_ros.errors import InputError
from admn_ros.nodes.apps import demo, replay, simulator
from admn_ros.recordings.rgbd_folder import convert_rgbd_folder
from admn_ros.simulation.recording import record
from admn_ros.simulation.world import World
from helpers.demo_recording import cut_recording


def run(name: str, *arguments: object, timeout_s: float = 110.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", f"admn_ros.nodes.apps.{name}", *map(str, arguments)],
                          capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.fixture(scope="module")
def short_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cut_recording(tmp_path_factory.mktemp("bags") / "short", 3.0)


def test_the_demo_of_a_new_recording_ends_with_a_table_a_picture_and_figures(tmp_path):
    bag = tmp_path / "room"
    try:
        with World(3, target="red_car", quality="small") as world:
            record(bag, world, 3.0, events=False, compact=True)
    except InputError as error:
        if "MuJoCo" not in str(error.allowed):
            raise
        cut_recording(bag, 3.0)  # there is no renderer; it has the same layout
    # At half speed: what a busy machine does not take in time is lost (best effort), and nearly all is to arrive.
    done = run("demo", "--bag", bag, "--sensors", "demo", "--model", "untrained:gdtm-tiny", "--rate", 0.5,
               "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and "UNTRAINED" in done.stderr
    assert "budget 8" in done.stdout and "/12" in done.stdout
    figures = json.loads((tmp_path / "demo.json").read_text())
    assert figures["budget_violations"] == 0 and figures["frames_without_estimate"] == 0
    received = figures["inputs"]["node1/rgb"]["received"]
    assert received >= 43, "15 Hz for 3 s"
    assert all(counts["received"] > 0 for counts in figures["inputs"].values())
    assert figures["frames_with_ground_truth"] >= 0.8 * figures["frames_watched"] > 0
    # Each reading of the reference is a frame; another input may make the first few.
    assert abs(figures["frames_processed"] + figures["frames_dropped"] - received) <= 5
    assert 0 < figures["latency_p50_ms"] <= figures["latency_p95_ms"]
    assert (tmp_path / "demo.png").stat().st_size > 10_000


def test_the_bundled_recording_and_the_shipped_model_need_no_argument(tmp_path):
    done = run("demo", "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bundled, `admn simulate" in done.stdout and "class red_car" in done.stdout
    figures = json.loads((tmp_path / "demo.json").read_text())
    assert figures["budget_violations"] == 0 and figures["frames_without_estimate"] == 0
    assert figures["frames_with_ground_truth"] >= 0.9 * figures["frames_watched"]
    assert figures["median_error_cm"] < 15, "7 in all frames; some are dropped on a busy machine"


def test_a_real_rgbd_recording_goes_through_the_node(shared_data, tmp_path, record_property):
    bag = tmp_path / "rgbd"
    converted = convert_rgbd_folder(shared_data / "rgbd_sequence", bag, storage="sqlite3")
    assert converted.frames == 250
    done = run("demo", "--bag", bag, "--sensors", "rgbd", "--model", "untrained:rgbd", "--rate", 2, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "demo.json").read_text())
    for name, value in figures.items():
        record_property(name, value)
    assert figures["budget_violations"] == 0
    for counts in figures["inputs"].values():
        assert counts["recorded"] == 250
        assert 248 <= counts["received"] <= 250, "best effort, but the shipped profile loses next to nothing"
    # Every rgb reading is a frame; the node reports it, or counts it as dropped.
    reported = figures["frames_processed"] + figures["frames_dropped"]
    assert abs(reported - figures["inputs"]["camera/rgb"]["received"]) <= 3
    assert figures["frames_watched"] >= 0.8 * 250


def test_the_simulator_plays_its_room_and_ends():
    done = run("simulator", "--ros-args", "-p", "seconds:=1.5", "-p", "nodes:=1", "-p", "wait_for_subscribers_s:=0.0")
    if "MuJoCo" in done.stderr:
        pytest.skip(f"no renderer: {done.stderr}")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "/node1/rgb/image_raw 2" in done.stderr and "/ground_truth/pose" in done.stderr


def test_a_bad_argument_of_the_simulator_is_one_clear_line(run_here):
    done = run_here(simulator.main, "--ros-args", "-p", "drive:=sideways", "-p", "wait_for_subscribers_s:=0.0")
    assert done.returncode == 2 and "drive: found" in done.stderr and "allowed: laps" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("arguments", "says"), [
    ((), "bag: missing; required: -p bag:=FOLDER"),
    (("--ros-args", "-p", "bag:="), "override rule"),
    (("--ros-args", "-p", "bag:=/nowhere/bag"), "/nowhere/bag"),
    (("--ros-args", "-p", "bag:=/nowhere/bag", "-p", "rate:=fast"), "rate: found 'fast'; allowed: a number"),
    (("--ros-args", "-p", "bag:=/nowhere/bag", "-p", "rate:=0.0"), "rate"),
])
def test_a_missing_bag_or_a_wrong_parameter_of_replay_is_one_clear_line(run_here, arguments, says):
    done = run_here(replay.main, *arguments)
    assert done.returncode == 2 and says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_argument_ends_the_demo_at_once_with_one_line(run_here, short_recording, tmp_path):
    (tmp_path / "file").write_text("x")
    for arguments, says in (
        (("--bag", tmp_path / "nothing", "--model", "untrained:gdtm-tiny"), "nothing"),
        (("--bag", short_recording, "--model", tmp_path / "nothing"), "nothing"),
        (("--bag", short_recording, "--model", "untrained:rgbd"), "camera"),
        (("--bag", short_recording, "--model", "untrained:gdtm-tiny", "--sensors", "nosuch"), "nosuch"),
        (("--bag", short_recording, "--model", "untrained:gdtm-tiny", "--out", tmp_path / "file"), "file"),
    ):
        done = run_here(demo.main, *arguments)
        assert done.returncode == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
        assert "Traceback" not in done.stderr and "\n" not in done.stderr.strip()


@pytest.mark.slow
def test_the_node_leaves_without_a_traceback(short_recording):
    # As in the demo: the node at work on a recording when the signal comes. Two nodes, one for each signal.
    signals = (signal.SIGINT, signal.SIGTERM)
    nodes = [subprocess.Popen(
        [sys.executable, "-m", "admn_ros.nodes.perception.node", "--ros-args", "-r", f"__node:={how.name.lower()}",
         "-p", "autostart:=true", "-p", "model:=untrained:gdtm-tiny", "-p", "sensors:=demo",
         "-p", "use_sim_time:=true"],
        stderr=subprocess.PIPE, text=True) for how in signals]
    replay = subprocess.Popen(
        [sys.executable, "-m", "admn_ros.nodes.apps.replay", "--ros-args", "-p", f"bag:={short_recording}",
         "-p", "loop:=true", "-p", "wait_for_subscribers_s:=30.0"], stderr=subprocess.PIPE, text=True)
    try:
        for node in nodes:
            seen = ""
            while "configured" not in seen:
                line = node.stderr.readline()
                assert line, f"the node ended: {seen}"
                seen += line
        time.sleep(3)
        ended = []
        for node, how in zip(nodes, signals, strict=True):
            node.send_signal(how)
            _, errors = node.communicate(timeout=60)
            ended.append((how.name, node.returncode, "Traceback" in errors, errors))
    finally:
        for node in nodes:
            node.kill()
        replay.send_signal(signal.SIGINT)
        _, replay_errors = replay.communicate(timeout=60)
    assert not [end for end in ended if end[1] or end[2]]
    assert "Traceback" not in replay_errors
