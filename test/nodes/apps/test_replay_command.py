# SPDX-License-Identifier: Apache-2.0
"""`admn replay` over DDS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import rclpy
from sensor_msgs.msg import Image

from admn_ros.cli import main
from admn_ros.nodes import qos
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_writer import BagWriter

START_NS = 1_700_000_000_000_000_000


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    with BagWriter(tmp_path / "12") as writer:   # a name that YAML parses as a number
        for k in range(6):
            stamp_ns = START_NS + k * 50_000_000
            image = make.rgb_image(np.full((8, 8, 3), k, np.uint8), stamp_ns, "camera")
            for topic in ("/replayed/rgb", "/replayed/other"):
                writer.write(topic, make.IMAGE, image, stamp_ns)
    return tmp_path / "12"


@pytest.fixture
def received() -> Iterator[tuple[rclpy.executors.Executor, dict[str, list[int]]]]:
    """An executor, and the first pixels of the images received on each topic while it spins."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("listener", context=context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    found: dict[str, list[int]] = {"rgb": [], "other": []}
    for name, pixels in found.items():
        node.create_subscription(Image, f"/replayed/{name}", lambda m, p=pixels: p.append(int(m.data[0])),
                                 qos.SENSOR_IN)
    yield executor, found
    node.destroy_node()
    rclpy.shutdown(context=context)


def start(bag: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "admn_ros.cli", "replay", str(bag), *arguments, "--wait-s", "60"],
                            start_new_session=True)


def test_what_is_recorded_is_received_and_what_is_excluded_is_not(bag: Path, received) -> None:
    executor, found = received
    playing = start(bag, "--rate", "2", "--exclude", "/replayed/other")
    try:
        while playing.poll() is None:
            executor.spin_once(timeout_sec=0.1)
    finally:
        playing.kill()
    assert playing.returncode == 0
    assert found["rgb"] and found["rgb"] == sorted(set(found["rgb"])) and not found["other"]


def test_a_loop_restarts_at_the_end(bag: Path, received) -> None:
    executor, found = received
    playing = start(bag, "--loop")
    try:
        while found["rgb"] == sorted(found["rgb"]) and playing.poll() is None:
            executor.spin_once(timeout_sec=0.1)
        assert playing.poll() is None, "it does not end"
        os.killpg(playing.pid, signal.SIGINT)   # as Ctrl-C does
        playing.wait(60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(playing.pid, signal.SIGKILL)
    assert found["rgb"] != sorted(found["rgb"])


def test_a_bag_that_cannot_be_read_is_one_clear_line(run_here, bag: Path, tmp_path: Path) -> None:
    done = run_here(main, "replay", tmp_path / "nothing")
    assert done.returncode == 2 and "nothing: missing; required: a rosbag2 folder" in done.stderr
    (bag / "metadata.yaml").write_text("broken: [")
    done = run_here(main, "replay", bag, "--wait-s", 0)
    assert done.returncode == 2 and "cannot be read" in done.stderr and "Traceback" not in done.stderr
