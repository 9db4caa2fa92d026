# SPDX-License-Identifier: Apache-2.0
"""The governor node over real DDS, alone and in front of the perception node."""

from __future__ import annotations

import contextlib
import gc
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rclpy
import yaml
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import BatteryState, Temperature
from std_msgs.msg import Float32, Header

from admn_ros.governor.config import GovernorConfig
from admn_ros.msg import ComputeBudget
from admn_ros.nodes import qos
from admn_ros.nodes.governor.node import GovernorNode
from admn_ros.nodes.governor.parameters import PARAMETERS

ROOT = Path(__file__).resolve().parents[3]
FAST = {"period_s": 0.05, "valid_for_s": 0.5, "diagnostics_period_s": 0.1, "rise_layers_per_s": 1000.0,
        "fall_layers_per_s": 1000.0}


class GovernorRig:
    """A governor in its own thread, and what surrounds it."""

    def __init__(self, **values: object) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        overrides = [Parameter(name, value=value) for name, value in {**FAST, "autostart": True, **values}.items()]
        self.node = GovernorNode(context=self.context, parameter_overrides=overrides)
        self.robot = rclpy.create_node("robot", context=self.context)
        self.budgets: list[ComputeBudget] = []
        self.states: list[DiagnosticStatus] = []
        self.robot.create_subscription(ComputeBudget, "/admn/budget", self.budgets.append, qos.COMMAND_IN)
        self.robot.create_subscription(DiagnosticStatus, "/admn_governor/status", self.states.append, qos.STATE)
        self.outputs = {
            kind: self.robot.create_publisher(kind, topic, profile) for kind, topic, profile in (
                (ComputeBudget, "/admn_governor/budget_request", qos.STATE), (Temperature, "/temperature", 10),
                (BatteryState, "/battery_state", 10), (Float32, "/watts", 10), (DiagnosticArray, "/diagnostics", 10))}
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._executor.add_node(self.robot)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

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
        self._executor.shutdown()  # not before: see the rig of the perception node
        self.node.destroy_node()
        self.robot.destroy_node()
        del self.node, self.robot, self._executor, self.outputs
        gc.collect()

    def run(self, function: Callable[..., object], *args: object) -> object:
        """Call a function on the thread that spins, as a service does; on another, endpoints vanish in mid-callback."""
        future = self._executor.create_task(function, *args)
        assert self.reaches(future.done, timeout_s=60.0)
        return future.result()

    def reaches(self, condition: Callable[[], object], send: object = None, timeout_s: float = 20.0) -> bool:
        """Wait for something, while a message is published again and again as its driver would."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if send is not None:
                self.outputs[type(send)].publish(send)
            if condition():
                return True
            time.sleep(0.03)
        return False

    def grants(self, layers: int, **how: object) -> bool:
        """Whether so many layers are granted before long."""
        return self.reaches(lambda: self.budgets and self.budgets[-1].limit == layers, **how)

    def value(self, key: str) -> str:
        """A value of the latest status."""
        return {v.key: v.value for v in self.states[-1].values}.get(key, "") if self.states else ""


@pytest.fixture
def make_governor() -> Iterator[Callable[..., GovernorRig]]:
    rigs: list[GovernorRig] = []

    def make(**values: object) -> GovernorRig:
        rigs.append(GovernorRig(**values))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


def request(limit: float, source: str = "operator", unit: int = ComputeBudget.UNIT_LAYERS) -> ComputeBudget:
    return ComputeBudget(limit=float(limit), unit=unit, source=source)


def diagnostics(name: str, message: str, **values: str) -> DiagnosticArray:
    return DiagnosticArray(status=[DiagnosticStatus(
        name=name, message=message, values=[KeyValue(key=k, value=v) for k, v in values.items()])])


def test_every_kind_of_input_reaches_the_budget(make_governor):
    rig = make_governor()
    assert rig.grants(24)  # no request
    assert rig.grants(20, send=request(20))  # from a publisher that latches
    assert (rig.budgets[-1].unit, rig.budgets[-1].source) == (ComputeBudget.UNIT_LAYERS, "governor")
    assert rig.budgets[-1].valid_for == Duration(nanosec=500_000_000)
    assert rig.grants(12, send=BatteryState(percentage=0.1))
    assert "/battery_state at 10%" in rig.value("text") and rig.value("requested") == "20"
    assert rig.grants(1, send=diagnostics("jetson_stats/temp/tj", "91.00C more than 84.00C", Warning="84.00C"))
    assert rig.value("reason") == "critical temperature"
    assert rig.states[-1].message.count("critical from 85 C on") == 1, "the reason is not repeated as a problem"
    assert rig.reaches(lambda: rig.value("others_w") not in ("", "unknown"), send=Float32(data=9.0))


def test_what_cannot_be_used_is_ignored_and_reported(make_governor):
    rig = make_governor()
    assert rig.grants(24)
    for index, (bad, expected) in enumerate((
            (request(math.nan), "operator: limit: found nan"),
            (request(5, unit=9), "operator: budget.unit: found 9"))):
        assert rig.reaches(lambda expected=expected: expected in rig.value("last_ignored"), send=bad), expected
        assert int(rig.value("ignored")) > index
        assert rig.states[-1].level == DiagnosticStatus.WARN
    assert rig.budgets[-1].limit == 24 and rig.value("reason") == "default"
    for bad, expected in (
            (Temperature(temperature=math.nan), "temperature of /temperature: found nan"),
            (BatteryState(percentage=85.0), "/battery_state: battery.percentage: found 85.0"),
            (Float32(data=math.inf), "watts of /watts: found inf"),
            (diagnostics("jetson_stats/temp/tj", "nanC"), "/diagnostics/jetson_stats/temp/tj: jetson_stats")):
        assert rig.reaches(lambda expected=expected: expected in rig.value("last_ignored"), send=bad), expected
    assert rig.grants(12) and rig.value("reason") == "stale"
    assert "/battery_state: no usable reading" in rig.states[-1].message


def test_a_measurement_that_stops_leaves_the_safe_budget(make_governor):
    rig = make_governor(temperature_timeout_s=0.5)
    assert rig.grants(24)
    warm = Temperature(header=Header(frame_id="cpu"), temperature=40.0)
    assert rig.reaches(lambda: rig.value("hottest_c") == "40.00", send=warm)
    assert rig.grants(12)
    assert "temperature /temperature/cpu: no fresh reading" in rig.states[-1].message
    assert rig.grants(24, send=warm)


def test_parameters_change_live_when_they_make_sense(make_governor):
    rig = make_governor()
    assert rig.grants(24)
    assert rig.node.set_parameters([Parameter("default_layers", value=7)])[0].successful
    assert rig.grants(7)
    for name, value, expected in (("target_c", 85.0, "limit_c"), ("valid_for_s", 0.06, "two periods"),
                              ("safe_layers", -1, "safe_layers"), ("model", "x", "while unconfigured")):
        result = rig.node.set_parameters([Parameter(name, value=value)])[0]
        assert not result.successful and expected in result.reason
    assert rig.node.get_parameter("target_c").value == 75.0


def test_cycles_leave_nothing_behind_and_a_bad_model_fails_configuration(make_governor):
    rig = make_governor(autostart=False)
    node = rig.node

    def cycle() -> tuple[int, int, int]:
        for change in ("configure", "activate", "deactivate", "cleanup"):
            assert rig.run(getattr(node, f"trigger_{change}")).name == "SUCCESS"
        return len(list(node.subscriptions)), len(list(node.publishers)), len(list(node.timers))

    first = cycle()
    assert [cycle() for _ in range(3)] == [first] * 3
    rig.run(node.set_parameters, [Parameter("model", value="/nowhere")])
    assert rig.run(node.trigger_configure).name == "FAILURE" and node.state_label == "unconfigured"


def test_the_perception_follows_and_takes_its_own_default_when_the_governor_is_gone(make_governor, rig, model_folder):
    governor = make_governor(model=str(model_folder), default_layers=100)
    assert governor.grants(16)  # all that the model has
    assert governor.node.set_parameters([Parameter("default_layers", value=3)])[0].successful
    assert governor.grants(3)
    assert rig.wait(lambda: rig.frame().source == "governor")
    last = rig.frame()
    assert last.granted_limit == 3 and last.spent <= 3
    governor.run(governor.node.trigger_deactivate)
    assert rig.wait(lambda: rig.frame().source != "governor")
    assert rig.frame().granted_limit == 8  # of the deployment file
    governor.run(governor.node.trigger_activate)
    assert rig.wait(lambda: rig.frame().source == "governor")


def test_parameters_file_and_configuration_agree():
    shipped = yaml.safe_load((ROOT / "config" / "governor.yaml").read_text())["/**"]["ros__parameters"]
    specs = {spec.name: spec for spec in PARAMETERS}
    assert shipped == {name: spec.default for name, spec in specs.items() if name not in ("model", "autostart")}
    assert set(GovernorConfig.model_fields) < set(specs)
    for spec in specs.values():
        assert spec.description.endswith("."), spec.name
        # A whole number in YAML is another type to ROS.
        assert spec.name not in shipped or type(shipped[spec.name]) is type(spec.default), spec.name
