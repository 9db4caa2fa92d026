# SPDX-License-Identifier: Apache-2.0
"""Lifecycle and parameters of the perception node."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest
import yaml
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter

from admn_ros.inference.pipeline import Pipeline
from admn_ros.msg import ComputeBudget
from admn_ros.nodes import qos
from admn_ros.nodes.perception.parameters import PARAMETERS

CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4


def test_every_state_and_back_again(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file))
    assert rig.state() == "unconfigured"
    for _ in range(2):
        assert rig.transition(CONFIGURE) and rig.state() == "inactive"
        assert rig.transition(ACTIVATE) and rig.state() == "active"
        assert rig.connected()
        rig.frame()
        assert rig.transition(DEACTIVATE) and rig.state() == "inactive"
        assert rig.wait(lambda: not rig.outputs["left", "rgb"].get_subscription_count())
        assert rig.transition(CLEANUP) and rig.state() == "unconfigured"
        assert rig.node.pipeline is None


def test_an_impossible_transition_is_refused_and_the_node_lives_on(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file))
    for number in (ACTIVATE, DEACTIVATE, CLEANUP, 99):
        assert not rig.transition(number)
        assert rig.state() == "unconfigured"
    assert rig.transition(CONFIGURE)


@pytest.mark.slow
def test_eight_cycles_leave_nothing_behind(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file))

    def pipelines() -> int:
        return sum(type(thing) is Pipeline for thing in gc.get_objects())

    def cycle() -> tuple[int, ...]:
        for number in (CONFIGURE, ACTIVATE, DEACTIVATE, CLEANUP):
            assert rig.transition(number)
        rig.wait(lambda: gc.collect() >= 0 and not pipelines())  # a thread of the last cycle may still end
        node = rig.node
        return (threading.active_count(), len(list(node.subscriptions)), len(list(node.publishers)),
                len(list(node.timers)), len(list(node.waitables)), len(node.endpoints), pipelines(),
                len(list(Path("/proc/self/fd").iterdir())))

    cycle()
    first = cycle()
    assert first[-2] == 0, "no model is left in memory"
    assert [cycle() for _ in range(6)] == [first] * 6


@pytest.mark.parametrize(("broken", "expected"), [
    ("missing folder", "model: "),
    ("no weights", "weights.safetensors"),
    ("other config", "allowed"),
    ("corrupt weights", "weights.safetensors"),
])
def test_a_bad_model_fails_configuration_and_the_node_lives_on(
        make_rig, model_folder, sensors_file, tmp_path, capfd, broken, expected):
    folder = tmp_path / "model"
    if broken != "missing folder":
        folder.mkdir()
        for file in model_folder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    if broken == "no weights":
        (folder / "weights.safetensors").unlink()
    if broken == "corrupt weights":
        data = (folder / "weights.safetensors").read_bytes()
        (folder / "weights.safetensors").write_bytes(data[:len(data) // 2])
    if broken == "other config":
        raw = yaml.safe_load((folder / "config.yaml").read_text())
        raw["fusion"]["dim"] = 64
        (folder / "config.yaml").write_text(yaml.safe_dump(raw))
    rig = make_rig(model=str(folder), sensors=str(sensors_file))
    assert not rig.transition(CONFIGURE)
    assert rig.state() == "unconfigured"
    assert expected in capfd.readouterr().err
    rig.node.set_parameters([Parameter("model", value=str(model_folder))])
    assert rig.transition(CONFIGURE)


@pytest.mark.parametrize(("change", "expected"), [
    ({"sensors": 3}, "sensors: found 3"),
    ({"sensor": {}}, "sensor: found an unknown key"),
    ({"sync": {"silent_s": "long"}}, "sync.silent_s: found 'long'"),
    ({"sensors": {"attic": {"rgb": {"topic": "/attic"}}}}, "attic"),
])
def test_a_bad_sensors_file_fails_configuration_in_one_line(
        make_rig, model_folder, sensors_file, capfd, change, expected):
    raw = yaml.safe_load(sensors_file.read_text()) | change
    sensors_file.write_text(yaml.safe_dump(raw))
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file))
    assert not rig.transition(CONFIGURE)
    lines = [line for line in capfd.readouterr().err.splitlines() if "on_configure" in line]
    assert len(lines) == 1 and expected in lines[0] and "allowed" in lines[0]


def test_parameters_are_described_and_checked(rig):
    for spec in PARAMETERS:
        assert rig.node.describe_parameter(spec.name).description.startswith(spec.description)

    def refused(name: str, value: object) -> str:
        result = rig.node.set_parameters([Parameter(name, value=value)])[0]
        assert not result.successful
        return result.reason

    assert rig.node.describe_parameter("autostart").read_only and refused("autostart", False)
    assert "while unconfigured" in refused("model", "elsewhere")
    assert "allowed: layers, gflops" in refused("budget_unit", "furlongs")
    assert refused("budget_limit", -5.0)
    assert "0 or more" in refused("budget_limit", -0.5)
    assert refused("frame_rate_hz", 0.0)
    assert refused("budget_limit", "ten")


def test_the_default_budget_can_change_while_running(rig):
    rig.frame()
    assert rig.node.set_parameters([Parameter("budget_limit", value=3.0)])[0].successful
    allocation = rig.frame()
    assert allocation.requested_limit == 3.0 and allocation.source == "parameter"
    assert rig.node.set_parameters([Parameter("budget_limit", value=-1.0)])[0].successful
    assert rig.frame().source == "deployment file"


def test_periods_can_change_while_running(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), autostart=True, diagnostics_period_s=60.0)
    assert rig.connected()
    assert rig.wait(lambda: rig.driver.count_publishers("/diagnostics"))
    assert rig.node.set_parameters([Parameter("diagnostics_period_s", value=0.1)])[0].successful
    assert rig.wait(lambda: len(rig.diagnostics) >= 3)
    assert rig.node.set_parameters([Parameter("poll_period_s", value=0.5)])[0].successful
    rig.frame()


def test_an_active_node_sleeps_until_something_is_due(rig):
    def awake() -> int:
        return sum(not timer.is_canceled() for timer in rig.node.timers)

    assert awake() == 1, "diagnostics alone"
    rig.frame()
    rig.frame(skip=("left/depth", "right/audio"))  # released by its wait, without another message
    assert awake() == 2
    assert rig.wait(lambda: awake() == 1), "all inputs are silent: nothing is due"
    rig.frame()
    assert rig.transition(DEACTIVATE) and awake() == 1


@pytest.mark.parametrize("profile", [qos.STATE, qos.RESULT_OUT], ids=["latched", "volatile"])
def test_a_budget_counts_once_from_any_publisher_and_a_latched_one_from_before(
        make_rig, model_folder, sensors_file, profile):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), diagnostics_period_s=0.2)
    publisher = rig.driver.create_publisher(ComputeBudget, "/admn/budget", profile)
    latched = profile is qos.STATE
    if latched:
        publisher.publish(ComputeBudget(limit=3.0, source="early"))
    assert rig.transition(CONFIGURE) and rig.transition(ACTIVATE) and rig.connected()
    assert rig.wait(publisher.get_subscription_count)
    if latched:
        assert rig.wait(lambda: rig.frame().requested_limit == 3.0)
    publisher.publish(ComputeBudget(limit=-1.0))
    assert rig.wait(lambda: rig.value(": budget", "refused") != "0")
    for limit in (5.0, 6.0):  # a second copy of the refused one would be here before these
        publisher.publish(ComputeBudget(limit=limit, source="early"))
        assert rig.in_force(limit)
    assert rig.value(": budget", "refused") == "1"


def test_a_volatile_publisher_beside_a_latched_one_is_heard_without_a_warning(
        make_rig, model_folder, sensors_file, capfd):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), autostart=True, diagnostics_period_s=0.2)
    latched = rig.driver.create_publisher(ComputeBudget, "/admn/budget", qos.STATE)
    assert rig.connected() and rig.wait(lambda: latched.get_subscription_count() == 2)
    volatile = rig.driver.create_publisher(ComputeBudget, "/admn/budget", qos.RESULT_OUT)
    assert rig.wait(volatile.get_subscription_count)
    volatile.publish(ComputeBudget(limit=5.0, source="by hand"))
    assert rig.in_force(5.0)
    log = capfd.readouterr().err
    assert "New publisher discovered on topic" not in log, log


def test_a_latched_budget_survives_cleanup_and_configure(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), diagnostics_period_s=0.2)
    publisher = rig.driver.create_publisher(ComputeBudget, "/admn/budget", qos.STATE)
    publisher.publish(ComputeBudget(limit=2.0, source="battery"))
    for _ in range(2):
        assert rig.transition(CONFIGURE) and rig.transition(ACTIVATE) and rig.connected()
        assert rig.wait(lambda: rig.frame().requested_limit == 2.0)
        assert rig.transition(DEACTIVATE) and rig.transition(CLEANUP)


def test_a_default_budget_in_a_unit_without_costs_is_refused(make_rig, model_folder, sensors_file, capfd):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), budget_unit="joules", budget_limit=5.0)
    assert not rig.transition(CONFIGURE) and rig.state() == "unconfigured"
    assert "found joules" in capfd.readouterr().err
    assert not len(rig.node.endpoints) and rig.node.pipeline is None and not rig.node.has_parameter("sync.silent_s")
    rig.node.set_parameters([Parameter("budget_unit", value="layers")])
    assert rig.transition(CONFIGURE)
    refused = rig.node.set_parameters([Parameter("budget_unit", value="watts")])[0]
    assert not refused.successful and "found watts" in refused.reason


def test_choices_are_checked_at_start_up_too(make_rig, model_folder, sensors_file, capfd):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), budget_unit="furlongs")
    assert not rig.transition(CONFIGURE)
    assert "budget_unit: found 'furlongs'; allowed: layers, gflops" in capfd.readouterr().err


def test_nothing_from_before_a_pause_comes_out_after_it(rig):
    rig.frame()
    old_ns = rig.send(skip=("left/depth", "right/audio"))   # a frame that waits for these
    assert rig.transition(DEACTIVATE)
    finished = rig.allocation_of(old_ns) is not None  # its wait ran out before the pause
    rig.allocations.clear()
    assert rig.transition(ACTIVATE) and rig.connected()
    rig.frame()
    assert finished or rig.allocation_of(old_ns) is None


def test_an_activation_that_fails_leaves_nothing_behind(make_rig, model_folder, sensors_file, monkeypatch):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file))
    assert rig.transition(CONFIGURE)
    def broken(*args, **options):
        raise ValueError("no timer to be had")

    monkeypatch.setattr(rig.node, "create_timer", broken)
    before = len(list(rig.node.subscriptions)), threading.active_count()
    for _ in range(2):
        assert not rig.transition(ACTIVATE)
        assert (len(list(rig.node.subscriptions)), threading.active_count()) == before
    monkeypatch.undo()
    assert rig.transition(ACTIVATE) and rig.connected()
    rig.frame()


def test_an_untrained_model_says_so_loudly(make_rig, capfd, tmp_path):
    rig = make_rig(model="untrained:rgbd", sensors="rgbd")
    assert rig.transition(CONFIGURE)
    assert "UNTRAINED" in capfd.readouterr().err


def test_milliseconds_are_accepted_without_a_profile(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), budget_unit="milliseconds", budget_limit=1e6)
    assert rig.transition(CONFIGURE) and rig.transition(ACTIVATE) and rig.connected()
    allocation = rig.frame()
    assert allocation.granted_unit == ComputeBudget.UNIT_MILLISECONDS and 0 < allocation.spent <= 1e6


def test_a_lazy_node_runs_only_while_a_result_has_a_subscriber(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), autostart=True, diagnostics_period_s=0.1,
                   no_frames_error_s=0.3, lazy=True)
    assert rig.connected()
    rig.frame()
    for subscription in [s for s in rig.driver.subscriptions if s.topic_name.startswith("/admn/")]:
        rig.call_soon(rig.driver.destroy_subscription, subscription)
    # A subscription of the node itself, as that to /tf, wants no result.
    rig.call_soon(rig.node.endpoints.create_subscription, Odometry, "/admn/odometry", lambda message: None,
                  qos.COMMAND_IN)
    assert rig.wait(lambda: rig.node.count_subscribers("/admn/odometry"))
    assert rig.wait(lambda: not rig.node.endpoints.wanted)
    processed, skipped = len(rig.allocations), lambda: int(rig.value(": inference", "skipped_unwanted") or 0)
    assert rig.send_until(lambda: skipped() > 20)
    assert rig.status(": inference").level == b"\x00"
    assert rig.text(": inference") == "idle: no result topic has a subscriber (lazy)"
    assert len(rig.allocations) == processed and int(rig.value(": inference", "frames")) <= processed + 1
    rig.call_soon(rig.driver.create_subscription, Odometry, "/admn/odometry", lambda message: None, 10)
    assert rig.wait(lambda: rig.node.endpoints.wanted)
    assert rig.send_until(lambda: rig.text(": inference").startswith("latency"))


def test_the_network_takes_no_more_than_the_highest_rate(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), autostart=True, diagnostics_period_s=0.1,
                   max_rate_hz=0.01)
    assert rig.connected()

    def skipped() -> int:
        return int(rig.value(": inference", "skipped_over_rate") or 0)

    assert rig.send_until(lambda: skipped() > 20)
    assert len(rig.allocations) == 1 and rig.value(": inference", "dropped") == "0"
    assert rig.node.set_parameters([Parameter("max_rate_hz", value=0.0)])[0].successful
    rig.frame()
    rig.frame()


def test_the_log_has_what_the_node_waits_for_and_that_it_is_active(make_rig, model_folder, sensors_file, capfd):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file))
    waiting = capfd.readouterr().err
    assert "unconfigured: waiting for configure" in waiting and "ros2 lifecycle set /admn configure" in waiting
    assert "autostart" in waiting
    assert rig.transition(CONFIGURE) and rig.transition(ACTIVATE)
    assert "]: active" in capfd.readouterr().err


@pytest.fixture
def measured(make_rig, model_folder, sensors_file, monkeypatch, tmp_path):
    """An active node without measured costs, and an event that its measurement waits for."""
    monkeypatch.setenv("ADMN_CACHE", str(tmp_path))
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), autostart=True, diagnostics_period_s=0.1)
    assert rig.connected()
    engine, go = rig.node.pipeline.engine, threading.Event()
    measure = engine.measure_costs
    engine.measure_costs = lambda *args, **options: go.wait(20) and measure(*args, **options)
    return rig, go


def test_the_first_budget_in_milliseconds_waits_for_its_costs_while_frames_go_on(measured):
    rig, go = measured
    rig.frame()
    rig.budget(1e6, ComputeBudget.UNIT_MILLISECONDS, source="battery")
    assert rig.wait(lambda: rig.text(": budget").startswith("1e+06 milliseconds from battery: waits for"))
    assert rig.status(": budget").level == b"\x01"
    assert rig.frame().requested_limit == 8.0, "the budget in force stays, and the executor is free"
    rig.budget(0.0, ComputeBudget.UNIT_MILLISECONDS, source="battery")
    assert rig.in_force(0.0) and rig.value(": budget", "pending") == "none", "nothing needs no costs"
    rig.budget(1e6, ComputeBudget.UNIT_MILLISECONDS, source="battery")
    assert rig.node.set_parameters([
        Parameter("budget_unit", value="milliseconds"), Parameter("budget_limit", value=2e6)])[0].successful
    assert rig.wait(lambda: "1e+06" in rig.value(": budget", "pending"))
    go.set()
    assert rig.in_force(1e6, "milliseconds") and rig.frame().granted_unit == ComputeBudget.UNIT_MILLISECONDS
    assert rig.wait(lambda: rig.value(": budget", "pending") == "none")
    assert rig.value(": budget", "refused") == "0"


def test_a_measurement_that_fails_refuses_the_budget_that_waits(measured):
    rig, _ = measured
    rig.node.pipeline.engine.measure_costs = lambda *args, **options: 1 / 0
    rig.budget(5.0, ComputeBudget.UNIT_MILLISECONDS, source="battery")
    assert rig.wait(lambda: "costs could not be measured" in rig.value(": budget", "last_refusal"))
    assert rig.frame().requested_limit == 8.0
    rig.call_soon(rig.node.set_parameters, [Parameter("budget_unit", value="milliseconds"),
                                            Parameter("budget_limit", value=7.0)])
    assert rig.wait(lambda: rig.value(": budget", "refused") == "2"), "a default budget neither"
    assert rig.frame().requested_limit == 8.0
    assert rig.transition(DEACTIVATE) and rig.transition(CLEANUP)
