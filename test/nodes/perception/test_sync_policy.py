# SPDX-License-Identifier: Apache-2.0
"""ROS's approximate time synchronizer in the place of ours, where it is installed, and the comparison of both."""

from __future__ import annotations

import dataclasses
import importlib.util
import json

import numpy as np
import pytest
import yaml

from admn_ros.config import parse_config
from admn_ros.deployment import SyncConfig
from admn_ros.errors import ConfigError
from admn_ros.nodes.perception.approximate_time import ApproximateTime, make_synchronizer
from admn_ros.nodes.trials import sync_benchmark
from admn_ros.sample import Modality, SensorKey
from admn_ros.sensing.sync.synchronizer import Synchronizer, holding

CONFIGURE = 1
INSTALLED = importlib.util.find_spec("message_filters") is not None
RGB, DEPTH = SensorKey("left", Modality.RGB), SensorKey("left", Modality.DEPTH)
WITHOUT_SPEED = ("cpu_us_per_message", "worst_call_ms")


def approximate(**change: object) -> SyncConfig:
    return parse_config(SyncConfig, {"policy": "approximate_time", "slop_s": 0.02, **change}, "sync")


@pytest.mark.skipif(INSTALLED, reason="message_filters is installed")
def test_without_message_filters_configuration_fails_and_names_it(make_rig, model_folder, sensors_file, capfd):
    raw = yaml.safe_load(sensors_file.read_text())
    raw["sync"]["policy"] = "approximate_time"
    sensors_file.write_text(yaml.safe_dump(raw))
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file))
    assert not rig.transition(CONFIGURE) and rig.state() == "unconfigured"
    log = capfd.readouterr().err
    assert "sync.policy: found approximate_time" in log and "ROS package message_filters" in log


def test_offline_there_is_only_our_own():
    assert isinstance(holding(SyncConfig(), [RGB]), Synchronizer)
    assert isinstance(make_synchronizer(SyncConfig(), [RGB]), Synchronizer)
    with pytest.raises(ConfigError, match=r"sync\.policy: found approximate_time; allowed: hold"):
        holding(approximate(), [RGB])


@pytest.mark.skipif(not INSTALLED, reason="message_filters is not installed")
def test_frames_are_complete_sets_and_time_may_jump_back():
    join = ApproximateTime(approximate(), [RGB, DEPTH])
    for start_ns in (10**10, 10**9):  # as a bag that loops
        for k in range(5):
            stamp_ns = start_ns + k * 66_000_000
            reading = np.full((2, 2), k)
            assert not join.add(RGB, stamp_ns, reading, 0.066 * k)
            assert not join.add(RGB, stamp_ns, reading, 0.066 * k), "a duplicate"
            (frame,) = join.add(DEPTH, stamp_ns + 5_000_000, reading, 0.066 * k + 0.01)
            assert frame.stamp_ns == stamp_ns and frame.reference == RGB and list(frame.readings) == [RGB, DEPTH]
            assert frame.readings[DEPTH].stamp_ns == stamp_ns + 5_000_000 and frame.readings[RGB].data is reading
            waited_s = 0.0 if (start_ns, k) == (10**9, 0) else 0.01  # the first set was held
            assert frame.waited_s == pytest.approx(waited_s)
    stats = join.stats()
    assert (stats.frames, stats.resets, stats.inputs[RGB].duplicates) == (10, 1, 10)
    assert not join.poll(100.0)


@pytest.mark.skipif(not INSTALLED, reason="message_filters is not installed")
def test_the_node_runs_with_it(make_rig, model_folder, sensors_file):
    raw = yaml.safe_load(sensors_file.read_text())
    raw["sync"] |= {"policy": "approximate_time", "slop_s": 0.03}
    sensors_file.write_text(yaml.safe_dump(raw))
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), autostart=True, diagnostics_period_s=0.1)
    assert rig.connected()
    for _ in range(3):
        assert not any(m.missing_nodes or m.held_nodes for m in rig.frame().modalities)
    silent = rig.send(skip=("right/depth",))
    rig.frame()
    assert rig.allocation_of(silent) is None, "sets are complete or not at all"
    assert rig.wait(lambda: rig.status("input left/rgb") and rig.status("input left/rgb").level == b"\x00")


def test_the_benchmark_gives_the_same_again_and_writes_what_it_ran(tmp_path, capsys):
    case = sync_benchmark.cases()[3]
    once, again = (dataclasses.asdict(sync_benchmark.run(case, "hold", 3.0, seed=4)) for _ in range(2))
    assert {k: v for k, v in once.items() if k not in WITHOUT_SPEED} == {
        k: v for k, v in again.items() if k not in WITHOUT_SPEED}
    assert once["frames"] >= 40 and once["references"] == 45 and once["complete_share"] > 0.9
    assert 0 < once["added_wait_p50_ms"] <= once["added_wait_p95_ms"] < 60
    assert sync_benchmark.main(["--seconds", "1", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "sync.json").read_text())
    ran = [o["policy"] for o in result["outcomes"]]
    assert ran.count("hold") == 5 and ran.count("approximate_time") == (6 if INSTALLED else 0)
    assert (result["not_run"] is None) == INSTALLED
    assert ("approximate_time was not run" in capsys.readouterr().out) != INSTALLED
