# SPDX-License-Identifier: Apache-2.0
"""Texts of hardware monitors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admn_ros.errors import InputError
from admn_ros.governor.diagnostics_parser import parse_quantity, read_status


@pytest.mark.parametrize(("text", "value", "unit"), [
    ("47.50C", 47.5, "C"), ("47.5 C", 47.5, "C"), (" 46.0 DegC", 46.0, "C"), ("51 °C", 51.0, "C"), ("-5.5C", -5.5, "C"),
    ("4.9W", 4.9, "W"), ("4900mW", 4.9, "W"), ("0.02 kW", 20.0, "W"), ("12.1 V", 12.1, "V"), ("5120mV", 5.12, "V"),
    ("830mA", 0.83, "A"), ("85%", 85.0, "%"), ("85 %", 85.0, "%"), ("47.5", 47.5, ""), (".5", 0.5, ""),
    ("1e3mW", 1.0, "W"), ("118.4 F", 118.4, "F"), ("310 K", 310.0, "K"),
])
def test_quantities_as_monitors_write_them(text: str, value: float, unit: str) -> None:
    assert parse_quantity(text) == (pytest.approx(value), unit)


@pytest.mark.parametrize("text", [
    "", "C", "nan", "nanC", "inf W", "47,5C", "5 MW", "310 R", "4.9.1W", "Offline", "85.12C more than 84C",
    "0x10", "1e999", "--5C", "MAXN", "1_000W"])
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="allowed"):
        parse_quantity(text)


@given(st.text(max_size=20))
def test_no_text_gives_anything_but_a_finite_number_or_a_refusal(text: str) -> None:
    try:
        value, _ = parse_quantity(text)
    except InputError:
        return
    assert math.isfinite(value)


THRESHOLDS = [("Warning", "84.00C"), ("Critical", "100.00C")]
RAIL = [("Volt", "5.1W"), ("Current", "961mW"), ("Power", "4.9W"), ("Average", "4.7W"), ("Warning", "20.0W")]


@pytest.mark.parametrize(("status", "celsius"), [
    (("jetson_stats/temp/CPU", "47.50C", THRESHOLDS), {"jetson_stats/temp/CPU": 47.5}),
    (("jetson_stats/temp/tj", "85.12C more than 84.00C", THRESHOLDS), {"jetson_stats/temp/tj": 85.12}),
    (("gpu_monitor: GPU Temperature", "OK", [("GeForce GTX 1650", "46.0 DegC"), ("thermal_zone1", "44.5 DegC")]),
     {"gpu_monitor: GPU Temperature/GeForce GTX 1650": 46.0, "gpu_monitor: GPU Temperature/thermal_zone1": 44.5}),
    (("robot Sensor Status", "OK", [("Core 0 Temperature", "51.0"), ("fan1 Speed", "1800.0"), ("in0 Voltage", "1.1")]),
     {"robot Sensor Status/Core 0 Temperature": 51.0}),
])
def test_temperatures_of_known_monitors(status: tuple[str, str, list[tuple[str, str]]],
                                        celsius: dict[str, float]) -> None:
    found = read_status(*status)
    assert found.temperatures_c == celsius
    assert not (found.watts or found.refused or found.offline)


@pytest.mark.parametrize(("key", "text", "celsius"), [
    ("Temperature", "113 F", 45.0), ("Temperature (F)", "113", 45.0), ("temp_f", "113.0", 45.0),
    ("Temperature [°F]", "113", 45.0), ("temperature_fahrenheit", "113", 45.0), ("Temperature [K]", "318.15", 45.0),
    ("temp_degC", "45", 45.0), ("Temperature (F)", "45 C", 45.0), ("CPU temp", "45", 45.0),
    ("Temperature in K", "318.15", 45.0),
    ("Core 0 temp", "+45.0°C  (high = +80.0°C, crit = +100.0°C)", 45.0), ("Temperature", "45 C (max 80 C)", 45.0)])
def test_a_temperature_is_read_in_the_unit_that_its_text_or_key_states(key: str, text: str, celsius: float) -> None:
    found = read_status("robot board", "OK", [(key, text)])
    assert list(found.temperatures_c.values()) == [pytest.approx(celsius)]
    assert not found.refused


def test_limits_set_points_and_records_are_no_readings() -> None:
    keys = ("GPU Shutdown Temp", "GPU Slowdown Temp", "GPU Max Operating Temp", "GPU Target Temperature",
            "temp1_highest temp", "temp1_crit_hyst temp", "trip_point_0_temp", "emergency temp", "Peak temperature",
            "Temperature setpoint", "temperature_maximum")
    found = read_status("board", "OK", [("GPU Current Temp", "45 C"), *((key, "95 C") for key in keys)])
    assert found.temperatures_c == {"board/GPU Current Temp": 45.0}


def test_of_the_rails_only_the_whole_board_counts_and_only_its_power() -> None:
    assert read_status("jetson_stats/power/VDD_IN", "Power: 4.9W - Avg: 4.7W", RAIL).watts == {
        "jetson_stats/power/VDD_IN": 4.9}
    part = read_status("jetson_stats/power/VDD_CPU_GPU_CV", "Power: 860mW - Avg: 850mW", [("Power", "860mW")])
    assert not (part.watts or part.refused)


def test_a_zone_that_is_off_is_named_and_not_a_reading() -> None:
    found = read_status("jetson_stats/temp/CV0", "Offline", THRESHOLDS)
    assert found.offline == ["jetson_stats/temp/CV0"]
    assert not found.temperatures_c


@pytest.mark.parametrize("status", [
    ("jetson_stats/temp/GPU", "nanC", THRESHOLDS),
    ("gpu_monitor: GPU Temperature", "OK", [("GPU 0", "nan DegC")]),
    ("robot Sensor Status", "OK", [("Core 0 Temperature", "hot")]),
    ("robot Sensor Status", "OK", [("Core 0 Temperature", "118.4 R")]),
    ("robot Sensor Status", "OK", [("Core 0 Temperature", "1.1 V")]),
    ("jetson_stats/power/VDD_IN", "", [("Power", "4900")]),
    ("jetson_stats/power/VDD_IN", "", [("Power", "nan W")]),
])
def test_what_should_be_a_reading_and_is_none_is_reported(status: tuple[str, str, list[tuple[str, str]]]) -> None:
    found = read_status(*status)
    assert not (found.temperatures_c or found.watts)
    assert len(found.refused) == 1
    assert status[0] in str(found.refused[0])


@pytest.mark.parametrize("status", [
    ("jetson_stats/board/Status", "NV Power[0] MAXN - JC inactive", [("NV Power-ID", "0"), ("NV Power-Mode", "MAXN")]),
    ("jetson_stats/cpu/1", "OFF", [("Val", "OFF")]),
    ("gpu_monitor: GPU Thermal Throttling", "OK", [("GPU 0: status", "All clear")]),
    ("cpu_monitor: CPU Temperature", "warm", []),
    ("admn: inference", "latency p50 9 ms, p95 12 ms", [("latency_p50_ms", "9.1")]),
    ("admn_governor: grant", "12 of 24 layers (temperature): soc at 75.1 C, target 75 C",
     [("hottest_c", "75.10"), ("others_w", "2.10"), ("limits", "12.1 temperature (soc at 75.1 C)")]),
])
def test_what_is_no_reading_is_left_alone(status: tuple[str, str, list[tuple[str, str]]]) -> None:
    found = read_status(*status)
    assert not (found.temperatures_c or found.watts or found.refused or found.offline)
