# SPDX-License-Identifier: Apache-2.0
"""The views of RViz and Foxglove parse, and show nothing but what the node publishes, as it publishes it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import yaml
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

ROOT = Path(__file__).resolve().parents[2]
RVIZ = yaml.safe_load((ROOT / "config" / "gdtm.rviz").read_text())["Visualization Manager"]
FOXGLOVE = json.loads((ROOT / "config" / "gdtm_foxglove.json").read_text())
LAUNCH = (ROOT / "launch" / "gdtm.launch.py").read_text()
OTHERS = {"/diagnostics", "/ground_truth/pose"}  # everybody's, and a simulated bag's
TYPES = {"MarkerArray": "visualization_msgs/msg/MarkerArray", "Odometry": "nav_msgs/msg/Odometry",
         "PoseWithCovariance": "geometry_msgs/msg/PoseWithCovarianceStamped", "Image": "sensor_msgs/msg/Image"}


def panels(layout: object) -> set[str]:
    """Names of the panels that a Foxglove layout places."""
    if isinstance(layout, str):
        return {layout}
    assert isinstance(layout, dict) and layout["direction"] in ("row", "column")
    assert 0 < layout["splitPercentage"] < 100
    return panels(layout["first"]) | panels(layout["second"])


def foxglove_paths() -> list[str]:
    """Topics and message paths of all panels."""
    found = []
    for name, config in FOXGLOVE["configById"].items():
        match name.split("!")[0]:
            case "3D":
                found += list(config["topics"])
            case "Image":
                found.append(config["imageMode"]["imageTopic"])
            case "Plot":
                found += [path["value"] for path in config["paths"]]
            case "DiagnosticSummary":
                found.append(config["topicToRender"])
            case "RawMessages":
                found.append(config["topicPath"])
            case kind:
                raise AssertionError(f"unknown panel {kind}")
    return found


def displayed() -> dict[str, dict]:
    return {d["Topic"]["Value"]: d for d in RVIZ["Displays"] if "Topic" in d}


def test_foxgloves_panels_are_all_placed_and_described():
    assert panels(FOXGLOVE["layout"]) == set(FOXGLOVE["configById"])


def test_both_show_only_topics_that_the_node_has(rig):
    rig.frame()
    own = {name for name, _ in rig.driver.get_publisher_names_and_types_by_node("admn", "/")}
    assert {path.split(".")[0] for path in foxglove_paths()} <= own | OTHERS
    assert set(displayed()) <= own | OTHERS
    for name in ("debug_image", "pose", "markers", "sensor_nodes"):
        assert f"/admn/{name}" in displayed() and f"/admn/{name}" in foxglove_paths(), name
    assert "/admn/odometry" in displayed()


def test_rvizs_types_and_qos_are_the_nodes(rig):
    rig.frame()
    own = dict(rig.driver.get_publisher_names_and_types_by_node("admn", "/"))
    for topic, display in displayed().items():
        if topic in OTHERS:
            continue
        assert own[topic] == [TYPES[display["Class"].split("/")[1]]], topic
        (info,) = rig.driver.get_publishers_info_by_topic(topic)
        latched = display["Topic"]["Durability Policy"] == "Transient Local"
        assert latched == (info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL), topic
        assert display["Topic"]["Reliability Policy"] == "Reliable"
        assert info.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        assert display["Enabled"] is True
    assert RVIZ["Global Options"]["Fixed Frame"] == rig.allocations[-1].header.frame_id


@pytest.mark.parametrize("path", [p for p in foxglove_paths() if "." in p])
def test_plotted_fields_are_in_the_messages(rig, path):
    """Walk a path like /topic.a.list[:]{key=="x"}.b through the message's fields."""
    from nav_msgs.msg import Odometry

    from admn_ros.msg import LayerAllocation

    topic, *fields = re.sub(r'\[:\]\{\w+=="\w+"\}', "[]", path).split(".")
    message = {"/admn/allocation": rig.frame, "/admn/odometry": Odometry}[topic]()
    assert isinstance(message, LayerAllocation | Odometry)
    for field in fields:
        message = getattr(message, field.removesuffix("[]"))
        if field.endswith("[]"):
            chosen = re.search(r'\{(\w+)=="(\w+)"\}', path)
            message = next(m for m in message if getattr(m, chosen[1]) == chosen[2])
    assert isinstance(message, int | float)


def test_the_launch_file_renames_in_rviz_what_rviz_shows():
    shown = next(ast.literal_eval(node.value) for node in ast.parse(LAUNCH).body
                 if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SHOWN")
    assert {f"/admn/{name}" for name in shown} == set(displayed()) - OTHERS
    assert len(LAUNCH.splitlines()) < 200
