# SPDX-License-Identifier: Apache-2.0
"""`admn watch` beside a running node, and the state that the watching node collects."""

from __future__ import annotations

import io
import math
import subprocess
import sys

import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rich.console import Console

from admn_ros.nodes.apps.watch import LEGEND, Display, WatchNode, stamp_of
from admn_ros.nodes.conversions import header


def test_the_dashboard_shows_the_outputs_of_the_node(rig):
    rig.frame()
    watch = WatchNode(target="/admn", context=rig.context)
    Display(watch, Console(file=(lines := io.StringIO()), width=150))
    executor = SingleThreadedExecutor(context=rig.context)
    executor.add_node(watch)

    def seen() -> bool:
        rig.frame()
        for _ in range(20):
            executor.spin_once(timeout_sec=0.05)
        board = watch.dashboard()
        return bool(board.records and board.statuses and board.label and lines.getvalue())

    try:
        assert rig.wait(lambda: watch.connected) and rig.wait(seen)
        board, last = watch.dashboard(), watch.records[-1]
        allocation = rig.allocation_of(last.stamp_ns)
        assert {m.modality: tuple(m.active_layers) for m in allocation.modalities} == board.active
        assert board.source == "deployment file" and board.why == allocation.reason_text
        assert [i.name for i in board.inputs] == [f"{i.sensor_node}/{i.modality}" for i in allocation.inputs]
        assert sum(i.ran for i in board.inputs) == sum(i.ran for i in allocation.inputs) > 0
        assert lines.getvalue().count(LEGEND) == 1 and lines.getvalue().startswith(LEGEND)
        assert last.spent == 8 and last.granted == 8 and board.quiet_s < 60
    finally:
        executor.shutdown()
        watch.destroy_node()


def test_the_error_is_the_distance_to_the_true_position_at_the_stamp(rig):
    watch = WatchNode(target="/admn", context=rig.context)
    executor = SingleThreadedExecutor(context=rig.context)
    executor.add_node(watch)
    truths = rig.driver.create_publisher(PoseStamped, "/ground_truth/pose", 10)
    truth_m = {-20_000_000: 1.0, 20_000_000: 3.0}   # of the frame's stamp, in nanoseconds: 2 m between them

    def seen() -> bool:
        stamp_ns = stamp_of(rig.frame())
        for after_ns, x_m in truth_m.items():
            message = PoseStamped(header=header(stamp_ns + after_ns, "map"))
            message.pose.position.x, message.pose.position.y = x_m, 0.5
            truths.publish(message)
        for _ in range(20):
            executor.spin_once(timeout_sec=0.05)
        return any(math.isfinite(r.error_cm) for r in watch.frames())

    try:
        assert rig.wait(lambda: watch.connected and truths.get_subscription_count()) and rig.wait(seen)
        found = next(r for r in watch.frames() if math.isfinite(r.error_cm))
        assert found.truth_m == pytest.approx((2.0, 0.5))
        pose = next(p for p in rig.poses if stamp_of(p) == found.stamp_ns).pose.pose.position
        assert found.error_cm == pytest.approx(100 * math.dist((pose.x, pose.y), (2.0, 0.5)))
    finally:
        executor.shutdown()
        watch.destroy_node()


@pytest.mark.slow
def test_the_command_ends_by_itself_and_leaves_a_picture(rig, tmp_path):
    svg, png = tmp_path / "watch.svg", tmp_path / "watch.png"
    watching = subprocess.Popen([sys.executable, "-m", "admn_ros.cli", "watch", "--seconds", "6", "--svg", str(svg),
                                 "--picture", str(png)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while watching.poll() is None:
            rig.frame()
        out, err = watching.communicate(timeout=30)
    finally:
        watching.kill()
    assert watching.returncode == 0 and "Traceback" not in err, err
    assert "picture: " in out and "</svg>" in svg.read_text()
    assert png.stat().st_size > 10_000
