# SPDX-License-Identifier: Apache-2.0
"""Commands that need ROS 2: replay, watch.

They run a node in a process of its own, so that nothing here imports ROS.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path

from admn_ros.cli.command import Commands, add_command, number
from admn_ros.errors import InputError


def add_commands(commands: Commands) -> None:
    """Add the commands that replay a recording and watch a node."""
    replay = add_command(commands, "replay", "publish a rosbag2 on its topics, with /clock; needs ROS 2",
                         _replay)
    replay.add_argument("bag", type=Path, help="rosbag2 folder, .mcap or .db3 file")
    replay.add_argument("--rate", type=number(0.01, 100), default=1.0, metavar="X", help="playback speed (default: 1)")
    replay.add_argument("--loop", action="store_true", help="restart at the end; stamps then jump back")
    replay.add_argument("--exclude", nargs="+", default=[], metavar="TOPIC", help="topics to leave out")
    replay.add_argument("--wait-s", type=number(0), default=10.0, metavar="SECONDS",
                        help="longest time to wait for subscribers of the sensor topics (default: 10)")
    watch = add_command(commands, "watch", "show a running perception node on the terminal; needs ROS 2", _watch)
    watch.add_argument("node", nargs="?", default="/admn", help="name of the perception node (default: /admn)")
    watch.add_argument("--seconds", type=number(0), default=0.0, metavar="X",
                       help="duration in seconds (default: until Ctrl-C)")
    watch.add_argument("--svg", type=Path, metavar="FILE", help="SVG file to write the dashboard to at the end")
    watch.add_argument("--picture", type=Path, metavar="FILE",
                       help="PNG file to draw all frames over time to at the end")


def _replay(options: argparse.Namespace) -> None:
    if not options.bag.exists():
        raise InputError.missing(str(options.bag), "a rosbag2 folder, or one .mcap or .db3 file")
    # An absolute path is not parsed as a number.
    values: dict[str, object] = {"bag": str(options.bag.absolute()), "rate": options.rate, "loop": options.loop,
                                 "wait_for_subscribers_s": options.wait_s}
    if options.exclude:
        values["exclude"] = options.exclude
    _run("replay", values)


def _watch(options: argparse.Namespace) -> None:
    values: dict[str, object] = {"node": options.node, "seconds": options.seconds}
    values |= {name: str(path.absolute()) for name, path in (("svg", options.svg), ("picture", options.picture))
               if path is not None}
    _run("watch", values)


def _run(name: str, values: dict[str, object]) -> None:
    """Run a node until it ends.

    Args:
        name: name of the node.
        values: parameters of the node.

    Raises:
        InputError: ROS 2 is missing.
    """
    if importlib.util.find_spec("rclpy") is None:
        raise InputError.missing("rclpy", "a sourced ROS 2, or the environment that `make` sets up")
    # JSON is YAML, except for its escapes of characters beyond 16 bits.
    texts = {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}
    for key, text in texts.items():
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError(key, text, "text in UTF-8, which parameters of ROS are")
    parameters = [word for key, text in texts.items() for word in ("-p", f"{key}:={text}")]
    node = subprocess.Popen([sys.executable, "-m", "admn_ros.nodes", name, "--ros-args", *parameters])
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the node, too
    terminated = signal.signal(signal.SIGTERM, lambda number, frame: node.send_signal(number))
    try:
        code = node.wait()
    finally:
        signal.signal(signal.SIGINT, interrupted)
        signal.signal(signal.SIGTERM, terminated)
    if code:
        raise SystemExit(code)
