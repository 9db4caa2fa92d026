# SPDX-License-Identifier: Apache-2.0
"""The layouts of RViz and Foxglove parse, and show only topics of the node with their types."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import yaml
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from admn_ros.msg import LayerAllocation, ModalityAllocation

ROOT = Path(__file__).resolve().parents[3]
RVIZ_FILE = yaml.safe_load((ROOT / "config" / "gdtm.rviz").read_text())
RVIZ = RVIZ_FILE["Visualization Manager"]
FOXGLOVE = json.loads((ROOT / "config" / "gdtm_foxglove.json").read_text())
LAUNCH = (ROOT / "launch" / "gdtm.launch.py").read_text()
OTHERS = {"/diagnostics", "/ground_truth/pose"}  # everybody's, and a simulated bag's
TYPES = {"MarkerArray": "visualization_msgs/msg/MarkerArray", "Odometry": "nav_msgs/msg/Odometry",
         "PoseWithCovariance": "geometry_msgs/msg/PoseWithCovarianceStamped", "Image": "sensor_msgs/msg/Image"}
AXES = {"Axes Length": float, "Axes Radius": float}
COVARIANCE = {"Value": bool, "Position": {"Value": bool}, "Orientation": {"Value": bool}}
TOPIC = {"Value": str, "Depth": int, "History Policy": {"Keep Last", "Keep All"},
         "Reliability Policy": {"Reliable", "Best Effort"}, "Durability Policy": {"Volatile", "Transient Local"}}
DISPLAY = {"Class": str, "Name": str, "Enabled": bool, "Topic": TOPIC}
PROPERTIES = {  # of RViz's displays (Jazzy), those that the view sets; RViz ignores other names in silence
    "Grid": {"Cell Size": float, "Plane": {"XY", "XZ", "YZ"}, "Plane Cell Count": int, "Color": "colour"},
    "MarkerArray": {},
    "Image": {},
    "Pose": {"Shape": {"Arrow", "Axes"}, **AXES},
    "PoseWithCovariance": {"Shape": {"Arrow", "Axes"}, "Covariance": COVARIANCE, **AXES},
    "Odometry": {"Shape": {"Value": {"Arrow", "Axes"}, **AXES}, "Covariance": COVARIANCE, "Keep": int,
                 "Position Tolerance": float, "Angle Tolerance": float},
}
VIEW = {"Class": str, "Name": str, "Target Frame": str, "Scale": float, "X": float, "Y": float, "Angle": float}
TITLE = {"foxglovePanelTitle": str, "lichtblickPanelTitle": str}
LINE = {"value": str, "enabled": bool, "timestampMethod": {"receiveTime", "headerStamp"}, "label": str,
        "color": "hex", "showLine": bool, "lineSize": float}
CAMERA = {"perspective": bool, "distance": float, "phi": float, "thetaOffset": float, "targetOffset": [float],
          "target": [float], "targetOrientation": [float], "fovy": float, "near": float, "far": float}
GRID = {"layerId": {"foxglove.Grid"}, "instanceId": str, "label": str, "visible": bool, "frameLocked": bool,
        "size": float, "divisions": int, "lineWidth": float, "color": "hex", "position": [float], "rotation": [float],
        "order": int}
PANELS = {  # of Foxglove's and Lichtblick's panels, the settings that the layout makes; others they ignore in silence
    "3D": {"followTf": str, "followMode": {"follow-pose", "follow-position", "follow-none"}, "cameraState": CAMERA,
           "scene": {"backgroundColor": "hex", "labelScaleFactor": float,
                     "transforms": {"showLabel": bool, "axisScale": float}},
           "layers": {"*": GRID},
           "topics": {"*": {"visible": bool, "type": {"axis", "arrow"}, "axisScale": float, "showCovariance": bool}}},
    "Image": {"imageMode": {"imageTopic": str}},
    "Plot": {"paths": [LINE], "showXAxisLabels": bool, "showYAxisLabels": bool, "showLegend": bool,
             "legendDisplay": {"floating", "top", "left", "none"}, "showPlotValuesInLegend": bool, "isSynced": bool,
             "xAxisVal": {"timestamp"}, "followingViewWidth": float, "sidebarDimension": float, "minYValue": float,
             "maxYValue": float},
    "DiagnosticSummary": {"topicToRender": str, "minLevel": int, "pinnedIds": [str], "hardwareIdFilter": str,
                          "sortByLevel": bool},
    "RawMessages": {"topicPath": str, "diffEnabled": bool, "expansion": {"all", "none"}},
}


def fits(value: object, wanted: object, where: str) -> None:
    """Assert that a value is of a setting's type (or one of its options, or made of settings itself)."""
    if isinstance(wanted, dict):
        assert isinstance(value, dict) and ("*" in wanted or set(value) <= set(wanted)), (where, value)
        for key, inner in value.items():
            fits(inner, wanted.get("*", wanted.get(key)), f"{where}/{key}")
    elif isinstance(wanted, list):
        assert isinstance(value, list), (where, value)
        for inner in value:
            fits(inner, wanted[0], where)
    elif isinstance(wanted, set):
        assert value in wanted, (where, value)
    elif wanted == "colour":
        assert re.fullmatch(r"\d+; \d+; \d+", value) and max(map(int, value.split("; "))) < 256, (where, value)
    elif wanted == "hex":
        assert re.fullmatch(r"#[0-9a-f]{6}([0-9a-f]{2})?", value), (where, value)
    else:
        assert type(value) in ((int, float) if wanted is float else (wanted,)), (where, value)


def panels(layout: object) -> set[str]:
    """Return the names of the panels in a Foxglove layout."""
    if isinstance(layout, str):
        return {layout}
    assert isinstance(layout, dict) and layout["direction"] in ("row", "column")
    assert 0 < layout["splitPercentage"] < 100
    return panels(layout["first"]) | panels(layout["second"])


def foxglove_paths() -> list[str]:
    """Return the topics and message paths of all panels."""
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


def test_all_foxglove_panels_are_placed_and_configured():
    assert panels(FOXGLOVE["layout"]) == set(FOXGLOVE["configById"])


def test_every_setting_of_the_layout_exists_in_foxglove():
    for name, config in FOXGLOVE["configById"].items():
        fits(config, TITLE | PANELS[name.split("!")[0]], name)
        assert config["foxglovePanelTitle"] == config["lichtblickPanelTitle"], name
    assert set(FOXGLOVE) == {"configById", "globalVariables", "userNodes", "playbackConfig", "layout"}
    for path in foxglove_paths():
        assert re.fullmatch(r'(/\w+)+(\.\w+(\[:\]\{\w+=="\w+"\})?)*', path), path


def test_both_layouts_show_only_topics_of_the_node_with_their_types(rig):
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
    assert RVIZ["Global Options"]["Fixed Frame"] == rig.node.pipeline.engine.config.frame_id


def test_every_property_of_the_layout_exists_in_rviz():
    for display in RVIZ["Displays"]:
        package, kind = display["Class"].split("/")
        assert package == "rviz_default_plugins"
        fits(display, DISPLAY | PROPERTIES[kind], display["Name"])
    fits(RVIZ["Global Options"], {"Background Color": "colour", "Fixed Frame": str, "Frame Rate": int}, "options")
    fits(RVIZ["Views"]["Current"], VIEW, "view")
    assert {panel["Class"] for panel in RVIZ_FILE["Panels"]} == {"rviz_common/Displays", "rviz_common/Time"}


def test_the_rviz_window_has_every_panel():
    """Without Hide Left Dock and Hide Right Dock, RViz reads uninitialized memory and may hide the panels."""
    window = RVIZ_FILE["Window Geometry"]
    assert window["Hide Left Dock"] is False and window["Hide Right Dock"] is False
    state = bytes.fromhex(window["QMainWindow State"]).decode("utf-16-be", "replace"), bytes.fromhex(
        "00" + window["QMainWindow State"]).decode("utf-16-be", "replace")  # names lie at even or odd places
    pictures = {d["Name"] for d in RVIZ["Displays"] if d["Class"].endswith("/Image")}
    for name in {panel["Name"] for panel in RVIZ_FILE["Panels"]} | pictures:
        assert any(name in text for text in state) and window[name] == {"collapsed": False}, name


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


def test_the_launch_file_remaps_the_topics_that_rviz_shows():
    shown = next(ast.literal_eval(node.value) for node in ast.parse(LAUNCH).body
                 if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SHOWN")
    assert {f"/admn/{name}" for name in shown} == set(displayed()) - OTHERS
    assert len(LAUNCH.splitlines()) < 300
