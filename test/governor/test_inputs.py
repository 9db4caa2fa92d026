# SPDX-License-Identifier: Apache-2.0
"""One decoder for received and recorded messages: the same fields, whatever class they come in."""

from __future__ import annotations

import math
from random import Random
from types import SimpleNamespace as Message
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.errors import InputError
from admn_ros.governor.config import GovernorConfig
from admn_ros.governor.governor import Governor, Grant, GrantReason
from admn_ros.governor.inputs import GovernorInputs

QUICK = GovernorConfig(rise_layers_per_s=1e4, fall_layers_per_s=1e4, hysteresis_layers=0.0)


class Fed:
    """A governor with its inputs, and what they refused."""

    def __init__(self, config: GovernorConfig = QUICK) -> None:
        self.governor, self.refused = Governor(config), list[tuple[str, InputError]]()
        self.inputs = GovernorInputs(self.governor, lambda source, error: self.refused.append((source, error)))
        self.now_s = 0.0

    def take(self, message: Any, topic: str = "") -> None:
        self.inputs.take(topic or TOPICS[type_of(message)], message, self.now_s, 0)

    def grant(self, *messages: Any) -> Grant:
        for message in messages:
            self.take(message)
        self.governor.step(self.now_s)
        self.now_s += 1.0
        return self.governor.step(self.now_s)


TOPICS = {"limit": "/admn_governor/budget_request", "status": "/diagnostics", "percentage": "/battery_state",
          "temperature": "/temperature", "data": "/watts"}


def type_of(message: Any) -> str:
    return next(name for name in TOPICS if hasattr(message, name))


def budget(limit: float, unit: int = 0, seconds: int = 0, source: str = "operator") -> Message:
    return Message(limit=limit, unit=unit, source=source, priority=3, valid_for=Message(sec=seconds, nanosec=0),
                   header=Message(stamp=Message(sec=0, nanosec=0), frame_id=""))


def battery(charge: float, status: int = 2, frame: str = "", **fields: Any) -> Message:
    # A BatteryState has a temperature, too.
    return Message(header=Message(frame_id=frame), percentage=charge, power_supply_status=status, temperature=300.0,
                   **{"present": True, "voltage": math.nan, **fields})


def temperature(celsius: float, frame: str = "cpu") -> Message:
    return Message(header=Message(frame_id=frame), temperature=celsius, variance=0.0)


def diagnostics(*statuses: tuple[str, str], hardware: str = "") -> Message:
    return Message(status=[Message(name=name, message=text, hardware_id=hardware, values=[])
                           for name, text in statuses])


def test_every_kind_of_message_reaches_the_governor():
    fed = Fed()
    assert fed.grant().granted == 24
    assert fed.grant(budget(20)).granted == 20
    assert fed.grant(battery(0.1)).reason is GrantReason.BATTERY
    assert fed.grant(battery(0.1, status=1)).granted == 20, "while charging"
    assert fed.grant(temperature(60.0)).temperature_c == 60.0
    assert fed.grant(Message(data=9.0)).others_w is not None
    assert fed.grant(diagnostics(("jetson_stats/temp/tj", "91.00C"))).reason is GrantReason.CRITICAL
    assert not fed.refused


@pytest.mark.parametrize(("message", "source", "expected"), [
    (budget(math.nan), "operator", "limit: found nan"), (budget(3, unit=9), "operator", "budget.unit: found 9"),
    (budget(3, seconds=-1), "operator", "budget.valid_for: found -1"),
    (diagnostics(("jetson_stats/temp/tj", "warm")), "", ""),
    (Message(status=[Message(name="pump", message="", hardware_id="", values=[
        Message(key="Temperature", value="rising")])]), "/diagnostics/pump/Temperature", "found 'rising'")])
def test_what_is_no_measurement_is_refused_and_changes_nothing(message: Message, source: str, expected: str):
    fed = Fed()
    before = fed.grant()
    after = fed.grant(message)
    assert [(s, expected in str(e)) for s, e in fed.refused] == ([(source, True)] if expected else [])
    assert (after.granted, after.reason, after.temperature_c) == (before.granted, before.reason, None)


@pytest.mark.parametrize(("message", "source", "expected"), [
    (battery(85.0), "/battery_state", "battery.percentage: found 85.0"),
    (battery(math.nan), "/battery_state", "battery.percentage: found nan"),
    (battery(-1.0, frame="main"), "/battery_state/main", "battery.percentage: found -1.0"),
    (battery(math.inf), "/battery_state", "battery.percentage: found inf"),
    (temperature(-256.0), "/temperature/cpu", "found -256.0"),
    (temperature(310.0, frame=""), "/temperature", "found 310.0"),
    (temperature(math.nan), "/temperature/cpu", "found nan"),
    (Message(data=-1.0), "/watts", "found -1.0"), (Message(data=math.inf), "/watts", "found inf"),
    (diagnostics(("jetson_stats/temp/tj", "nanC")), "/diagnostics/jetson_stats/temp/tj", "'nanC'"),
    (diagnostics(("jetson_stats/temp/tj", "400C"), hardware="orin"), "/diagnostics/orin/jetson_stats/temp/tj",
     "found 400.0")])
def test_a_source_without_a_usable_value_leaves_the_safe_budget_and_is_named(message: Message, source: str,
                                                                             expected: str):
    fed = Fed()
    assert fed.grant().granted == 24
    grant = fed.grant(message)
    assert (grant.granted, grant.reason) == (QUICK.safe_layers, GrantReason.STALE)
    assert f"{source}: no usable reading" in grant.text and grant.text in grant.problems
    assert [s for s, _ in fed.refused] == [source] and expected in str(fed.refused[0][1])


def test_a_usable_value_ends_the_doubt_about_its_source():
    fed = Fed()
    fed.grant(temperature(math.nan), battery(math.nan), Message(data=math.nan))
    grant = fed.grant(temperature(50.0), battery(0.9), Message(data=3.0))
    assert grant.granted == 24 and not grant.problems


def test_a_zone_that_the_board_lacks_does_not_slow_down_beside_a_working_one():
    """The law of the issue: whichever comes first, the grant is that of the temperature that can be."""
    lacking, warm = ("jetson_stats/temp/iwlwifi", "-256.00C"), ("jetson_stats/temp/tj", "70.00C")
    grants = [Fed().grant(diagnostics(*order)) for order in ((lacking, warm), (warm, lacking), (warm,))]
    assert grants[0] == grants[1] and grants[0].temperature_c == 70.0
    assert [g.granted for g in grants] == [24, 24, 24]


@pytest.mark.parametrize("charge", [1.0, 0.9, 0.01])
def test_a_battery_that_once_gave_percent_is_not_trusted_any_more(charge: float):
    fed = Fed()
    assert fed.grant(battery(0.8)).granted == 24
    assert fed.grant(battery(1.0000001)).granted == 24, "1, rounded"
    assert fed.grant(battery(85.0)).granted == QUICK.safe_layers
    assert fed.grant(battery(charge)).granted == QUICK.safe_layers, "1.0 may be 1 %"
    assert "found 85.0" in fed.grant().text


@pytest.mark.parametrize(("fields", "granted"), [
    ({"charge": 0.0}, 24), ({"charge": math.nan}, 24), ({"charge": -1.0}, 24), ({"charge": 0.0, "voltage": 0.0}, 24),
    # Drivers that leave `present` at its default still give a charge or a voltage.
    ({"charge": 0.1}, 12), ({"charge": 0.0, "voltage": 11.1}, 1)])
def test_a_battery_that_was_taken_out_is_not_an_empty_one(fields: dict[str, float], granted: int):
    fed = Fed()
    assert fed.grant(battery(0.02)).granted == 1
    assert fed.grant(battery(present=False, **fields)).granted == granted
    assert not fed.refused


def test_a_required_battery_is_missed_when_it_is_taken_out():
    fed = Fed(GovernorConfig(require_battery=True, rise_layers_per_s=1e4))
    assert fed.grant(battery(0.9)).granted == 24
    assert fed.grant(battery(0.0, present=False)).reason is GrantReason.STALE


def test_the_hotter_of_two_topics_counts_though_they_share_a_frame():
    for order in ((60.0, 91.0), (91.0, 60.0)):
        fed = Fed()
        for topic, celsius in zip(("/cpu", "/gpu") if order[0] == 60.0 else ("/gpu", "/cpu"), order, strict=True):
            fed.take(temperature(celsius, "base"), topic)
        grant = fed.grant()
        assert grant.temperature_c == 91.0 and "/gpu/base at 91.0 C" in grant.text


def test_the_hotter_of_two_computers_counts_though_their_statuses_share_a_name():
    status = "cpu_monitor: CPU Temperature"
    fed = Fed()
    fed.take(diagnostics((status, "91.0C"), hardware="orin"))
    fed.take(diagnostics((status, "40.0C"), hardware="nuc"))
    assert fed.grant().temperature_c == 91.0


def test_a_sensor_that_is_stuck_is_named_and_can_be_left_out():
    stuck, sound = temperature(100.0, "zone7"), temperature(50.0, "cpu")
    fed = Fed()
    grant = fed.grant(stuck, sound)
    assert grant.reason is GrantReason.CRITICAL and "/temperature/zone7 at 100.0 C" in grant.text
    fed.governor.reconfigure(QUICK.model_copy(update={"ignored_sensors": "*/spare, /temperature/zone7"}))
    for message in (stuck, temperature(math.nan, "zone7")):
        grant = fed.grant(message, sound)
        assert (grant.granted, grant.temperature_c, grant.problems) == (24, 50.0, ())
    assert not fed.refused


@pytest.mark.parametrize(("pattern", "message"), [
    ("/diagnostics/*/gpu*", diagnostics(("gpu_temp", "nanC"), hardware="orin")), ("/battery_state*", battery(40.0)),
    ("/watts", Message(data=math.nan))])
def test_a_pattern_leaves_out_any_kind_of_sensor(pattern: str, message: Message):
    fed = Fed(QUICK.model_copy(update={"ignored_sensors": pattern}))
    assert fed.grant(message).granted == 24 and not fed.refused


def source_of(item: tuple[str, Message]) -> tuple[str, ...]:
    topic, message = item
    kind = type_of(message)
    frame = message.header.frame_id if hasattr(message, "header") else getattr(message, "source", "")
    return (kind, frame) if kind == "limit" else (kind, topic, frame)


ANY_NUMBER = st.one_of(st.floats(), st.sampled_from([0.0, 1.0, 85.0, 100.0, -256.0]))
MESSAGES = st.one_of(
    st.builds(temperature, ANY_NUMBER, st.sampled_from(["", "cpu", "gpu"])),
    st.builds(battery, ANY_NUMBER, st.sampled_from([1, 2]), st.sampled_from(["", "main"])),
    st.builds(lambda a, b: diagnostics(("temp/a", f"{a}C"), ("temp/b", f"{b}C")), ANY_NUMBER, ANY_NUMBER),
    st.builds(lambda watts: Message(data=watts), ANY_NUMBER),
    st.builds(budget, st.floats(0, 60), st.just(0), st.just(0), st.sampled_from("ab")))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["/one", "/two"]), MESSAGES), max_size=8,
                unique_by=source_of), st.randoms(use_true_random=False))
def test_the_order_of_messages_does_not_matter(items: list[tuple[str, Message]], random: Random) -> None:
    """For messages that arrive together, one of each source."""
    grants = []
    for _ in range(2):
        fed = Fed(GovernorConfig(power_limit_w=20.0, hysteresis_layers=0.0))
        for topic, message in items:
            fed.take(message, topic)
        grants.append(fed.grant())
        random.shuffle(items)
    one, other = grants
    assert (one.granted, one.requested, one.reason, one.temperature_c, one.others_w, sorted(one.problems)) == \
        (other.granted, other.requested, other.reason, other.temperature_c, other.others_w, sorted(other.problems))
