# SPDX-License-Identifier: Apache-2.0
"""Base of replay and simulator: publishes recorded or simulated messages at their times, with /clock."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterator, Sequence

from rclpy._rclpy_pybind11 import RCLError
from rclpy.node import Node
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock as ClockMessage

from admn_ros.errors import AdmnError
from admn_ros.nodes import qos
from admn_ros.nodes.conversions import header
from admn_ros.nodes.parameters import Spec, declare, warn_of_unknown

CLOCK_PERIOD_NS = 10_000_000
LATE_S = 0.1         # lag of the source beyond which simulated time slows down
SETTLED_S = 1.5      # time without new subscriptions after which playing starts
GLOBAL_TOPICS = ("/clock", "/diagnostics", "/tf", "/tf_static")
"""Topics that nodes share across namespaces."""
SENSOR_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "admn_ros/msg/AudioFrame")

PLAYER_PARAMETERS = (
    Spec("rate", 1.0, "Speed as a multiple of real time.", fixed=True, low=0.01, high=100.0),
    Spec("wait_for_subscribers_s", 10.0, "Longest wait in seconds for subscribers of the sensor topics.", fixed=True,
         low=0.0, high=600.0),
    Spec("clock", True, "Publish /clock from the record stamps.", fixed=True),
)

Item = tuple[str, int, bytes]


class Player(Node):
    """Publishes serialized messages from a thread of its own, then ends the process. Subclasses implement `items`.

    Args:
        name: name of the node.
        specs: parameters of the node, `PLAYER_PARAMETERS` among them.
        kwargs: arguments of `rclpy.node.Node`.

    Attributes:
        catches_up: whether publishing catches up after a delay (a recording), or time slows down (a simulation).
        published: number of published messages by topic.
        exit_code: exit code of the process.
    """

    catches_up = True

    def __init__(self, name: str, specs: Sequence[Spec], **kwargs: object) -> None:
        super().__init__(name, **kwargs)
        self._values = declare(self, specs)
        warn_of_unknown(self)
        self._rate, self._wait_s = self._values["rate"], self._values["wait_for_subscribers_s"]
        self._clock_publisher = self.create_publisher(ClockMessage, "/clock", 10) if self._values["clock"] else None
        self._publishers_of: dict[str, Publisher] = {}
        self._sensors: list[Publisher] = []
        self.published: dict[str, int] = {}
        self.exit_code = 0
        self._clock_ns = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def items(self) -> Iterator[Item]:
        """Yield (topic, record stamp in nanoseconds, CDR bytes) of one pass, in order of time."""
        raise NotImplementedError

    def passes(self) -> Iterator[Iterator[Item]]:
        """Yield the passes; one by default."""
        yield self.items()

    def start(self) -> None:
        """Start publishing."""
        self._thread.start()

    def destroy_node(self) -> None:
        """Stop publishing, then destroy the node."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        super().destroy_node()

    def add_topic(self, topic: str, kind: str, latched: bool) -> bool:
        """Create the publisher of a topic, below the namespace of the node.

        Args:
            topic: full name of the topic where it was recorded. Names in `GLOBAL_TOPICS`, and those that are in the
                namespace already, stay as they are.
            kind: message type, such as `sensor_msgs/msg/Image`.
            latched: whether the last message is kept for late subscribers.

        Returns:
            Whether the message package is installed.
        """
        try:
            package, _, name = kind.split("/")
            message_type = getattr(importlib.import_module(f"{package}.msg"), name)
        except (ImportError, AttributeError, ValueError):
            return False
        own = self.get_namespace().rstrip("/") + "/"
        name = topic if topic in GLOBAL_TOPICS or topic.startswith(own) else own + topic.lstrip("/")
        publisher = self.create_publisher(message_type, name, qos.STATE if latched else qos.RESULT_OUT)
        self._publishers_of[topic] = publisher
        self.published[topic] = 0
        if kind in SENSOR_TYPES:
            self._sensors.append(publisher)
        return True

    def _run(self) -> None:
        try:
            self._wait_for_subscribers()
            for one in self.passes():
                if not self._play(one):
                    break
            self._extend_clock()
            if self._stopping.is_set():
                return
            counts = ", ".join(f"{topic} {n}" for topic, n in self.published.items())
            self.get_logger().info(f"finished; published {counts}")
        except AdmnError as error:
            self.exit_code = 2
            self.get_logger().error(str(error))
        except RCLError:
            if self.context.ok():  # otherwise the context was shut down while publishing
                self.exit_code = 1
                raise
        except Exception:
            self.exit_code = 1
            raise
        finally:
            if not self._stopping.is_set():
                time.sleep(0.5)  # reliable subscribers receive the last messages
                self.context.try_shutdown()

    def _wait_for_subscribers(self) -> None:
        """Wait until every topic has a subscriber, or a sensor topic has one and none has come for SETTLED_S.

        Nodes are discovered one after the other: waiting for the sensor topics alone would leave out subscribers of the
        ground truth.
        """
        deadline_s = time.monotonic() + self._wait_s
        subscribed, found, since_s = False, 0, time.monotonic()
        while time.monotonic() < deadline_s and not self._stopping.is_set():
            now = sum(p.get_subscription_count() for p in self._publishers_of.values())
            if now != found:
                found, since_s = now, time.monotonic()
            subscribed = any(p.get_subscription_count() for p in self._sensors)
            everywhere = all(p.get_subscription_count() for p in self._publishers_of.values())
            if everywhere or (subscribed and time.monotonic() - since_s > SETTLED_S):
                return
            time.sleep(0.05)
        if not subscribed and self._wait_s > 0 and not self._stopping.is_set():
            self.get_logger().warning("no sensor topic has a subscriber; publishing anyway")

    def _play(self, items: Iterator[Item]) -> bool:
        """Publish one pass. Returns False if the node is stopping."""
        start_ns, begun_s, clock_ns = None, time.monotonic(), 0
        for topic, stamp_ns, raw in items:
            if start_ns is None:
                start_ns, begun_s, clock_ns = stamp_ns, time.monotonic(), stamp_ns
            while clock_ns + CLOCK_PERIOD_NS < stamp_ns:
                clock_ns += CLOCK_PERIOD_NS
                begun_s = self._sleep_until(begun_s, clock_ns - start_ns)
                self._tick(clock_ns)
            clock_ns = stamp_ns
            begun_s = self._sleep_until(begun_s, stamp_ns - start_ns)
            if self._stopping.is_set():
                return False
            self._tick(stamp_ns)
            if topic in self._publishers_of:
                self._publishers_of[topic].publish(raw)
                self.published[topic] += 1
        return True

    def _extend_clock(self) -> None:
        """Advance /clock a little beyond the last message, so that waits for late inputs expire."""
        begun_s, last_ns = time.monotonic(), self._clock_ns
        for step in range(1, 51):
            if self._stopping.is_set() or not last_ns:
                return
            self._sleep_until(begun_s, step * CLOCK_PERIOD_NS)
            self._tick(last_ns + step * CLOCK_PERIOD_NS)

    def _sleep_until(self, begun_s: float, elapsed_ns: int) -> float:
        """Sleep until a time is due. Returns the start of the pass, later if time slows down."""
        pause_s = begun_s + elapsed_ns * 1e-9 / self._rate - time.monotonic()
        if pause_s > 0:
            self._stopping.wait(pause_s)
        elif not self.catches_up and pause_s < -LATE_S:
            return begun_s - pause_s
        return begun_s

    def _tick(self, stamp_ns: int) -> None:
        self._clock_ns = stamp_ns
        if self._clock_publisher is not None and not self._stopping.is_set():
            self._clock_publisher.publish(ClockMessage(clock=header(stamp_ns, "").stamp))
