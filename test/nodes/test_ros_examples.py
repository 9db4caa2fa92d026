# SPDX-License-Identifier: Apache-2.0
"""The examples that need ROS 2."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from admn_ros.msg import ComputeBudget

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "power_manager.py"


def test_power_manager_publishes_budgets_that_fall(make_rig):
    rig = make_rig()
    received: list[ComputeBudget] = []
    rig.driver.create_subscription(ComputeBudget, "/admn/budget", received.append, 10)
    example = subprocess.Popen([sys.executable, str(PROGRAM), "--ros-args", "-r", "budget:=/admn/budget",
                                "-p", "seconds:=4.0"])
    try:
        assert rig.wait(lambda: received and received[-1].limit == 0, 60.0)
    finally:
        example.send_signal(signal.SIGINT)
        assert example.wait(20) == 0
    limits = [message.limit for message in received]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] > 0
    assert {message.source for message in received} == {"battery"}
    assert {message.valid_for.sec for message in received} == {2}
