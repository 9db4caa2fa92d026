# SPDX-License-Identifier: Apache-2.0
"""The governor's law: what holds for every history."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.budget.budget import Budget
from admn_ros.config import parse_config
from admn_ros.errors import ConfigError, InputError
from admn_ros.governor.battery import Battery, battery_layers
from admn_ros.governor.config import GovernorConfig
from admn_ros.governor.governor import Governor, Grant, GrantReason

CONFIG = GovernorConfig()
STEP_S = 0.2
Event = tuple[str, float, float]  # kind, value, validity

EVENTS = st.lists(st.one_of(
    st.tuples(st.sampled_from(["a", "b"]), st.floats(0, 60), st.floats(0.1, 3)),
    st.tuples(st.just("temperature"), st.floats(20, 95), st.just(0.0)),
    st.tuples(st.just("battery"), st.floats(0, 1), st.just(0.0)),
    st.tuples(st.just("watts"), st.floats(0, 40), st.just(0.0)),
    st.tuples(st.just("quiet"), st.floats(1, 30), st.just(0.0)),
), max_size=40)
CONFIGS = st.builds(
    GovernorConfig, hysteresis_layers=st.sampled_from([0.0, 0.5, 1.0, 2.5]), default_layers=st.integers(0, 60),
    safe_layers=st.integers(0, 30), min_layers=st.integers(0, 3), power_limit_w=st.sampled_from([0.0, 12.0]),
    rise_layers_per_s=st.sampled_from([0.5, 4.0, 100.0]), k_i=st.sampled_from([0.0, 0.0025, 1.0]))


def feed(governor: Governor, event: Event, now_s: float, ask: float = 1.0) -> float:
    """Let something arrive; returns the time of the next step. ask: factor on requests."""
    kind, value, validity = event
    if kind in ("a", "b"):
        governor.request(Budget(value * ask, "layers", kind), 0, validity, now_s)
    elif kind == "temperature":
        governor.temperature("soc", value, now_s)
    elif kind == "battery":
        governor.battery("main", Battery(value), now_s)
    elif kind == "watts":
        governor.watts("board", value, now_s)
    return now_s + (value if kind == "quiet" else STEP_S)


def settle(governor: Governor, start_s: float, seconds: float = 30.0) -> Grant:
    """Step for a while with nothing new; returns the last grant."""
    for index in range(round(seconds / STEP_S)):
        grant = governor.step(start_s + index * STEP_S)
    return grant


@settings(max_examples=60, deadline=None)
@given(CONFIGS, EVENTS)
def test_never_above_any_fresh_request_nor_the_safe_budget_when_stale(config: GovernorConfig,
                                                                      events: list[Event]) -> None:
    governor, now_s = Governor(config), 0.0
    asked: dict[str, tuple[float, float]] = {}
    seen_s: dict[str, float] = {}
    timeouts = {"temperature": config.temperature_timeout_s, "battery": config.battery_timeout_s,
                "watts": config.power_timeout_s}
    for event in events:
        kind, value, validity = event
        if kind in ("a", "b"):
            asked[kind] = (value, now_s + validity)
        elif kind in timeouts:
            seen_s[kind] = now_s
        now_s = feed(governor, event, now_s)
        grant = governor.step(now_s)
        fresh = [limit for limit, end_s in asked.values() if now_s < end_s] or [config.default_layers]
        assert 0 <= grant.granted <= grant.requested <= min(*fresh, governor.max_layers, math.inf)
        if any(now_s - at_s >= timeouts[kind] for kind, at_s in seen_s.items()):
            assert grant.granted <= config.safe_layers
            assert any("no fresh reading" in problem for problem in grant.problems)


@settings(max_examples=60, deadline=None)
@given(CONFIGS, EVENTS, st.floats(0, 1))
def test_who_asks_for_less_is_never_granted_more(config: GovernorConfig, events: list[Event], share: float) -> None:
    # Watts are left out: they are what a board draws at its grant, and the same watts at a lower grant mean
    # that other loads draw more.
    more, less, now_s = Governor(config), Governor(config), 0.0
    for event in events:
        if event[0] != "watts":
            feed(less, event, now_s, ask=share)
            now_s = feed(more, event, now_s)
        assert less.step(now_s).granted <= more.step(now_s).granted


@settings(max_examples=60, deadline=None)
@given(CONFIGS, EVENTS)
def test_slew(config: GovernorConfig, events: list[Event]) -> None:
    """Up: always. Down: unless a request, a stale input or a critical temperature asks for it."""
    governor, now_s, last, last_s = Governor(config), 0.0, None, 0.0
    for event in events:
        now_s = feed(governor, event, now_s)
        grant = governor.step(now_s)
        if last is not None:
            dt_s = min(1.0, now_s - last_s)
            assert grant.granted - last.granted <= config.rise_layers_per_s * dt_s + 1 + 1e-6
            emergency = min(c.layers for c in grant.caps
                            if c.reason in (GrantReason.REQUEST, GrantReason.DEFAULT, GrantReason.STALE,
                                            GrantReason.CRITICAL))
            if grant.granted < emergency:
                assert last.granted - grant.granted <= config.fall_layers_per_s * dt_s + 1 + 1e-6
        last, last_s = grant, now_s


@settings(max_examples=40, deadline=None)
@given(EVENTS, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_is_not_a_number_is_reported_and_leaves_no_trace(events: list[Event], bad: float) -> None:
    clean, dirty, now_s = Governor(CONFIG), Governor(CONFIG), 0.0
    clean.step(0.0), dirty.step(0.0)
    for event in events:
        with pytest.raises(InputError):
            dirty.temperature("soc", bad, now_s)
        with pytest.raises(InputError):
            dirty.watts("board", bad, now_s)
        with pytest.raises(InputError):
            dirty.battery("main", Battery(bad), now_s)
        with pytest.raises(InputError):
            dirty.request(Budget(math.nan, "layers", "a"), 0, 1.0, now_s)
        with pytest.raises(InputError):
            dirty.step(bad)
        feed(clean, event, now_s)
        now_s = feed(dirty, event, now_s)
        assert clean.step(now_s) == dirty.step(now_s)


def test_without_anything_the_default_is_granted_after_a_start_from_the_safe_budget() -> None:
    governor = Governor(CONFIG)
    assert governor.step(0.0).granted == CONFIG.safe_layers
    last = settle(governor, 0.0)
    assert (last.granted, last.requested, last.reason) == (24, 24, GrantReason.DEFAULT)


def test_the_minimum_holds_whatever_the_priority_and_ends_with_its_validity() -> None:
    governor = Governor(CONFIG)
    governor.request(Budget(40, "layers", "operator"), 9, 0.0, 0.0)
    assert settle(governor, 0.0).granted == 40
    governor.request(Budget(6.9, "layers", "battery"), 0, 5.0, 30.0)
    grant = governor.step(30.0)
    assert (grant.granted, grant.requested, grant.reason) == (6, 6, GrantReason.REQUEST)
    assert "battery" in grant.text
    rising = governor.step(35.2)
    assert rising.granted < 40 and rising.reason is GrantReason.RISING
    assert settle(governor, 36.0).granted == 40


def test_a_request_that_cannot_be_converted_counts_as_the_safe_budget_and_is_reported() -> None:
    governor = Governor(CONFIG)
    settle(governor, 0.0)
    governor.request(Budget(3, "watts", "battery"), 0, 0.0, 31.0)
    grant = governor.step(31.0)
    assert grant.granted == CONFIG.safe_layers
    assert "watts" in grant.problems[0] and "measured costs" in grant.problems[0]
    assert "unit: found watts; allowed: layers" in grant.problems[0]


def test_a_critical_temperature_acts_at_once_and_holds_until_it_is_well_below() -> None:
    governor = Governor(CONFIG)
    settle(governor, 0.0)
    governor.temperature("soc", 85.0, 31.0)
    grant = governor.step(31.0)
    assert (grant.granted, grant.reason) == (CONFIG.min_layers, GrantReason.CRITICAL)
    governor.temperature("soc", 83.0, 32.0)
    assert governor.step(32.0).reason is GrantReason.CRITICAL
    governor.temperature("soc", 40.0, 33.0)
    assert governor.step(33.0).reason is not GrantReason.CRITICAL


def test_the_hottest_sensor_counts_and_one_that_is_off_is_not_missed() -> None:
    governor = Governor(CONFIG)
    governor.temperature("cpu", 50.0, 0.0)
    governor.temperature("gpu", 90.0, 0.0)
    assert governor.step(0.0).temperature_c == 90.0
    governor.temperature("cpu", 50.0, 10.0)
    assert governor.step(10.0).problems[0] == "temperature gpu: no fresh reading"
    governor.temperature_off("gpu")
    assert "gpu" not in str(governor.step(10.2).problems)


def test_what_a_sensor_began_ends_when_it_is_left_out() -> None:
    governor = Governor(CONFIG)
    governor.temperature("stuck", 100.0, 0.0)
    governor.watts("meter", 900.0, 0.0)
    assert governor.step(0.0).reason is GrantReason.CRITICAL
    assert governor.step(100.0).granted == CONFIG.min_layers, "silent, and critical before"
    governor.reconfigure(GovernorConfig(ignored_sensors="stuck, meter"))
    grant = settle(governor, 101.0)
    assert (grant.granted, grant.reason, grant.others_w) == (CONFIG.default_layers, GrantReason.DEFAULT, None)


def test_a_required_measurement_is_missed_from_the_start() -> None:
    governor = Governor(GovernorConfig(require_battery=True))
    grant = settle(governor, 0.0)
    assert (grant.granted, grant.reason) == (CONFIG.safe_layers, GrantReason.STALE)
    governor.battery("main", Battery(0.9), 31.0)
    assert settle(governor, 31.0).granted == 24


def test_other_loads_leave_less_of_the_power_limit() -> None:
    config = GovernorConfig(power_limit_w=10.0, power_filter_s=0.0, default_layers=48)
    governor = Governor(config)
    grant, now_s = governor.step(0.0), 0.0
    for index in range(200):  # the board draws 4 W, and 0.3 W for each layer
        now_s = index * STEP_S
        governor.watts("board", 4.0 + 0.3 * grant.granted, now_s)
        grant = governor.step(now_s)
    assert grant.others_w == pytest.approx(4.0)
    assert grant.reason is GrantReason.POWER
    assert 18 <= grant.granted <= 20  # 6 W are 20 layers, less the hysteresis


def test_the_battery_law() -> None:
    limits = {charge: battery_layers(CONFIG, Battery(charge), 48) for charge in (0.0, 0.05, 0.1, 0.15, 0.325, 0.49)}
    assert limits == pytest.approx({0.0: 1, 0.05: 1, 0.1: 12, 0.15: 12, 0.325: 30, 0.49: 46.97}, abs=0.01)
    assert battery_layers(CONFIG, Battery(0.5), 48) == math.inf
    assert battery_layers(CONFIG, Battery(0.01, charging=True), 48) == math.inf


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_fuller_battery_never_leaves_less(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert battery_layers(CONFIG, Battery(low), 48) <= battery_layers(CONFIG, Battery(high), 48)


@pytest.mark.parametrize("charge", [-0.1, 1.01, 85.0, math.nan])
def test_a_charge_is_never_guessed(charge: float) -> None:
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        Battery(charge)


@pytest.mark.parametrize(("raw", "expected"), [
    ({"target_c": 85.0}, "target_c"), ({"battery_low": 0.6}, "battery_low"), ({"k_i": math.nan}, "k_i"),
    ({"safe_layers": -1}, "safe_layers"), ({"speed": 1}, "speed")])
def test_a_configuration_that_makes_no_sense_is_refused(raw: dict[str, float], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        parse_config(GovernorConfig, raw, "governor")


def test_new_numbers_hold_from_the_next_step() -> None:
    governor = Governor(CONFIG)
    settle(governor, 0.0)
    governor.reconfigure(GovernorConfig(default_layers=5))
    assert governor.step(30.2).granted == 5
