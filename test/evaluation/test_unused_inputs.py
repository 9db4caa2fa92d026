# SPDX-License-Identifier: Apache-2.0
"""Recordings with inputs that are of no use: a warning in the terminal, and the reason in results and report."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from admn_ros.cli import main
from admn_ros.config import dump_config, parse_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_writer import BagWriter

pytestmark = pytest.mark.slow

START_NS = 1_700_000_000_000_000_000
WHY = "none of 30 readings used: stamps 37.0 s ahead of node1/rgb (TAI against UTC?)"
REFUSED = "all 30 messages refused, last: node2/rgb.data"


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Depth by a TAI clock, broken JPEG images, and one topic in another namespace."""
    types = make.typestore()
    packed = types.types["sensor_msgs/msg/CompressedImage"]
    broken = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].reshape(-1)[:40]
    with BagWriter(tmp_path / "drive") as writer:
        for k in range(30):
            stamp_ns = START_NS + k * 66_000_000
            writer.write("/node1/rgb", make.IMAGE, make.rgb_image(np.zeros((24, 24, 3), np.uint8), stamp_ns, "a"),
                         stamp_ns)
            depth = make.depth_image(np.ones((24, 24), np.float32), stamp_ns + 37 * 10**9, "a")
            writer.write("/node1/depth", make.IMAGE, depth, stamp_ns + 1000)
            writer.write("/node2/rgb", "sensor_msgs/msg/CompressedImage",
                         packed(make.header(stamp_ns, "b"), "jpeg", broken), stamp_ns + 2000)
            writer.write("/robot/node2/depth", make.IMAGE, depth, stamp_ns + 3000)
    return tmp_path / "drive"


@pytest.fixture
def sensors(tmp_path: Path) -> Path:
    inputs = {"node1": {"rgb": {"topic": "/node1/rgb"}, "depth": {"topic": "/node1/depth"}},
              "node2": {"rgb": {"topic": "/node2/rgb", "type": "compressed_image"}, "depth": {"topic": "/node2/depth"}}}
    dump_config(parse_config(DeploymentConfig, {"sensors": inputs}, "test"), tmp_path / "sensors.yaml")
    return tmp_path / "sensors.yaml"


def warnings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("WARN ")]


def check(lines: list[str]) -> None:
    missing, unused, refused = lines
    assert missing == "WARN drive: no messages on /node2/depth; it has /robot/node2/depth (sensor_msgs/msg/Image)"
    assert unused.startswith(f"WARN drive: node1/depth: {WHY}")
    assert refused.startswith(f"WARN drive: node2/rgb: {REFUSED}")


def test_evaluate_warns_of_each_input_that_is_of_no_use(bag, sensors, model, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["evaluate", str(bag), "--model", str(model), "--out", str(out), "--budgets", "3",
                 "--sensors", str(sensors)]) == 0
    check(warnings(capsys.readouterr().err))
    results = json.loads((out / "results.json").read_text())
    inputs = results["pieces"]["clean-00000"]["inputs"]
    assert inputs["node1/depth"]["problem"].startswith(WHY)
    assert (inputs["node1/depth"]["used"], inputs["node1/depth"]["offset_s"]) == (0, 37.0)
    assert inputs["node1/rgb"]["problem"] is None and inputs["node1/rgb"]["used"] == 30
    assert results["source"]["bags"][0]["topics_similar"] == {
        "/node2/depth": ["/robot/node2/depth (sensor_msgs/msg/Image)"]}
    page = (out / "report.html").read_text()
    assert WHY in page and REFUSED in page


def test_convert_warns_of_each_input_that_is_of_no_use(bag, sensors, model, tmp_path, capsys):
    assert main(["convert", "bag", str(bag), str(tmp_path / "data"), "--model", str(model), "--sensors", str(sensors),
                 "--without-truth", "keep", "--shares", "1", "0", "0"]) == 0
    check(warnings(capsys.readouterr().err))
