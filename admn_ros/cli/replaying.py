# SPDX-License-Identifier: Apache-2.0
"""Commands that need a ROS 2 to be there: replay.

They start the node as a program of its own, so that nothing here imports ROS.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from admn_ros.cli.command import Commands, add_command
from admn_ros.errors import InputError

NODE = "admn_ros.nodes.replay"


def add_commands(commands: Commands) -> None:
    """Replay a recording."""
    replay = add_command(commands, "replay", "publish a rosbag2 on its topics with /clock, beside a running node",
                         _replay)
    replay.add_argument("bag", type=Path, help="rosbag2 folder, .mcap or .db3 file")
    replay.add_argument("--rate", type=float, default=1.0, help="recorded seconds per second (default: 1)")
    replay.add_argument("--loop", action="store_true", help="start again at the end; stamps then jump back")
    replay.add_argument("--exclude", nargs="+", default=[], metavar="TOPIC", help="topics that are not published")
    replay.add_argument("--wait-s", type=float, default=10.0,
                        help="wait so long at most for listeners on the sensor topics (default: 10)")


def _replay(options: argparse.Namespace) -> None:
    if importlib.util.find_spec("rclpy") is None:
        raise InputError("ROS 2", "no rclpy for this Python", "a sourced ROS 2, or the environment that `make` sets up")
    if not options.bag.exists():
        raise InputError(str(options.bag), "nothing there", "a rosbag2 folder, or one .mcap or .db3 file")
    # An absolute path is never taken for a number.
    values: dict[str, object] = {"bag": str(options.bag.absolute()), "rate": options.rate, "loop": options.loop,
                                 "wait_for_subscribers_s": options.wait_s}
    if options.exclude:
        values["exclude"] = options.exclude
    parameters = [word for name, value in values.items() for word in ("-p", f"{name}:={json.dumps(value)}")]
    code = subprocess.run([sys.executable, "-m", NODE, "--ros-args", *parameters], check=False).returncode
    if code:
        raise SystemExit(code)
