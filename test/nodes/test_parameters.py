# SPDX-License-Identifier: Apache-2.0
"""Parameters of the nodes: whole numbers for doubles, refusals in one line, help texts. Real services."""

from __future__ import annotations

import pytest
import rclpy
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter

from admn_ros.errors import ConfigError
from admn_ros.nodes.apps import replay, simulator, watch
from admn_ros.nodes.governor import parameters as governor
from admn_ros.nodes.parameters import Spec, declare, warn_of_unknown
from admn_ros.nodes.perception import node
from admn_ros.nodes.perception import parameters as perception
from admn_ros.nodes.trials import feed

TABLES = {"perception": perception.PARAMETERS, "governor": governor.PARAMETERS, "replay": replay.PARAMETERS,
          "simulator": simulator.PARAMETERS, "watch": watch.PARAMETERS, "feed": feed.PARAMETERS}
RATE = Spec("rate", 1.0, "Speed.", low=0.5, high=100.0)


def made(context, *specs: Spec, **values: object) -> tuple[Node, dict[str, object]]:
    """A node with these parameters, given the values, and what was declared."""
    node = Node("subject", context=context, parameter_overrides=[Parameter(n, value=v) for n, v in values.items()])
    return node, declare(node, specs)


@pytest.fixture
def context():
    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    context.try_shutdown()


def test_every_double_of_every_node_takes_a_whole_number(context):
    for name, table in TABLES.items():
        doubles = [s for s in table if isinstance(s.default, float) and (s.high is None or s.high >= 1)]
        whole = {s.name: int(s.high if s.high is not None else 3) for s in doubles}
        node, values = made(context, *doubles, **whole)
        assert values == whole and all(type(v) is float for v in values.values()), name
        assert all(node.describe_parameter(s.name).type == ParameterType.PARAMETER_DOUBLE for s in doubles), name
        node.destroy_node()


@pytest.mark.parametrize(("value", "text"), [
    ("abc", "rate: found 'abc'; allowed: a number from 0.5 to 100.0"), (True, "rate: found True; allowed: a number"),
    (0, "rate: found 0; allowed: a number"), (101.0, "rate: found 101.0; allowed: a number")])
def test_another_type_or_a_value_out_of_range_is_refused_with_its_name(context, value, text):
    with pytest.raises(ConfigError) as refused:
        made(context, RATE, rate=value)
    assert str(refused.value).startswith(text)


@pytest.mark.parametrize(("given", "text"), [
    ({"rate": 2.0, "use_sim_time": True, "qos_overrides./clock.subscription.depth": 3}, ""),
    ({"foo": 1, "rat": 2.0}, "found unknown rat (like rate), foo, which are not used"),
    ({f"other{k}": k for k in range(100)}, "other7 and 92 more, which")])
def test_unknown_parameters_are_named_once(context, capfd, given, text):
    node, _ = made(context, RATE, **given)
    warn_of_unknown(node)
    node.destroy_node()
    seen = capfd.readouterr().err
    assert text in seen and seen.count("\n") == bool(text)


def test_a_whole_number_sets_a_double_of_a_running_node(rig):
    client = rig.driver.create_client(SetParameters, "/admn/set_parameters")

    def answer(name: str, value: int) -> object:
        return rig.call(client, SetParameters.Request(parameters=[ParameterMessage(name=name, value=ParameterValue(
            type=ParameterType.PARAMETER_INTEGER, integer_value=value))])).results[0]

    assert answer("budget_limit", 3).successful and rig.in_force(3)
    assert answer("sync.depth.hold_s", 2).successful
    assert rig.node.value("budget_limit") == 3.0 and type(rig.node.value("budget_limit")) is float
    assert not answer("budget_limit", -2).successful
    assert not answer("budget_unit", 3).successful


@pytest.mark.parametrize(("program", "main"), [("perception", node.main), ("watch", watch.main)],
                         ids=["perception", "watch"])
def test_help_shows_every_parameter_and_the_ros_arguments(run_here, program, main):
    done = run_here(main, "--help")
    assert done.returncode == 0 and not done.stderr
    assert f"ros2 run admn_ros {program}" in done.stdout and "--params-file" in done.stdout
    for spec in TABLES[program]:
        assert f"\n  {spec.name}: " in done.stdout


def test_a_word_that_is_no_ros_argument_is_refused_in_one_line(run_here):
    done = run_here(watch.main, "--fast")
    assert (done.returncode, done.stderr) == (
        2, "arguments: found --fast; allowed: --help, or ROS arguments after --ros-args\n")
