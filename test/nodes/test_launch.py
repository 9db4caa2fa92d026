# SPDX-License-Identifier: Apache-2.0
"""The launch file: what it describes, and the nodes started exactly so, in processes of their own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import rclpy
import yaml
from lifecycle_msgs.srv import ChangeState, GetState

from admn_ros.config import BudgetUnit
from admn_ros.msg import ComputeBudget, LayerAllocation
from admn_ros.nodes import qos
from admn_ros.nodes.perception.parameters import PARAMETERS
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_writer import BagWriter
from admn_ros.share import find_shipped
from admn_ros.simulation.world import World
from helpers.described_launch import Description, Entity, describe, performed

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch" / "gdtm.launch.py"
ALLOCATION = "/admn/allocation"


class Watcher:
    """A node that watches what was started."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("watcher", context=self.context)
        self._executor = rclpy.executors.SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)

    def wait(self, condition: Callable[[], object], timeout_s: float = 60.0) -> bool:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.05)
            if condition():
                return True
        return False

    def store(self, kind: type, topic: str) -> list[Any]:
        """Messages of a topic from here on."""
        found: list[Any] = []
        self.node.create_subscription(kind, topic, found.append, qos.RESULT_OUT)
        return found

    def call(self, kind: type, service: str, request: object) -> Any:
        client = self.node.create_client(kind, service)
        assert self.wait(client.service_is_ready), f"{service} is not there"
        future = client.call_async(request)
        assert self.wait(future.done), service
        return future.result()

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


class Launched(Watcher):
    """The processes of a description, watched."""

    def __init__(self, description: Description, folder: Path) -> None:
        super().__init__()
        self.description, self._folder = description, folder
        self.processes = {node.name: self._start(node) for node in description.nodes}

    def _start(self, node: Entity) -> subprocess.Popen[str]:
        """Start a node as launch_ros does: its arguments, its name, its parameters in files, its remappings."""
        context = self.description.values
        command = [sys.executable, "-m", f"{node.package}.nodes", node.executable,
                   *(performed(a, context) for a in node.arguments),
                   "--ros-args", "-r", f"__node:={node.name}", "-r", f"__ns:=/{node.namespace.strip('/')}"]
        for number, parameters in enumerate(node.parameters):
            file = performed(parameters, context)
            if isinstance(parameters, dict):
                file = self._folder / f"{node.name}-{number}.yaml"
                file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
            command += ["--params-file", str(file)]
        for source, target in node.values.get("remappings", ()):
            command += ["-r", f"{source}:={target}"]
        return subprocess.Popen(command, env={**os.environ, **self.description.environment}, stderr=subprocess.PIPE,
                                text=True, start_new_session=True)

    def bring_up(self) -> None:
        """Make the transitions that the description asks for, where it asks for them."""
        for node in self.description.nodes:
            if type(node).__name__ != "LifecycleNode":
                continue
            name = "/".join(["", *filter(None, [node.namespace.strip("/"), node.name])])
            for number in transitions(self.description, node):
                request = ChangeState.Request()
                request.transition.id = number
                assert self.call(ChangeState, f"{name}/change_state", request).success, (name, number)
            state = self.call(GetState, f"{name}/get_state", GetState.Request())
            assert state.current_state.label == "active", name

    def stop(self) -> None:
        """End all processes as launch does; each ends by itself and well."""
        for process in self.processes.values():
            process.send_signal(signal.SIGINT)
        for name, process in self.processes.items():
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0 and "Traceback" not in errors, f"{name}: {errors}"

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        super().close()


def transitions(description: Description, node: Entity) -> list[int]:
    """Transitions of a node: at once, and then those that follow when it has come from configuring to inactive."""
    def ids(events: Iterator[Entity]) -> list[int]:
        return [e.event.transition_id for e in events if type(e.event).__name__ == "ChangeState"
                and e.event.lifecycle_node_matcher.args == (node,)]

    handlers = (h.args[0] for h in description.of("RegisterEventHandler"))
    later = [h for h in handlers if type(h).__name__ == "OnStateTransition" and h.target_lifecycle_node is node]
    assert all((h.start_state, h.goal_state) == ("configuring", "inactive") for h in later)
    return ids(description.of("EmitEvent")) + [n for h in later for n in ids(iter(h.entities))]


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    with contextlib.ExitStack() as stack:
        def start(**arguments: str) -> Launched:
            made = Launched(describe(LAUNCH, log_level="warn", **arguments), tmp_path)
            stack.callback(made.close)
            return made

        yield start


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Two seconds of one camera."""
    picture = np.full((32, 32, 3), 90, np.uint8)
    with BagWriter(tmp_path / "drive") as writer:
        for k in range(30):
            stamp_ns = 10**18 + k * 66_000_000
            writer.write("/node1/rgb/image_raw", make.IMAGE, make.rgb_image(picture, stamp_ns, "camera"), stamp_ns)
    return tmp_path / "drive"


def test_the_defaults_are_the_shipped_model_and_what_the_nodes_take():
    description = describe(LAUNCH)
    (perception,) = description.nodes
    assert (perception.executable, perception.name, perception.namespace) == ("perception", "admn", "")
    (parameters,) = perception.parameters
    assert (find_shipped(parameters["model"], "models") / "weights.safetensors").is_file()
    assert find_shipped(parameters["sensors"], "config", ".yaml").is_file()
    specs = {spec.name: spec for spec in PARAMETERS}
    for name, value in parameters.items():
        assert name == "use_sim_time" or type(value) is type(specs[name].default), name
    assert parameters["budget_limit"] == specs["budget_limit"].default
    assert tuple(description.choices["budget_unit"]) == get_args(BudgetUnit) == specs["budget_unit"].choices
    assert tuple(description.choices["device"]) == specs["device"].choices
    (profile,) = description.environment.values()
    assert Path(profile).is_file()


@pytest.mark.parametrize(("arguments", "sim_time"), [
    ({}, False), ({"bag": "/x"}, True), ({"sim": "true"}, True), ({"use_sim_time": "true"}, True),
    ({"bag": "/x", "use_sim_time": "false"}, False)])
def test_simulated_time_is_for_recordings_unless_it_is_asked_for(arguments, sim_time):
    description = describe(LAUNCH, governor="true", **arguments)
    for node in description.nodes:
        assert node.executable in ("replay", "simulator") or node.parameters[-1]["use_sim_time"] is sim_time


def test_the_end_of_a_recording_ends_the_launch_and_a_bag_wins_over_the_simulator():
    description = describe(LAUNCH, bag="/x", sim="true", rate="2.0")
    _, replay = description.nodes
    assert replay.executable == "replay" and replay.parameters == [{"bag": "/x", "rate": 2.0}]
    (handler,) = [h.args[0] for h in description.of("RegisterEventHandler") if type(h.args[0]).__name__ ==
                  "OnProcessExit"]
    assert handler.target_action is replay and type(handler.on_exit[0].event).__name__ == "Shutdown"


def test_viewers_that_are_not_installed_are_named_and_nothing_fails():
    description = describe(LAUNCH, rviz="true", foxglove="true")
    assert [node.executable for node in description.nodes] == ["perception"]
    texts = [entity.msg for entity in description.of("LogInfo")]
    assert len(texts) == 2 and "ros-jazzy-rviz2" in texts[0] and "ros-jazzy-foxglove-bridge" in texts[1]


def test_the_default_launch_is_active_on_the_shipped_model(launched):
    run = launched()
    run.bring_up()
    run.stop()


def test_the_governor_sets_the_budget_of_a_perception_with_another_name(launched):
    run = launched(governor="true", namespace="robot", name="eyes")
    run.bring_up()
    budgets = run.store(ComputeBudget, "/robot/eyes/budget")
    assert run.wait(lambda: budgets) and budgets[-1].source == "governor"
    assert run.node.get_subscriptions_info_by_topic("/robot/eyes/budget")
    run.stop()


def test_a_recording_is_replayed_to_its_end(launched, bag):
    run = launched(bag=str(bag), rate="1.0")
    allocations = run.store(LayerAllocation, ALLOCATION)
    run.bring_up()
    assert run.wait(lambda: run.processes["replay"].poll() is not None) and run.processes["replay"].returncode == 0
    assert allocations and allocations[-1].header.stamp.sec >= 10**9
    run.stop()


def test_the_simulated_room_becomes_frames(launched):
    try:
        World(0).close()
    except Exception as error:
        pytest.skip(f"no renderer: {error}")
    run = launched(sim="true")
    allocations = run.store(LayerAllocation, ALLOCATION)
    run.bring_up()
    assert run.wait(lambda: any(a.spent > 0 for a in allocations))
    run.stop()


def test_the_real_launch_ends_well_with_its_recording(bag, tmp_path):
    if importlib.util.find_spec("launch_ros") is None:
        pytest.skip("launch_ros is not installed")
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix
    try:
        get_package_prefix("admn_ros")
    except PackageNotFoundError:
        pytest.skip("admn_ros is not installed in a ROS prefix, where launch finds its programs")
    program = f"""
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService(noninteractive=True)
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    PythonLaunchDescriptionSource({str(LAUNCH)!r}), launch_arguments=[("bag", {str(bag)!r})])]))
raise SystemExit(service.run())
"""
    watcher = Watcher()
    allocations = watcher.store(LayerAllocation, ALLOCATION)
    process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, start_new_session=True,
                               env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
    try:
        ended = watcher.wait(lambda: process.poll() is not None, 100.0)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        watcher.close()
    assert ended and process.returncode == 0 and "Traceback" not in output, output
    assert "configured: model '" in output and allocations, output
