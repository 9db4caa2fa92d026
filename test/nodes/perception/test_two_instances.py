# SPDX-License-Identifier: Apache-2.0
"""Two perception nodes side by side: names, namespaces, remapped topics, budgets of their own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter

from admn_ros.msg import ComputeBudget, LayerAllocation
from admn_ros.nodes.perception.node import PerceptionNode

OTHER = "/robot/eyes"


@pytest.fixture
def second(rig, model_folder: Path, sensors_file: Path) -> Iterator[PerceptionNode]:
    """A node beside the rig's, in a namespace, with another name, one sensor topic renamed, and in a thread."""
    node = PerceptionNode(
        "eyes", namespace="/robot", context=rig.context,
        cli_args=["--ros-args", "-r", "/left/rgb:=/robot/left/camera"],
        parameter_overrides=[Parameter("model", value=str(model_folder)), Parameter("autostart", value=True),
                             Parameter("sensors", value=str(sensors_file)), Parameter("budget_limit", value=3.0),
                             Parameter("diagnostics_period_s", value=0.2), Parameter("no_target_above", value=1.0)])
    executor = SingleThreadedExecutor(context=rig.context)
    executor.add_node(node)

    stopping = threading.Event()

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException, rclpy._rclpy_pybind11.RCLError):
            while not stopping.is_set():
                executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    yield node
    stopping.set()
    thread.join(5)
    executor.shutdown()
    node.destroy_node()


def layers(allocation: LayerAllocation) -> int:
    return sum(len(m.active_layers) for m in allocation.modalities)


def test_two_nodes_share_sensors_but_nothing_else(rig, second):
    seen: list[LayerAllocation] = []
    poses: list[PoseWithCovarianceStamped] = []
    diagnosed: list[DiagnosticArray] = []
    rig.driver.create_subscription(LayerAllocation, f"{OTHER}/allocation", seen.append, 50)
    rig.driver.create_subscription(PoseWithCovarianceStamped, f"{OTHER}/pose", poses.append, 50)
    rig.driver.create_subscription(DiagnosticArray, "/diagnostics", diagnosed.append, 50)
    budgets = rig.driver.create_publisher(ComputeBudget, f"{OTHER}/budget", 10)
    shared = [output for key, output in rig.outputs.items() if key != ("left", "rgb")]
    assert rig.wait(lambda: rig.driver.count_publishers(f"{OTHER}/allocation") and budgets.get_subscription_count()
                    and all(output.get_subscription_count() == 2 for output in shared))
    assert rig.outputs["left", "rgb"].get_subscription_count() == 1, "the other one listens to its own camera"
    assert rig.driver.count_subscribers("/robot/left/camera") == 1

    for _ in range(3):  # until every input is live and waited for
        rig.frame()
    assert layers(rig.frame()) == 8
    assert rig.wait(lambda: len(seen) > 4 or not rig.frame())
    assert rig.wait(lambda: poses)
    assert layers(seen[-1]) == 3 and all(a.spent <= 3 and a.source == "parameter" for a in seen)
    rgb = next(m for m in seen[-1].modalities if m.modality == "rgb")
    assert rgb.missing_nodes == ["left"]

    budgets.publish(ComputeBudget(limit=5.0, source="test"))
    assert rig.wait(lambda: rig.send() and layers(seen[-1]) == 5)
    assert rig.wait(lambda: layers(rig.frame()) == 8), "the budget of the one is none of the other's"
    assert all(a.requested_limit == 8 for a in rig.allocations)
    names = {"admn", OTHER.removeprefix("/")}  # as the standard aggregator matches them: without a leading slash
    assert rig.wait(lambda: {s.name.split(":")[0] for m in diagnosed for s in m.status} == names)
    assert {s.hardware_id for m in diagnosed for s in m.status if s.name.endswith(": budget")} == {"/admn", OTHER}

    assert second.trigger_deactivate() is not None
    before = len(seen)
    rig.frame()
    rig.frame()  # one stops, the other goes on
    assert len(seen) <= before + 1, "but for what was on its way"
