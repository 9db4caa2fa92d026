# SPDX-License-Identifier: Apache-2.0
"""QoS of each topic can be overridden; peers that do not match are named in /diagnostics."""

from __future__ import annotations

import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Float32

from admn_ros.msg import ComputeBudget
from admn_ros.nodes import qos

CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
ERROR, OK = b"\x02", b"\x00"


def offered(rig, topic: str, subscriptions: bool) -> QoSProfile:
    """QoS of the node's endpoint on a topic, as announced on the graph."""
    look = rig.driver.get_subscriptions_info_by_topic if subscriptions else rig.driver.get_publishers_info_by_topic
    found = []
    assert rig.wait(lambda: found.extend(i for i in look(topic) if i.node_name == "admn") or found)
    return found[0].qos_profile


def test_an_override_is_of_its_own_topic_alone(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), **{
        "qos_overrides./left/rgb.subscription.reliability": "reliable",
        "qos_overrides./left/rgb.subscription.depth": 2,
        "qos_overrides./admn/pose.publisher.reliability": "best_effort"})
    for _ in range(2):  # the second time the parameters are there already
        assert rig.transition(CONFIGURE) and rig.transition(ACTIVATE) and rig.connected()
        assert offered(rig, "/left/rgb", True).reliability == ReliabilityPolicy.RELIABLE
        assert offered(rig, "/right/rgb", True).reliability == ReliabilityPolicy.BEST_EFFORT
        assert offered(rig, "/left/depth", True).reliability == ReliabilityPolicy.BEST_EFFORT
        assert offered(rig, "/admn/pose", False).reliability == ReliabilityPolicy.BEST_EFFORT
        assert offered(rig, "/admn/allocation", False).reliability == ReliabilityPolicy.RELIABLE
        assert rig.frame()
        assert rig.transition(DEACTIVATE) and rig.transition(CLEANUP)
    assert qos.SENSOR_IN.reliability == ReliabilityPolicy.BEST_EFFORT and qos.SENSOR_IN.depth == 5
    assert rig.node.get_parameter("qos_overrides./right/rgb.subscription.depth").value == 5
    assert rig.node.describe_parameter("qos_overrides./left/rgb.subscription.depth").read_only


def test_an_override_that_is_no_policy_fails_activation_in_one_line(make_rig, model_folder, sensors_file, capfd):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), **{
        "qos_overrides./left/rgb.subscription.reliability": "perfect"})
    assert rig.transition(CONFIGURE) and not rig.transition(ACTIVATE)
    assert "`perfect`" in capfd.readouterr().err
    assert rig.transition(CLEANUP) and rig.state() == "unconfigured"


def test_a_sensor_that_does_not_match_is_an_error_until_it_is_gone(make_rig, model_folder, sensors_file, capfd):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), autostart=True, diagnostics_period_s=0.1, **{
        "qos_overrides./left/rgb.subscription.reliability": "reliable"})
    assert rig.connected()
    camera = rig.driver.create_publisher(Image, "/left/rgb", BEST_EFFORT)

    def status():
        return rig.status("input left/rgb")

    assert rig.wait(lambda: status() and "incompatible QoS" in status().message)
    assert status().level == ERROR
    assert "/left/rgb" in status().message and "reliability" in status().message and "/driver" in status().message
    assert {v.key: v.value for v in status().values}["state"] == "mismatched"
    assert rig.status("input right/rgb").message == "nothing received on /right/rgb"
    assert rig.status("connections").level == ERROR
    rig.driver.destroy_publisher(camera)
    assert rig.wait(lambda: "incompatible" not in status().message)
    assert rig.wait(lambda: rig.status("connections").level == OK)
    assert capfd.readouterr().err.count("[ERROR]") == 1


@pytest.mark.parametrize(("topic", "policy"), [("/admn/pose", "durability"), ("/admn/budget", "reliability")])
def test_outputs_and_budgets_that_do_not_match_are_named(rig, topic, policy):
    if topic == "/admn/pose":
        rig.driver.create_subscription(PoseWithCovarianceStamped, topic, lambda _: None, LATCHED)
    else:
        rig.driver.create_publisher(ComputeBudget, topic, BEST_EFFORT)
    assert rig.wait(lambda: rig.status("connections") and rig.status("connections").level == ERROR)
    status = rig.status("connections")
    assert f"{topic}: incompatible QoS ({policy})" in status.message
    assert [v.key for v in status.values] == [topic]


def test_the_age_of_each_estimate_is_published_for_who_listens(rig):
    ages: list[float] = []
    rig.driver.create_subscription(Float32, "/admn/latency", lambda m: ages.append(m.data), 10)
    assert rig.wait(lambda: rig.driver.count_publishers("/admn/latency"))
    start_ns = 0

    def aged() -> bool:
        nonlocal start_ns
        start_ns = rig.node.get_clock().now().nanoseconds
        rig.now_ns = max(rig.now_ns, start_ns - 10**9)
        rig.frame()
        return rig.wait(lambda: ages, 0.2)

    assert rig.wait(aged)
    elapsed_ms = 1e-6 * (rig.node.get_clock().now().nanoseconds - start_ns)
    assert 900 < ages[0] < 1000 + elapsed_ms


def test_diagnostics_tell_memory(rig):
    assert rig.wait(lambda: rig.status("process"))
    values = {v.key: float(v.value) for v in rig.status("process").values}
    assert 50 < values["rss_mib"] <= values["peak_rss_mib"] + 1 and values["threads"] >= 2
