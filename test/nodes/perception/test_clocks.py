# SPDX-License-Identifier: Apache-2.0
"""Clocks of a running node: simulated time that does not come or stops, stamps of another clock, wrong topics."""

from __future__ import annotations

import time

import numpy as np
import pytest
import rclpy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from admn_ros.nodes.conversions import header
from admn_ros.nodes.receive_clock import STOPPED_S, SimulatedClock

OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"
S = 1_000_000_000
HOUR = 3600 * S


def read(clock: SimulatedClock, *times: tuple[float, float]) -> list[float]:
    """Times of the clock in seconds since its first, for pairs of /clock and steady time in seconds."""
    read_ns = [clock.at(round(ros_s * S), round(steady_s * S)) for ros_s, steady_s in times]
    return [round((ns - read_ns[0]) / S, 6) for ns in read_ns]


def test_the_simulated_clock_follows_the_topic_at_any_speed():
    clock = SimulatedClock()
    assert read(clock, (0, 10), (0, 11), (1.7e9, 12), (1.7e9 + 5, 13), (1.7e9 + 5.1, 15)) == [0, 0, 0, 5, 5.1]
    assert clock.stopped_s == 0


def test_the_simulated_clock_does_not_turn_back_when_a_bag_loops():
    assert read(SimulatedClock(), (100, 1), (110, 2), (100, 3), (102, 4)) == [0, 10, 10, 12]


def test_the_simulated_clock_is_unsettled_for_some_time_after_a_loop():
    clock, settled = SimulatedClock(), []
    for ros_s, steady_s in ((100, 1), (110, 2), (100, 3), (103, 3.1), (104, 5), (101, 6)):
        read(clock, (ros_s, steady_s))
        settled.append(clock.settled)
    assert settled == [True, True, False, False, True, False]


def test_time_passes_without_the_topic_and_when_it_stops():
    clock = SimulatedClock()
    assert read(clock, (0, 0), (0, 2), (0, 3.5), (0, 5), (0, 4), (0, 6)) == [0, 0, 0.5, 2, 2, 3]
    assert clock.stopped_s == 6
    assert read(clock, (50, 7), (51, 8), (51, 10), (51, 12), (51.5, 12.5), (51.5, 13)) == [0, 1, 1, 2, 2.5, 2.5]
    assert clock.stopped_s == 0


def depth(stamp_ns: int) -> Image:
    message = Image(header=header(stamp_ns, "camera"), height=48, width=64, encoding="16UC1", step=128)
    message.data.frombytes(np.full((48, 64), 1500, np.uint16).tobytes())
    return message


@pytest.mark.slow
def test_without_clock_budgets_expire_and_silence_is_noticed(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), autostart=True, diagnostics_period_s=0.1,
                   use_sim_time=True)
    assert rig.connected()
    begun_s = time.monotonic()
    rig.frame()
    rig.budget(3.0, source="manager", valid_for=header(3 * S, "").stamp)
    assert rig.in_force(3.0)
    assert rig.wait(lambda: "/clock has had no message" in rig.text(": clock"))
    assert rig.status(": clock").level == WARN and "use_sim_time to false" in rig.text(": clock")
    assert rig.in_force(8.0), "a budget of three seconds expires"
    assert rig.wait(lambda: rig.text("input left/rgb").startswith("silent for"))
    assert time.monotonic() - begun_s >= STOPPED_S
    # With /clock the warning ends.
    clock = rig.driver.create_publisher(Clock, "/clock", 10)
    for k in range(400):
        clock.publish(Clock(clock=header(S + k * S // 50, "").stamp))
        if rig.wait(lambda: rig.text(": clock") == "no problem", 0.02):
            break
    assert rig.status(": clock").level == OK


@pytest.mark.slow
def test_inputs_of_another_clock_and_of_another_type_are_named(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), autostart=True, diagnostics_period_s=0.1)
    assert rig.connected()
    # Somebody publishes another type on one topic, and another topic is in another namespace.
    for output in (rig.outputs["right", "rgb"], rig.outputs["right", "depth"]):
        rig.call_soon(rig.driver.destroy_publisher, output)
    stranger = rclpy.Context()  # one participant cannot have a topic with two types
    rclpy.init(context=stranger)
    other = rclpy.create_node("stranger", context=stranger)
    other.create_publisher(CompressedImage, "/right/rgb", 5)
    other.create_publisher(Image, "/robot/right/depth", 5)
    usable = {k: v for k, v in rig.outputs.items() if k not in (("right", "rgb"), ("right", "depth"))}
    rig.outputs = {k: v for k, v in usable.items() if k != ("left", "depth")}
    ahead, back_ns = usable["left", "depth"], time.time_ns() - HOUR

    def all_sensors_an_hour_behind() -> None:
        rig.now_ns = back_ns + time.monotonic_ns() - begun_ns
        rig.send(step_s=0.0)
        ahead.publish(depth(rig.now_ns + 37 * S))

    begun_ns = time.monotonic_ns()

    def until(condition) -> bool:
        deadline_s = time.monotonic() + 30
        while time.monotonic() < deadline_s and not condition():
            all_sensors_an_hour_behind()
            rig.wait(lambda: False, 0.05)
        return bool(condition())

    assert until(lambda: rig.value("input left/depth", "state") == "unused")
    status = rig.status("input left/depth")
    assert status.level == WARN
    assert "stamps 37.0 s ahead of left/rgb (TAI against UTC?)" in status.message
    assert "set sync.depth.offset_s to 37" in status.message
    assert float(rig.value("input left/depth", "stamp_offset_s")) == pytest.approx(37.0, abs=0.5)
    assert rig.value("input left/depth", "used") in ("0", "1"), "it can lead the first frame"
    assert rig.status("input left/rgb").level == OK
    assert until(lambda: "behind this clock" in rig.text(": clock"))
    assert rig.status(": clock").level == WARN
    assert "1 h: local time against UTC?" in rig.text(": clock")
    assert "latencies have no meaning" in rig.text(": clock")
    assert until(lambda: "is published as" in rig.text("input right/rgb"))
    assert rig.text("input right/rgb") == (
        "/right/rgb is published as sensor_msgs/msg/CompressedImage by /stranger; the deployment expects "
        "sensor_msgs/msg/Image")
    assert until(lambda: "there is /robot/right/depth (sensor_msgs/msg/Image)" in rig.text("input right/depth"))
    assert rig.status("input right/rgb").level == ERROR and rig.status("input right/depth").level == ERROR
    other.destroy_node()
    stranger.try_shutdown()
