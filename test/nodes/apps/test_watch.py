# SPDX-License-Identifier: Apache-2.0
"""`admn watch` beside a running node, and the state that the watching node collects."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rclpy.executors import SingleThreadedExecutor

from admn_ros.nodes.apps.watch import WatchNode


def test_the_dashboard_shows_the_outputs_of_the_node(rig):
    rig.frame()
    watch = WatchNode(target="/admn", context=rig.context)
    executor = SingleThreadedExecutor(context=rig.context)
    executor.add_node(watch)

    def seen() -> bool:
        rig.frame()
        for _ in range(20):
            executor.spin_once(timeout_sec=0.05)
        board = watch.dashboard()
        return bool(board.records and board.statuses and board.label)

    try:
        assert rig.wait(lambda: watch.connected) and rig.wait(seen)
        board, last = watch.dashboard(), watch.records[-1]
        allocation = rig.allocation_of(last.stamp_ns)
        assert {m.modality: tuple(m.active_layers) for m in allocation.modalities} == board.active
        assert board.source == "deployment file" and board.why == allocation.reason_text
        assert last.spent == 8 and last.granted == 8 and board.quiet_s < 60
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
