# SPDX-License-Identifier: Apache-2.0
"""One decoder for received and recorded messages: the same fields, whatever class they come in."""

from __future__ import annotations

import math
from types import SimpleNamespace as Message
from typing import Any

import pytest

from admn_ros.errors import InputError
from admn_ros.governor.config import GovernorConfig
from admn_ros.governor.governor import Governor, GrantReason
from admn_ros.governor.inputs import GovernorInputs

QUICK = GovernorConfig(rise_layers_per_s=1e4, fall_layers_per_s=1e4, hysteresis_layers=0.0)


class Fed:
    """A governor with its inputs, and what they refused."""

    def __init__(self) -> None:
        self.governor, self.refused = Governor(QUICK), list[InputError]()
        self.inputs = GovernorInputs(self.governor, self.refused.append)
        self.now_s = 0.0

    def grant(self, *messages: Any) -> Any:
        for message in messages:
            self.inputs.take(message, self.now_s)
        self.governor.step(self.now_s)
        self.now_s += 1.0
        return self.governor.step(self.now_s)


def budget(limit: float, unit: int = 0, seconds: int = 0) -> Message:
    return Message(limit=limit, unit=unit, source="operator", priority=3, valid_for=Message(sec=seconds, nanosec=0))


def battery(charge: float, status: int = 2) -> Message:
    # A BatteryState has a temperature, too.
    return Message(header=Message(frame_id=""), percentage=charge, power_supply_status=status, temperature=300.0)


def temperature(celsius: float) -> Message:
    return Message(header=Message(frame_id="cpu"), temperature=celsius, variance=0.0)


def diagnostics(*statuses: tuple[str, str]) -> Message:
    return Message(status=[Message(name=name, message=text, values=[]) for name, text in statuses])


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


@pytest.mark.parametrize(("message", "expected"), [
    (budget(math.nan), "limit: found nan"), (budget(3, unit=9), "budget.unit: found 9"),
    (budget(3, seconds=-1), "budget.valid_for: found -1"), (battery(85.0), "battery.percentage: found 85.0"),
    (battery(math.nan), "battery.percentage: found nan"), (temperature(-256.0), "temperature of cpu: found -256.0"),
    (Message(data=-1.0), "watts of watts: found -1.0"),
    (diagnostics(("jetson_stats/temp/tj", "nanC")), "jetson_stats/temp/tj"),
    (diagnostics(("jetson_stats/temp/tj", "400C")), "temperature of jetson_stats/temp/tj")])
def test_a_value_that_cannot_be_used_is_refused_and_changes_nothing(message: Message, expected: str):
    fed = Fed()
    before = fed.grant()
    after = fed.grant(message)
    assert len(fed.refused) == 1 and expected in str(fed.refused[0])
    assert (after.granted, after.reason, after.temperature_c) == (before.granted, before.reason, None)


def test_one_bad_value_of_a_message_leaves_the_others():
    fed = Fed()
    grant = fed.grant(diagnostics(("temp/a", "400C"), ("temp/b", "nanC"), ("temp/c", "50C")))
    assert grant.temperature_c == 50.0 and len(fed.refused) == 2
