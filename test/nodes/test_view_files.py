# SPDX-License-Identifier: Apache-2.0
"""The views of RViz and Foxglove parse, and show nothing but what the node publishes, as it publishes it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import yaml
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from admn_ros.msg import LayerAllocation, ModalityAllocation

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


def test_both_show_only_what_the_node_publishes_and_as_it_publishes_it(rig):
    wanted = {path.split(".")[0] for path in foxglove_paths()} | set(displayed())

    def own() -> dict[str, list[str]]:
        return dict(rig.driver.get_publisher_names_and_types_by_node("admn", "/"))

    assert rig.wait(lambda: wanted - OTHERS <= set(own())), f"no such topics: {wanted - OTHERS - set(own())}"
    for name in ("debug_image", "pose", "markers", "sensor_nodes"):
        assert f"/admn/{name}" in displayed() and f"/admn/{name}" in foxglove_paths(), name
    assert "/admn/odometry" in displayed()
    for topic in set(displayed()) - OTHERS:
        display, (info,) = displayed()[topic], rig.driver.get_publishers_info_by_topic(topic)
        assert own()[topic] == [TYPES[display["Class"].split("/")[1]]], topic
        latched = display["Topic"]["Durability Policy"] == "Transient Local"
        assert latched == (info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL), topic
        assert display["Topic"]["Reliability Policy"] == "Reliable"
        assert info.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        assert display["Enabled"] is True
    assert RVIZ["Global Options"]["Fixed Frame"] == rig.node._pipeline.engine.config.frame_id


def test_plotted_fields_are_in_the_messages():
    """Walk each path like /topic.a.list[:]{key=="x"}.b through the fields of a message."""
    modalities = [ModalityAllocation(modality=name) for name in ("rgb", "depth", "radar", "audio")]
    messages = {"/admn/allocation": LayerAllocation(modalities=modalities), "/admn/odometry": Odometry()}
    plotted = [path for path in foxglove_paths() if "." in path]
    assert len(plotted) > 8
    for path in plotted:
        topic, *fields = re.sub(r'\[:\]\{\w+=="\w+"\}', "[]", path).split(".")
        value = messages[topic]
        for field in fields:
            value = getattr(value, field.removesuffix("[]"))
            if field.endswith("[]"):
                chosen = re.search(r'\{(\w+)=="(\w+)"\}', path)
                value = next(m for m in value if getattr(m, chosen[1]) == chosen[2])
        assert isinstance(value, int | float), path


def test_the_launch_file_renames_in_rviz_what_rviz_shows():
    shown = next(ast.literal_eval(node.value) for node in ast.parse(LAUNCH).body
                 if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SHOWN")
    assert {f"/admn/{name}" for name in shown} == set(displayed()) - OTHERS
    assert len(LAUNCH.splitlines()) < 200
