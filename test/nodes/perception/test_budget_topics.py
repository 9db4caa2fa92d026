# SPDX-License-Identifier: Apache-2.0
"""Power managers and the perception node over real DDS: requests, withdrawals, refusals, state of the budgets."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator

import pytest
import rclpy
from builtin_interfaces.msg import Duration
from std_msgs.msg import Float32, Int32, String, UInt16

from admn_ros.budget.compute_budget import WITHDRAW, BudgetRequest
from admn_ros.msg import BudgetState, ComputeBudget
from admn_ros.nodes import qos
from admn_ros.nodes.budget_input import BudgetInput, PublisherStreams, RequestTopic
from admn_ros.nodes.endpoints import Endpoints

SECOND = 10**9


class Manager:
    """A power manager in the rig, with a node of its own, that publishes on one topic of the node."""

    def __init__(self, rig, kind: type = ComputeBudget, topic: str = "", name: str = "manager", profile=10) -> None:
        self.node = rclpy.create_node(name, context=rig.context)
        self.publisher = self.node.create_publisher(kind, f"/admn/budget{topic}", profile)
        self._rig, self._kind = rig, kind

    def send(self, age_s: float | None = None, **fields: object) -> None:
        message = self._kind(**fields)
        if age_s is not None:
            now_ns = self.node.get_clock().now().nanoseconds - round(age_s * SECOND)
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(now_ns, SECOND)
        assert self._rig.wait(self.publisher.get_subscription_count)
        self.publisher.publish(message)

    def close(self) -> None:
        self.node.destroy_node()


@pytest.fixture
def manager(rig) -> Iterator[Callable[..., Manager]]:
    made: list[Manager] = []

    def make(*args: object, **how: object) -> Manager:
        made.append(Manager(rig, *args, **how))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def states(rig) -> list[BudgetState]:
    found: list[BudgetState] = []
    rig.driver.create_subscription(BudgetState, "/admn/budget_state", found.append, qos.STATE)
    assert rig.wait(lambda: found), "the state is kept for late subscribers"
    return found


@pytest.fixture
def unmeasured(tmp_path, monkeypatch) -> None:
    """Give the node no costs that another test measured."""
    monkeypatch.setenv("ADMN_CACHE", str(tmp_path / "cache"))


def in_force(state: BudgetState) -> tuple[float, str]:
    return state.in_force.limit, state.in_force.source


@pytest.mark.usefixtures("unmeasured")
def test_the_state_shows_ranges_and_the_budget_in_force_from_whom_until_when(rig, manager, states):
    assert in_force(states[-1]) == (8.0, "deployment file") and states[-1].is_default
    ranges = {r.unit: (r.least, r.most) for r in states[-1].ranges}
    table = rig.node.pipeline.engine.costs.table("gflops")
    assert ranges[ComputeBudget.UNIT_LAYERS] == (1.0, 16.0)
    assert ranges[ComputeBudget.UNIT_GFLOPS][1] == table.amount(table.total(table.everything))
    assert 0 < ranges[ComputeBudget.UNIT_GFLOPS][0] < ranges[ComputeBudget.UNIT_GFLOPS][1]
    assert math.isnan(ranges[ComputeBudget.UNIT_MILLISECONDS][0]), "not measured yet"
    assert ComputeBudget.UNIT_WATTS not in ranges, "no joules were measured"
    battery = manager(name="battery_node")
    battery.send(limit=5.0, source="battery", valid_for=Duration(sec=3600))
    assert rig.wait(lambda: in_force(states[-1]) == (5.0, "battery"))
    left = states[-1].in_force.valid_for
    assert not states[-1].is_default and 3590 <= left.sec <= 3600
    assert [(r.source, r.limit) for r in states[-1].requests] == [("battery", 5.0)]
    # Withdrawn by its source; a repetition is no error.
    for _ in range(2):
        battery.send(unit=WITHDRAW, source="battery")
    assert rig.wait(lambda: in_force(states[-1]) == (8.0, "deployment file"))
    assert not states[-1].requests and not states[-1].refusals


def test_of_equals_the_lower_limit_stays_in_force_and_the_contest_is_in_diagnostics(rig, manager, states):
    battery, operator = manager(name="one"), manager(name="two")
    for _ in range(3):
        battery.send(limit=6.0, source="battery")
        operator.send(limit=12.0, source="operator")
    assert rig.wait(lambda: len(states[-1].requests) == 2)
    assert rig.wait(lambda: "battery 6 layers, operator 12 layers" in rig.value("budget", "contest"))
    assert {in_force(s) for s in states[1:] if any(r.source == "battery" for r in s.requests)} == {(6.0, "battery")}


def test_nameless_requests_are_named_by_their_publishers_and_kept_apart(rig, manager, states):
    one, two = manager(name="one"), manager(name="two")
    assert rig.wait(lambda: rig.node.count_publishers("/admn/budget") == 3)  # with that of the rig
    for _ in range(4):
        one.send(limit=6.0)
        time.sleep(0.02)
        two.send(limit=12.0)
        time.sleep(0.02)
    assert rig.wait(lambda: [r.limit for r in states[-1].requests] == [6.0, 12.0])
    assert "/one" in states[-1].in_force.source and "/two" in states[-1].in_force.source
    assert {in_force(s)[0] for s in states if len(s.requests) == 2} == {6.0}


def test_refusals_reach_their_sender_by_source_and_reason(rig, manager, states):
    noisy, shy = manager(name="noisy"), manager(name="shy")
    for _ in range(20):
        noisy.send(limit=math.nan, source="noisy")
    shy.send(limit=3.0, unit=ComputeBudget.UNIT_WATTS, source="shy")
    assert rig.wait(lambda: len(states[-1].refusals) == 2)
    first, second = states[-1].refusals
    assert (first.source, second.source) == ("noisy", "shy") and "limit: found nan" in first.reason
    assert "unit: found watts; allowed: layers, gflops" in second.reason and second.count == 1
    assert rig.wait(lambda: "shy: unit: found watts" in rig.value("budget", "refused_sources"))
    assert rig.status("budget").level == b"\x01"
    noisy.send(limit=3.0, source="noisy")
    assert rig.wait(lambda: [r.source for r in states[-1].refusals] == ["shy"])


def test_bare_numbers_set_budgets_and_names_withdraw_them(rig, manager, states):
    layers, watts = manager(UInt16, "/layers", "knob"), manager(Float32, "/watts", "meter")
    layers.send(data=3)
    assert rig.wait(lambda: in_force(states[-1]) == (3.0, "/knob"))
    watts.send(data=5.0)
    assert rig.wait(lambda: any(r.source == "/meter" and "found watts" in r.reason for r in states[-1].refusals))
    watts.send(data=-1.0)
    assert rig.wait(lambda: any("limit: found -1.0" in r.reason for r in states[-1].refusals))
    milliseconds = manager(Float32, "/milliseconds", "clockmaker")
    milliseconds.send(data=math.nan)
    assert rig.wait(lambda: any(r.source == "/clockmaker" for r in states[-1].refusals))
    withdraw = manager(String, "/withdraw", "hand")
    withdraw.send(data="/somebody")
    assert rig.wait(lambda: any("withdraw: found '/somebody'; allowed: /knob" in r.reason
                                for r in states[-1].refusals))
    withdraw.send(data="/knob")
    assert rig.wait(lambda: states[-1].is_default)


def test_a_publisher_of_another_type_is_named(rig, states):
    context = rclpy.Context()  # a process has one type for each topic, a context too
    rclpy.init(context=context)
    typist = rclpy.create_node("typist", context=context)
    typist.create_publisher(Int32, "/admn/budget/layers", 10)
    try:
        assert rig.wait(lambda: [(r.source, r.reason) for r in states[-1].refusals] == [
            ("/typist", "/admn/budget/layers: found std_msgs/msg/Int32; allowed: std_msgs/msg/UInt16")])
    finally:
        typist.destroy_node()
        context.try_shutdown()


@pytest.mark.parametrize("profile", [10, qos.STATE], ids=["volatile", "latched"])
def test_the_age_of_a_request_counts_from_its_stamp(rig, manager, states, profile):
    old = manager(name="old", profile=profile)
    old.send(limit=2.0, source="old", valid_for=Duration(sec=5), age_s=15.0)
    # As seen on arrival, which may take a while.
    assert rig.wait(lambda: any(re.search(r"(1[5-9]|[2-9]\d)\.\d s old", r.reason) for r in states[-1].refusals))
    ahead = manager(name="ahead", profile=profile)
    ahead.send(limit=12.0, source="ahead", valid_for=Duration(sec=60), age_s=-37.0)
    assert rig.wait(lambda: any(re.search(r"(2\d|3[0-7])\.\d s ahead", r.reason) for r in states[-1].refusals))
    assert {in_force(s) for s in states} == {(8.0, "deployment file")}, "it may not raise the budget"
    ahead.send(limit=4.0, source="ahead", valid_for=Duration(sec=60), age_s=-37.0)
    assert rig.wait(lambda: in_force(states[-1]) == (4.0, "ahead"))


def test_a_kept_request_that_has_expired_is_not_used_by_a_node_that_starts_later(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), diagnostics_period_s=0.2)
    states: list[BudgetState] = []
    rig.driver.create_subscription(BudgetState, "/admn/budget_state", states.append, qos.STATE)
    kept = ComputeBudget(limit=2.0, source="battery", valid_for=Duration(sec=5))
    kept.header.stamp.sec = rig.node.get_clock().now().seconds_nanoseconds()[0] - 15
    publisher = rig.driver.create_publisher(ComputeBudget, "/admn/budget", qos.STATE)
    publisher.publish(kept)
    assert rig.node.trigger_configure().name == "SUCCESS"
    assert rig.wait(lambda: states and states[-1].refusals)
    assert "younger than its validity of 5 s" in states[-1].refusals[0].reason
    assert {in_force(s) for s in states} == {(8.0, "deployment file")}


# --- order of messages; with real nodes, and the message info that rclpy would pass ----------------------


@pytest.fixture
def listener() -> Iterator[tuple[RequestTopic, list[float]]]:
    context = rclpy.Context()
    rclpy.init(context=context)
    node, taken = rclpy.create_node("listener", context=context), list[float]()

    def take(request: BudgetRequest, key: str) -> None:
        taken.append(request.budget.limit)

    topic = BudgetInput(node, Endpoints(node), "budget", take, lambda source, error: None)._topics[0]
    yield topic, taken
    node.destroy_node()
    context.try_shutdown()


def info(number: int, time_s: float) -> dict[str, int]:
    return {"source_timestamp": round(time_s * SECOND), "publication_sequence_number": number}


def budget(limit: float) -> ComputeBudget:
    return ComputeBudget(limit=limit, source="battery")


def test_a_clock_that_was_stepped_back_loses_no_request(listener):
    topic, taken = listener
    for number, time_s in ((1, 5000.0), (2, 5001.0), (3, 1400.0), (4, 1401.0)):
        for receive in (topic.receive, topic.receive_kept):
            receive(budget(number), info(number, time_s))
    assert taken == [1, 2, 3, 4]


def test_a_new_publisher_of_a_known_source_is_followed_whatever_its_clock(listener):
    topic, taken = listener
    topic.receive(budget(6), info(500, 5000.0))
    topic.receive_kept(budget(9), info(1, 1400.0))
    topic.poll()
    assert taken == [6, 9]
    topic.receive_kept(budget(10), info(2, 1401.0))
    topic.receive(budget(10), info(2, 1401.0))
    assert taken == [6, 9, 10], "at once, where the other subscription proves that it is new"


def test_older_messages_that_a_publisher_kept_do_not_replace_its_newest(listener):
    topic, taken = listener
    topic.receive(budget(4), info(4, 5003.0))
    for number in (1, 2, 3, 4):  # what the publisher kept arrives later, on the other subscription
        topic.receive_kept(budget(number), info(number, 5000.0 + number - 1))
    topic.poll()
    assert taken == [4]


def test_streams_of_several_publishers_are_separated_and_end_with_them():
    streams = PublisherStreams()
    assert [streams.find(n, 2)[0] for n in (1, 70, 2, 71, 3, 4, 72)] == [0, 1, 0, 1, 0, 0, 1]
    assert streams.find(1, 3) == (2, []), "a third one"
    assert streams.find(75, 3) == (1, []), "after a loss"
    assert streams.find(2, 1) == (0, [2, 1]), "the others are gone"
    assert streams.find(0, 5) == (0, []), "no numbers"
