# SPDX-License-Identifier: Apache-2.0
"""`admn replay`: the replay node by the command that needs no knowledge of ROS."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rclpy
from sensor_msgs.msg import Image

from admn_ros.nodes import qos
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bags import BagWriter

START_NS = 1_700_000_000_000_000_000


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    with BagWriter(tmp_path / "12") as writer:   # a name that YAML takes for a number
        for k in range(6):
            stamp_ns = START_NS + k * 50_000_000
            image = make.rgb_image(np.full((8, 8, 3), k, np.uint8), stamp_ns, "camera")
            for topic in ("/replayed/rgb", "/replayed/other"):
                writer.write(topic, make.IMAGE, image, stamp_ns)
    return tmp_path / "12"


def replay(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "admn_ros.cli", "replay", *map(str, arguments)],
                          capture_output=True, text=True, timeout=110, check=False)


def test_what_is_recorded_is_heard_and_what_is_excluded_is_not(bag: Path) -> None:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("listener", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    heard: dict[str, list[int]] = {"rgb": [], "other": []}
    for name, found in heard.items():
        node.create_subscription(Image, f"/replayed/{name}", lambda m, f=found: f.append(int(m.data[0])), qos.SENSOR_IN)
    playing = subprocess.Popen([sys.executable, "-m", "admn_ros.cli", "replay", str(bag), "--rate", "2",
                                "--exclude", "/replayed/other", "--wait-s", "60"])
    try:
        while playing.poll() is None:
            executor.spin_once(timeout_sec=0.1)
    finally:
        playing.kill()
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert playing.returncode == 0
    assert heard["rgb"] and heard["rgb"] == sorted(set(heard["rgb"])) and not heard["other"]


def test_what_cannot_be_replayed_is_said(bag: Path, tmp_path: Path) -> None:
    done = replay(tmp_path / "nothing")
    assert done.returncode == 2 and "nothing there; allowed: a rosbag2 folder" in done.stderr
    (bag / "metadata.yaml").write_text("broken: [")
    done = replay(bag, "--wait-s", 0)
    assert done.returncode == 2 and "cannot be read" in done.stderr and "Traceback" not in done.stderr
