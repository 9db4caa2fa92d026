# SPDX-License-Identifier: Apache-2.0
"""Publishes a rosbag2 on its topics with /clock, on machines without `ros2 bag`."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from pathlib import Path

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy._rclpy_pybind11 import RCLError
from rclpy.node import Node
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock as ClockMessage

from admn_ros.errors import AdmnError, InputError
from admn_ros.nodes import qos
from admn_ros.nodes.conversions import header
from admn_ros.nodes.middleware import run_node
from admn_ros.recordings.bags import BagReader

CLOCK_PERIOD_S = 0.01  # of recorded time, between messages


class ReplayNode(Node):
    """Plays a bag once (or for ever) and then ends the process.

    Raises:
        AdmnError: no bag, or one that cannot be read; before anything is published.
    """

    def __init__(self, name: str = "replay", **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        bag = self._declare("bag", "", "Rosbag2 folder (sqlite3 or mcap), or one storage file.")
        self._rate = self._declare("rate", 1.0, "Recorded seconds per second.", 0.01, 100.0)
        self._loop = self._declare("loop", False, "Start again at the end; stamps then jump back.")
        self._wait_s = self._declare("wait_for_subscribers_s", 10.0,
                                     "Wait so long at most for a subscriber on every sensor topic.", 0.0, 600.0)
        self._exclude = set(self._declare("exclude", [""], "Topics that are not published."))
        self._publish_clock = self._declare("clock", True, "Publish /clock from the record stamps.")
        if not bag:
            raise InputError("bag", "nothing", "-p bag:=FOLDER")
        self._reader = BagReader(Path(bag).expanduser())
        self._publishers_of = self._make_publishers()
        self._clock_publisher = self.create_publisher(ClockMessage, "/clock", 10) if self._publish_clock else None
        self.published = dict.fromkeys(self._publishers_of, 0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self._thread.start()

    def _declare(self, name: str, default: object, description: str, low: float | None = None,
                 high: float | None = None) -> object:
        limits = [] if low is None else [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        descriptor = ParameterDescriptor(description=description, read_only=True, floating_point_range=limits)
        return self.declare_parameter(name, default, descriptor).value

    def destroy_node(self) -> None:
        """Stop playing first."""
        self._stopping.set()
        self._thread.join(2.0)
        self._reader.close()
        super().destroy_node()

    def _make_publishers(self) -> dict[str, Publisher]:
        publishers, skipped = {}, []
        for topic, info in self._reader.topics.items():
            if topic in self._exclude or topic == "/clock":
                continue
            try:
                package, _, kind = info.type.split("/")
                message_type = getattr(importlib.import_module(f"{package}.msg"), kind)
            except (ImportError, AttributeError, ValueError):
                skipped.append(f"{topic} ({info.type})")
                continue
            publishers[topic] = self.create_publisher(
                message_type, topic, qos.STATE if info.latched else qos.RESULT_OUT)
        if skipped:
            self.get_logger().warning(f"not published, their message packages are not installed: {', '.join(skipped)}")
        if not publishers:
            self._reader.close()
            raise InputError("bag", f"{self._reader.path} with nothing to publish", "a bag with known message types")
        return publishers

    def _run(self) -> None:
        try:
            self._wait_for_subscribers()
            while not self._stopping.is_set():
                self._play_once()
                if not self._loop:
                    break
            counts = ", ".join(f"{topic} {n}" for topic, n in self.published.items())
            self.get_logger().info(f"end of the bag; published {counts}")
        except AdmnError as error:
            self.get_logger().error(str(error))
        except RCLError:
            if self.context.ok():  # otherwise Ctrl-C came while publishing
                raise
        finally:
            if not self._stopping.is_set():
                self._leave()

    def _leave(self) -> None:
        """Give reliable readers time to fetch the last messages, then end the spin."""
        time.sleep(0.5)
        self.context.try_shutdown()

    def _wait_for_subscribers(self) -> None:
        sensors = [p for t, p in self._publishers_of.items() if self._is_sensor(t)]
        deadline = time.monotonic() + self._wait_s
        while time.monotonic() < deadline and not self._stopping.is_set():
            if all(p.get_subscription_count() for p in sensors):
                return
            time.sleep(0.05)
        silent = [p.topic_name for p in sensors if not p.get_subscription_count()]
        if silent and self._wait_s > 0:
            self.get_logger().warning(f"nobody listens to {', '.join(silent)}; playing anyway")

    def _is_sensor(self, topic: str) -> bool:
        return self._reader.topics[topic].type in (
            "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "admn_ros/msg/AudioFrame")

    def _play_once(self) -> None:
        start_ns = self._reader.start_ns
        clock_ns, begun_s = start_ns, time.monotonic()
        for topic, stamp_ns, raw in self._reader.raw(list(self._publishers_of)):
            while clock_ns + int(CLOCK_PERIOD_S * 1e9) < stamp_ns:
                clock_ns += int(CLOCK_PERIOD_S * 1e9)
                if not self._sleep_until(begun_s, clock_ns - start_ns):
                    return
                self._tick(clock_ns)
            clock_ns = stamp_ns
            if not self._sleep_until(begun_s, stamp_ns - start_ns):
                return
            self._tick(stamp_ns)
            self._publishers_of[topic].publish(raw)
            self.published[topic] += 1

    def _sleep_until(self, begun_s: float, elapsed_ns: int) -> bool:
        """Sleep until a recorded instant is due; False when the node is stopping."""
        pause_s = begun_s + elapsed_ns * 1e-9 / self._rate - time.monotonic()
        if pause_s > 0:
            self._stopping.wait(pause_s)
        return not self._stopping.is_set()

    def _tick(self, stamp_ns: int) -> None:
        if self._clock_publisher is not None:
            self._clock_publisher.publish(ClockMessage(clock=header(stamp_ns, "").stamp))


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros replay`."""
    try:
        return run_node(ReplayNode, args)
    except AdmnError as error:
        print(f"replay: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
