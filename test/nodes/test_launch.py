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
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import rclpy
import yaml
from lifecycle_msgs.srv import GetState

from admn_ros.config import BudgetUnit, ModelConfig, load_config
from admn_ros.errors import ConfigError, InputError
from admn_ros.governor.parameter_file import read_governor
from admn_ros.msg import ComputeBudget, LayerAllocation
from admn_ros.nodes import qos
from admn_ros.nodes.perception.parameters import PARAMETERS
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_writer import BagWriter
from admn_ros.share import find_shipped, share_directory
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
        """Call a service whose requests may be repeated."""
        client = self.node.create_client(kind, service)
        assert self.wait(client.service_is_ready), f"{service} is not there"
        # A response is lost when it arrives before both sides have discovered each other: ask again.
        for _ in range(30):
            future = client.call_async(request)
            if self.wait(future.done, 2.0):
                return future.result()
        raise AssertionError(f"{service} does not answer")

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
        return subprocess.Popen(command, stderr=subprocess.PIPE,
                                text=True, start_new_session=True)

    def bring_up(self) -> None:
        """Wait until the lifecycle nodes are active, by themselves."""
        for node in self.description.nodes:
            if node.executable not in ("perception", "governor"):
                continue
            name = "/".join(["", *filter(None, [node.namespace.strip("/"), node.name])])
            assert self.wait(partial(self._is_active, name)), name

    def _is_active(self, name: str) -> bool:
        return self.call(GetState, f"{name}/get_state", GetState.Request()).current_state.label == "active"

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


def layers(node: Entity) -> tuple[dict[str, str], list[Any]]:
    """Default parameters of a node, which its arguments hold, and the files and values that override them."""
    words = list(node.arguments)
    return dict(words[k + 1].split(":=") for k, word in enumerate(words) if word == "-p"), list(node.parameters)


def handler_of(description: Description, node: Entity) -> Callable[..., Any]:
    """What happens when a node exits."""
    (found,) = [h.args[0] for h in description.of("RegisterEventHandler") if h.args[0].target_action is node]
    return found.on_exit


def exited(code: int) -> SimpleNamespace:
    return SimpleNamespace(process_name="perception-1", returncode=code)


RUNNING, STOPPING = SimpleNamespace(is_shutdown=False), SimpleNamespace(is_shutdown=True)


def test_without_arguments_the_shipped_model_is_active_and_every_other_value_is_the_nodes(tmp_path):
    description = describe(LAUNCH)
    (perception,) = description.nodes
    assert (perception.executable, perception.name, perception.namespace) == ("perception", "admn", "")
    defaults, others = layers(perception)
    assert defaults == {"model": "gdtm", "autostart": "true", "use_sim_time": "false"} and not others
    assert (find_shipped("gdtm", "models") / "weights.safetensors").is_file()
    specs = {spec.name: spec for spec in PARAMETERS}
    assert tuple(description.choices["budget_unit"][1:]) == get_args(BudgetUnit) == specs["budget_unit"].choices
    assert tuple(description.choices["device"][1:]) == specs["device"].choices


def test_every_argument_is_documented_with_its_default():
    rows = [line.split("|") for line in (ROOT / "docs" / "launch.md").read_text().splitlines()]
    documented = {row[1].strip(" `"): row[2].strip(" `") for row in rows if len(row) == 5 and "`" in row[1]}
    assert documented == describe(LAUNCH).defaults


def test_what_was_given_overrides_the_file_which_overrides_the_defaults(tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text("/**:\n  ros__parameters: {model: gdtm, device: cpu}\n"
                    "admn:\n  ros__parameters: {model: 'untrained:gdtm-tiny', use_sim_time: true}\n")
    perception, governor = describe(LAUNCH, params_file=str(file), governor="true").nodes
    assert layers(perception)[1] == [str(file)]
    assert governor.parameters[-1] == {"model": "", "use_sim_time": True}
    perception, governor = describe(LAUNCH, parameters=str(file), governor="true", model="gdtm", budget="3",
                                    use_sim_time="False", autostart="false").nodes
    given = {"model": "gdtm", "budget_limit": 3.0, "use_sim_time": False, "autostart": False}
    assert layers(perception)[1] == [str(file), given]
    assert governor.parameters[-1] == {"model": "gdtm", "use_sim_time": False, "autostart": False}


@pytest.mark.parametrize(("content", "sim_time"), [
    ("/**: {ros__parameters: {use_sim_time: true}}\n/*: {ros__parameters: {use_sim_time: false}}", True),
    ("/**: {ros__parameters: {use_sim_time: true}}\n/r/admn: {ros__parameters: {use_sim_time: false}}", False),
    ("/r/admn: {ros__parameters: {use_sim_time: false}}\n/**: {ros__parameters: {use_sim_time: true}}", True),
    ("r:\n  admn: {ros__parameters: {use_sim_time: true}}", True),
    ("/**/admn: {ros__parameters: {use_sim_time: true}}", True),
    ("/*: {ros__parameters: {use_sim_time: true}}\n/r/*: {ros__parameters: {use_sim_time: false}}", False),
    ("r/**: {ros__parameters: {use_sim_time: true}}", True)])
def test_sections_apply_as_in_ros_and_later_ones_override(tmp_path, content, sim_time):
    (tmp_path / "robot.yaml").write_text(content)
    for where in ({"namespace": "r"}, {"namespace": "/r/"}, {"ros_namespace": "/r"},
                  {"ros_namespace": "/q", "namespace": "/r"}):
        _, governor = describe(LAUNCH, params_file=str(tmp_path / "robot.yaml"), governor="true", **where).nodes
        assert governor.parameters[-1]["use_sim_time"] is sim_time
    context = rclpy.Context()  # the node itself reads the same
    rclpy.init(args=["--ros-args", "--params-file", str(tmp_path / "robot.yaml")], context=context)
    node = rclpy.create_node("admn", namespace="r", context=context)
    assert node.get_parameter("use_sim_time").value is sim_time
    node.destroy_node()
    context.try_shutdown()


@pytest.mark.parametrize(("argument", "value", "text"), [
    ("budget", "-5", "budget: found '-5'; allowed: a number from 0"), ("budget", "abc", "budget: found 'abc'"),
    ("budget", "nan", "budget: found 'nan'"), ("rate", "0", "rate: found '0'; allowed: a number from 0.01 to 100"),
    ("seed", "1.5", "seed: found '1.5'; allowed: a whole number"), ("foxglove_port", "", "foxglove_port: found ''"),
    ("name", "a/b", "name: found 'a/b'; allowed: letters"), ("name", "my-robot", "name: found 'my-robot'"),
    ("namespace", "1x", "namespace: found '1x'"), ("namespace", "a//b", "namespace: found 'a//b'"),
    ("watts_topic", "power!", "watts_topic: found 'power!'; allowed: the name of a topic"),
    ("bag", "/nosuch", "bag: found '/nosuch'"), ("model", "nosuch", "model: found 'nosuch'"),
    ("sensors", "nosuch", "sensors: found 'nosuch'"), ("governor_file", "nosuch", "governor_file: found 'nosuch'"),
    ("params_file", "/nosuch", "params_file: found /nosuch: ")])
def test_an_argument_that_cannot_be_used_is_named(argument, value, text):
    with pytest.raises(ConfigError) as refused:
        describe(LAUNCH, **{argument: value})
    assert str(refused.value).startswith(text) and "\n" not in str(refused.value)


@pytest.mark.parametrize(("content", "text"), [
    ("governor:\n  ros__parameters: {a: 1}\n", "with governor; allowed: a section /** or /robot/admn"),
    ("admn:\n  ros__parameters: {a: 1}\n", "with admn; allowed: a section /** or /robot/admn"),
    ("/**: {a: 1}\n", "without ros__parameters"), ("a: [\n", "expected the node content"), ("7\n", "with no mapping;"),
    ("", "with no mapping;")])
def test_a_parameter_file_without_parameters_of_the_node_is_refused(tmp_path, content, text):
    (tmp_path / "robot.yaml").write_text(content)
    with pytest.raises(ConfigError, match="params_file: found") as refused:
        describe(LAUNCH, params_file=str(tmp_path / "robot.yaml"), namespace="robot")
    assert text in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(("arguments", "sim_time"), [
    ({}, "false"), ({"bag": "/tmp"}, "true"), ({"sim": "true"}, "true"), ({"sim": "True"}, "true")])
def test_simulated_time_is_the_default_with_recordings_and_the_simulator(arguments, sim_time):
    perception, governor, *_ = describe(LAUNCH, governor="true", **arguments).nodes
    assert layers(perception)[0]["use_sim_time"] == sim_time
    assert governor.parameters[-1]["use_sim_time"] is (sim_time == "true")


def test_the_end_of_a_recording_ends_the_launch_once_and_a_bag_wins_over_the_simulator():
    description = describe(LAUNCH, bag="/tmp", sim="true", rate="2.0")
    _, replay = description.nodes
    assert replay.executable == "replay" and replay.parameters == [{"bag": "/tmp", "rate": 2.0}]
    ended = handler_of(description, replay)
    assert type(ended(exited(0), RUNNING)[0].event).__name__ == "Shutdown"
    assert ended(exited(0), STOPPING) == []  # after Ctrl-C
    with pytest.raises(RuntimeError, match="exit code 2"):
        ended(exited(2), RUNNING)


def test_a_node_that_ends_by_itself_ends_the_launch_with_an_error_or_is_started_again():
    description = describe(LAUNCH, governor="true")
    perception, governor = description.nodes
    for node, code in ((perception, -9), (perception, 0), (perception, 2), (governor, 1)):
        assert not node.respawn
        with pytest.raises(RuntimeError, match=f"perception-1 ended by itself with exit code {code}"):
            handler_of(description, node)(exited(code), RUNNING)
        assert handler_of(description, node)(exited(code), STOPPING) == []
    assert "default budget" in handler_of(description, governor)(exited(-9), RUNNING)[0].msg
    again = describe(LAUNCH, use_respawn="true")
    (perception,) = again.nodes
    assert perception.respawn
    assert "starting it again" in handler_of(again, perception)(exited(-9), RUNNING)[0].msg


def test_the_launch_leaves_the_environment_to_its_nodes():
    assert not list(describe(LAUNCH).of("SetEnvironmentVariable")) and "Environment" not in LAUNCH.read_text()


def test_a_misspelt_argument_is_named_and_those_of_an_including_file_are_not():
    description = describe(LAUNCH, {"budgt": "3", "map": "hall.yaml", "robot_name": "a"})
    assert [entity.msg for entity in description.of("LogInfo")] == [
        "budgt: no argument of gdtm.launch.py, which is ignored; like budget"]


def test_viewers_that_are_not_installed_are_named_and_nothing_fails():
    description = describe(LAUNCH, rviz="true", foxglove="true")
    assert [node.executable for node in description.nodes] == ["perception"]
    texts = [entity.msg for entity in description.of("LogInfo")]
    assert len(texts) == 2 and "ros-jazzy-rviz2" in texts[0] and "ros-jazzy-foxglove-bridge" in texts[1]


def test_a_recording_is_replayed_to_its_end_on_the_shipped_model(launched, bag):
    run = launched(bag=str(bag), rate="1.0")
    allocations = run.store(LayerAllocation, ALLOCATION)
    run.bring_up()
    assert run.wait(lambda: run.processes["replay"].poll() is not None) and run.processes["replay"].returncode == 0
    assert run.wait(lambda: allocations) and allocations[-1].header.stamp.sec >= 10**9
    run.stop()


def renders() -> bool:
    try:
        World(0).close()
    except InputError:
        return False
    return True


def test_simulator_governor_and_a_perception_of_another_name_meet_in_a_namespace(launched):
    simulated = renders()
    run = launched(governor="true", namespace="robot1", name="eyes", **({"sim": "true"} if simulated else {}))
    allocations = run.store(LayerAllocation, "/robot1/eyes/allocation")
    run.bring_up()
    budgets = run.store(ComputeBudget, "/robot1/eyes/budget")
    assert run.wait(lambda: budgets) and budgets[-1].source == "governor"
    assert run.node.get_subscriptions_info_by_topic("/robot1/eyes/budget")
    if not simulated:
        run.stop()
        pytest.skip("no renderer for the simulator")
    assert run.wait(lambda: any(a.spent > 0 for a in allocations))
    for topic in ("/robot1/temperature", "/robot1/node1/rgb/camera_info", "/clock"):
        assert run.node.count_publishers(topic) and run.node.count_subscribers(topic), topic
    assert run.wait(lambda: allocations[-1].source == "governor")
    run.stop()


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_real_launch_ends_well_with_its_recording_and_on_ctrl_c(interrupted, bag, tmp_path):
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
        if interrupted:
            assert watcher.wait(lambda: allocations, 100.0)
            os.killpg(process.pid, signal.SIGINT)
        ended = watcher.wait(lambda: process.poll() is not None, 100.0)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        watcher.close()
    assert ended and process.returncode == 0 and "Traceback" not in output, output
    assert "configured: model '" in output and allocations, output


def test_the_governor_of_the_shipped_model_has_its_parameters(tmp_path):
    def files(**arguments):
        _, governor = describe(LAUNCH, governor="true", **arguments).nodes
        return [Path(p).name for p in governor.parameters[:-1]]

    (tmp_path / "own.yaml").write_text("/**: {ros__parameters: {target_c: 60.0}}")
    assert files() == ["governor.yaml", "gdtm_governor.yaml"]
    assert files(model="untrained:gdtm-tiny") == ["governor.yaml"]
    assert files(governor_file=str(tmp_path / "own.yaml")) == ["own.yaml"]
    config = read_governor(share_directory() / "config" / "gdtm_governor.yaml")
    assert config.max_layers == load_config(ModelConfig, find_shipped("gdtm", "models") / "config.yaml").layers_total
    assert config.default_layers <= config.max_layers and config.safe_layers < config.max_layers
