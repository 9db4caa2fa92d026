# SPDX-License-Identifier: Apache-2.0
"""Temperatures and watts from the statuses that hardware monitors publish on /diagnostics.

Supported: isaac_ros_jetson_stats ("47.50C", "85.12C more than 84.00C", "Offline" as message; "4.9W" as value),
Autoware's system monitor ("46.0 DegC"), lm-sensors by diagnostic_common_diagnostics ("47.5" under a key that ends
in "Temperature"), and texts of the same form. Values that cannot be parsed are reported, never guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from admn_ros.errors import InputError

Unit = Literal["C", "F", "K", "W", "V", "A", "%", ""]

_UNITS: Final[dict[str, tuple[Unit, float]]] = {
    "": ("", 1.0), "%": ("%", 1.0), "C": ("C", 1.0), "\N{DEGREE SIGN}C": ("C", 1.0), "\N{DEGREE CELSIUS}": ("C", 1.0),
    "degC": ("C", 1.0), "DegC": ("C", 1.0), "deg C": ("C", 1.0), "Celsius": ("C", 1.0), "celsius": ("C", 1.0),
    "F": ("F", 1.0), "\N{DEGREE SIGN}F": ("F", 1.0), "degF": ("F", 1.0), "deg F": ("F", 1.0), "Fahrenheit": ("F", 1.0),
    "fahrenheit": ("F", 1.0), "K": ("K", 1.0), "Kelvin": ("K", 1.0), "kelvin": ("K", 1.0),
    "W": ("W", 1.0), "mW": ("W", 1e-3), "kW": ("W", 1e3), "V": ("V", 1.0), "mV": ("V", 1e-3),
    "A": ("A", 1.0), "mA": ("A", 1e-3),
}  # case matters: mW and MW differ by 10^9
_QUANTITY: Final = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*(\D*)")
_ALLOWED: Final = "a finite number, and C, F, K, W, mW, kW, V, mV, A, mA, % or nothing after it"
_KEY_UNIT: Final = re.compile(r"(?:[(\[\s_/]|deg|\N{DEGREE SIGN})(?:(C|Celsius)|(F|Fahrenheit)|(K|Kelvin))[)\]]?\s*\Z",
                             re.IGNORECASE)
_TO_CELSIUS: Final[dict[Unit, Callable[[float], float]]] = {
    "C": lambda t: t, "": lambda t: t, "F": lambda t: (t - 32.0) / 1.8, "K": lambda t: t - 273.15}
_EXCESS: Final = re.compile(r"\s+(?:more than\s.*|\(.*\))")
"""What follows a measurement: its limits."""
_SILENT: Final = {"offline", "off", "n/a", ""}
_THRESHOLD: Final = {
    "warning", "warn", "critical", "crit", "lcrit", "max", "maximum", "min", "minimum", "high", "highest", "low",
    "lowest", "peak", "limit", "threshold", "alarm", "shutdown", "slowdown", "emergency", "trip", "target", "setpoint",
    "hyst", "hysteresis", "tjmax"}
"""Words of keys that give limits, set points or records of a sensor, and not its reading."""
_TEMPERATURE: Final = {"temp", "temps", "temperature", "temperatures"}
TOTAL_RAILS: Final = ("total", "tot", "vdd_in", "pom_5v_in", "vin_sys_5v0")
"""Names of power rails that supply the whole board."""


def parse_quantity(text: str) -> tuple[float, Unit]:
    """Parse a number with a unit.

    Returns:
        Value and unit: volts, amperes and watts without prefix, degrees in C, F or K, percent, or no unit.

    Raises:
        InputError: the text is anything else, such as "47,5", "nan", "5 MW" or "47.5 Hz".
    """
    match = _QUANTITY.fullmatch(text.strip())
    unit = _UNITS.get(match[2].strip()) if match else None
    value = float(match[1]) * unit[1] if match and unit else math.nan
    if unit is None or not math.isfinite(value):
        raise InputError("text", repr(text[:80]), _ALLOWED)
    return value, unit[0]


class Refused(NamedTuple):
    """Text that cannot be used.

    Attributes:
        kind: kind of the measurement.
        name: name of the measurement.
        error: why it cannot be used.
        numeric: whether it is a number, NaN or infinity, so that its source measures; words are only reported.
    """

    kind: Literal["temperature", "watts"]
    name: str
    error: InputError
    numeric: bool


@dataclass
class Findings:
    """Measurements of a status. They are named after the status, with the key where they come from a value.

    Attributes:
        temperatures_c: temperatures by name, in degrees Celsius.
        watts: power by name, in watts; only of rails that supply the whole board.
        offline: names of temperatures whose publisher reports them as off.
        refused: measurements that cannot be parsed.
    """

    temperatures_c: dict[str, float] = field(default_factory=dict)
    watts: dict[str, float] = field(default_factory=dict)
    offline: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def read_status(name: str, message: str, values: Sequence[tuple[str, str]]) -> Findings:
    """Parse one status of /diagnostics.

    Args:
        name: name of the status.
        message: summary of the status; jetson_stats publishes temperatures only there.
        values: keys and values of the status.
    """
    found = Findings()
    about_temperature = bool(_words(name) & _TEMPERATURE)
    for key, text in values:
        words = _words(key)
        if words & _THRESHOLD:
            continue
        if words & _TEMPERATURE or (about_temperature and _looks_like_celsius(text)):
            _read_temperature(found, f"{name}/{key}", text)
        elif _is_total(name) and words == {"power"}:
            _read_watts(found, name, text)
    if about_temperature and not (found.temperatures_c or found.refused or found.offline):
        text = _without_limits(message)
        # "Offline" means that a zone is off; "OK" and "warm" are no measurements.
        if _looks_like_celsius(text) or (text and text.lower() in _SILENT):
            _read_temperature(found, name, text)
    return found


def _read_temperature(found: Findings, name: str, text: str) -> None:
    if text.strip().lower() in _SILENT:
        found.offline.append(name)
    else:
        _read(found, "temperature", name, _without_limits(text), tuple(_TO_CELSIUS))


def _read_watts(found: Findings, name: str, text: str) -> None:
    _read(found, "watts", name, text, ("W",))


def _read(found: Findings, kind: Literal["temperature", "watts"], name: str, text: str,
          units: tuple[Unit, ...]) -> None:
    readings = found.temperatures_c if kind == "temperature" else found.watts
    try:
        value, unit = parse_quantity(text)
    except InputError as error:
        found.refused.append(Refused(kind, name, error.within(name), _unit_of_number(text) in units))
        return
    if unit in units:
        readings[name] = _TO_CELSIUS[unit or _unit_of_key(name)](value) if kind == "temperature" else value
    else:
        allowed = " or ".join(u or "no unit" for u in units)
        found.refused.append(Refused(kind, name, InputError(name, repr(text[:80]), f"a number in {allowed}"), False))


def _without_limits(text: str) -> str:
    """Return "45 C" for "45 C more than 40 C" and for "45 C (high = 80 C)"."""
    return _EXCESS.sub("", text.strip())


def _unit_of_key(name: str) -> Unit:
    """Return the unit of temperature at the end of a name, as in "Temperature (F)" and "temp_kelvin"; else none."""
    match = _KEY_UNIT.search(name)
    return "" if match is None else "F" if match[2] else "K" if match[3] else "C"


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", name.lower()))


def _looks_like_celsius(text: str) -> bool:
    return _unit_of_number(text) == "C"


def _unit_of_number(text: str) -> Unit | None:
    """Return the unit of a text that is a number, NaN or infinity with a known unit or none; else None."""
    match = re.fullmatch(r"\s*([+-]?[0-9.,eE+-]+|[+-]?nan|[+-]?inf)\s*(\D*)", text, flags=re.IGNORECASE)
    unit = _UNITS.get(match[2].strip()) if match else None
    return None if unit is None else unit[0]


def _is_total(name: str) -> bool:
    parts = re.split(r"[/: ]+", name.lower())
    return "power" in parts and parts[-1] in TOTAL_RAILS
