# SPDX-License-Identifier: Apache-2.0
"""A rig for node tests: the real node and a real publisher on one DDS domain, nothing mocked."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from admn_ros.model.checkpoint import create_random_model
from admn_ros.msg import AudioFrame, Classification, ComputeBudget, LayerAllocation
from admn_ros.nodes import run_node
from admn_ros.nodes.conversions import header
from admn_ros.nodes.discovery import isolate_discovery
from admn_ros.nodes.perception.node import PerceptionNode
from admn_ros.nodes.run_node import prepare_process
from admn_ros.sample import SensorKey
from helpers import models

# Before rclpy.init: an own domain on this machine alone, so that tests never meet a robot or each other.
for variable in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
    os.environ.pop(variable, None)
isolate_discovery()

NODES = ("left", "right")
MODALITIES = ("rgb", "depth", "radar", "audio")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    create_random_model(models.four_modalities(), folder, seed=1)
    return folder


@pytest.fixture
def sensors_file(tmp_path: Path) -> Path:
    path = tmp_path / "sensors.yaml"
    path.write_text(yaml.safe_dump({
        "sensors": {n: {m: {"topic": f"/{n}/{m}"} for m in MODALITIES} for n in NODES},
        "sync": {"silent_s": 0.3, "modalities": {m: {"tolerance_s": 0.02, "hold_s": 0.15, "wait_s": 0.03}
                                                 for m in MODALITIES}},
        "budget": {"limit": 8, "unit": "layers"},
    }))
    return path


def image(stamp_ns: int, encoding: str, pixels: np.ndarray) -> Image:
    message = Image(header=header(stamp_ns, "camera"), height=pixels.shape[0], width=pixels.shape[1],
                    encoding=encoding, step=pixels.strides[0])
    message.data.frombytes(pixels.tobytes())
    return message


def reading(modality: str, stamp_ns: int, seed: int = 0) -> Image | AudioFrame:
    """A valid message of a modality."""
    rng = np.random.default_rng(seed)
    match modality:
        case "rgb":
            return image(stamp_ns, "rgb8", rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
        case "depth":
            return image(stamp_ns, "16UC1", rng.integers(500, 4000, (48, 64), dtype=np.uint16))
        case "radar":
            return image(stamp_ns, "32FC1", rng.random((64, 32), dtype=np.float32))
    message = AudioFrame(header=header(stamp_ns, "mic"), sample_rate=16000, channels=2, encoding="S16LE")
    message.data.frombytes(rng.integers(-3000, 3000, (1056, 2), dtype=np.int16).tobytes())
    return message


class Rig:
    """A perception node in its own thread, and publishers and subscribers to drive and watch it."""

    def __init__(self, **values: object) -> None:
        prepare_process()
        # Two collections follow, of all that pytest and torch hold: leave that out. The node thaws it at its end.
        gc.freeze()
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        # Models with random weights call some frames `none`; tests of other things need every pose.
        overrides = [Parameter(name, value=value) for name, value in {"no_target_above": 1.0, **values}.items()]
        self.node = PerceptionNode(context=self.context, parameter_overrides=overrides)
        self.driver = rclpy.create_node("driver", context=self.context)
        self.allocations: list[LayerAllocation] = []
        self.poses: list[PoseWithCovarianceStamped] = []
        self.classes: list[Classification] = []
        self.diagnostics: list[DiagnosticArray] = []
        for kind, topic, store in ((LayerAllocation, "/admn/allocation", self.allocations),
                                   (PoseWithCovarianceStamped, "/admn/pose", self.poses),
                                   (Classification, "/admn/classification", self.classes),
                                   (DiagnosticArray, "/diagnostics", self.diagnostics)):
            self.driver.create_subscription(kind, topic, store.append, 50)
        self.outputs = {(n, m): self.driver.create_publisher(AudioFrame if m == "audio" else Image, f"/{n}/{m}", 5)
                        for n in NODES for m in MODALITIES}
        self.budget_output = self.driver.create_publisher(ComputeBudget, "/admn/budget", 10)
        self._change = self.driver.create_client(ChangeState, "/admn/change_state")
        self._state = self.driver.create_client(GetState, "/admn/get_state")
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._executor.add_node(self.driver)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        self.now_ns = 1_000_000_000

    def _spin(self) -> None:
        with contextlib.suppress(rclpy.executors.ExternalShutdownException):
            try:
                self._executor.spin()
            except RCLError:  # shut down in the middle of a callback
                if self.context.ok():
                    raise

    def close(self) -> None:
        self.context.try_shutdown()
        self._thread.join(5)
        self._executor.shutdown()  # not before: it takes away what a thread that still spins waits for
        self.node.destroy_node()
        self.driver.destroy_node()
        # A lifecycle node's services live as long as its state machine, and that until it is collected.
        # Left alone, they would stand beside those of the next test's node, under the same names.
        del self.node, self.driver, self._executor, self.outputs, self.budget_output, self._change, self._state
        gc.collect()

    def wait(self, condition: Callable[[], object], timeout_s: float = 60.0) -> bool:
        """Wait for something that the other thread brings about."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(0.005)
        return False

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the thread that spins, which must not meet a subscription that is gone."""
        self._executor.create_task(function, *args)

    def call(self, client, request):
        assert client.wait_for_service(60)
        future = client.call_async(request)
        assert self.wait(future.done), "service call timed out"
        return future.result()

    def transition(self, number: int) -> bool:
        request = ChangeState.Request()
        request.transition.id = number
        return self.call(self._change, request).success

    def state(self) -> str:
        return self.call(self._state, GetState.Request()).current_state.label

    def connected(self) -> bool:
        """Wait until every input, the budget and the outputs have found each other."""
        return self.wait(lambda: all(p.get_subscription_count() for p in self.outputs.values())
                         and self.budget_output.get_subscription_count()
                         and self.driver.count_publishers("/admn/allocation"))

    def send(self, skip: tuple[str, ...] = (), step_s: float = 0.06, seed: int = 0) -> int:
        """Publish one reading of each input (but topics named like `left/rgb`); returns the rgb stamp."""
        self.now_ns += round(step_s * 1e9)
        for (node, modality), publisher in self.outputs.items():
            if f"{node}/{modality}" not in skip:
                publisher.publish(reading(modality, self.now_ns, seed))
        return self.now_ns

    def send_until(self, condition: Callable[[], object], timeout_s: float = 20.0) -> bool:
        """Publish readings every 30 ms until a condition holds; False on timeout."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and not condition():
            self.send()
            self.wait(condition, 0.03)
        return bool(condition())

    def stream(self, until: Callable[[LayerAllocation], object], skip: tuple[str, ...] = (),
               timeout_s: float = 20.0) -> LayerAllocation:
        """Publish readings every 60 ms, as sensors do, until an allocation fits; returns it."""
        first, deadline = len(self.allocations), time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.send(skip)
            self.wait(lambda: False, 0.06)
            fitting = [a for a in self.allocations[first:] if until(a)]
            if fitting:
                return fitting[-1]
        raise AssertionError(f"of {len(self.allocations) - first} allocations none fits")

    def frame(self, skip: tuple[str, ...] = (), seed: int = 0, timeout_s: float = 15.0) -> LayerAllocation:
        """Send one set of readings and return the allocation of its frame."""
        stamp_ns = self.send(skip, seed=seed)
        assert self.wait(lambda: self.allocation_of(stamp_ns), timeout_s), f"no allocation for {stamp_ns}"
        return self.allocation_of(stamp_ns)

    def allocation_of(self, stamp_ns: int) -> LayerAllocation | None:
        return next((a for a in reversed(self.allocations) if stamp_of(a) == stamp_ns), None)

    def budget(self, limit: float, unit: int = ComputeBudget.UNIT_LAYERS, **fields: object) -> None:
        self.budget_output.publish(ComputeBudget(limit=limit, unit=unit, **fields))

    def status(self, ending: str):
        """The latest diagnostics status whose name ends like this."""
        for array in reversed(self.diagnostics):
            for status in array.status:
                if status.name.endswith(ending):
                    return status
        return None

    def text(self, ending: str) -> str:
        """The message of that status; empty while there is none."""
        status = self.status(ending)
        return "" if status is None else status.message

    def value(self, ending: str, key: str) -> str:
        """A value of that status; empty while there is none."""
        status = self.status(ending)
        return "" if status is None else {v.key: v.value for v in status.values}.get(key, "")

    def in_force(self, limit: float, unit: str = "layers") -> bool:
        """Wait until a budget is in force, by the node's diagnostics."""
        return self.wait(lambda: self.value(": budget", "in_force") == f"{limit:g} {unit}")

    def newest(self, key: SensorKey) -> np.ndarray | None:
        """The last reading of an input."""
        return self.node.pipeline.frames.newest.get(key)


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch,
             capfd: pytest.CaptureFixture[str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the entry point of a program in this process, which has imported everything; the signals stay pytest's."""
    monkeypatch.setattr(run_node, "catch_signals", lambda: None)

    def run(main: Callable[[list[str]], int], *arguments: object) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        words = [*map(str, arguments)]
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code
        return subprocess.CompletedProcess(words, code, *capfd.readouterr())

    return run


def stamp_of(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


@pytest.fixture
def make_rig() -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(**values: object) -> Rig:
        rigs.append(Rig(**values))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make_rig: Callable[..., Rig], model_folder: Path, sensors_file: Path) -> Rig:
    """An active node on the small model, everything connected."""
    made = make_rig(model=str(model_folder), sensors=str(sensors_file), autostart=True, diagnostics_period_s=0.2)
    assert made.connected()
    return made
