# SPDX-License-Identifier: Apache-2.0
"""Control law of the governor: requests, temperatures, battery and power in, a number of layers out.

The grant is the smallest of all limits, a whole number of layers.

Hard limits take effect at once:
    requests            The smallest valid request of all power managers, whatever their priorities;
                        `default_layers` without one. Requests in other units are converted to layers by the largest
                        cost of the model; one that cannot be converted counts as `safe_layers`.
    stale               `safe_layers` while a monitored measurement is stale, or a source gave only values that cannot
                        be. For temperatures the latter counts only without a fresh temperature of another sensor.
    critical            `min_layers` from `limit_c` on, until the temperature is `release_c` below it.
Soft limits are subject to slew rate and hysteresis, and never below `min_layers`:
    temperature         Allowed heat (`admn_ros.governor.thermal`) less the power of other loads, in layers.
    battery             See `admn_ros.governor.battery`.
    power               `power_limit_w` less the power of other loads, in layers.

The grant starts at `safe_layers`. It rises by at most `rise_layers_per_s`. Hard limits lower it at once, soft limits by
at most `fall_layers_per_s`. It rises to n only once the limits have reached n plus `hysteresis_layers`, or if the hard
limits allow exactly n.

Deterministic: time is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Literal

from admn_ros.budget.budget import Budget
from admn_ros.budget.budget_book import BudgetBook
from admn_ros.budget.compute_budget import BudgetRequest
from admn_ros.errors import InputError
from admn_ros.governor.battery import Battery, battery_layers, emptier
from admn_ros.governor.config import GovernorConfig
from admn_ros.governor.layer_equivalent import LayerEquivalent, PowerModel, frame_energy
from admn_ros.governor.measurements import Measurements
from admn_ros.governor.thermal import ThermalController
from admn_ros.model.costs import ModelCosts

SOURCE = "governor"
"""Source of the budgets that the governor publishes."""
MAX_STEP_S = 1.0
"""Longest time between two steps, in seconds. A longer pause counts as this, so that slew and integral do not jump."""
TEMPERATURE_RANGE_C = (-55.0, 150.0)
"""Range of silicon temperature sensors, in degrees Celsius. Drivers report absent ones as -256."""

Kind = Literal["temperature", "battery", "watts"]
"""Kinds of measurements."""


class GrantReason(Enum):
    """Limit that determines a grant."""

    DEFAULT = "default"
    REQUEST = "request"
    STALE = "stale"
    CRITICAL = "critical temperature"
    TEMPERATURE = "temperature"
    BATTERY = "battery"
    POWER = "power"
    RISING = "rising"


@dataclass(frozen=True)
class Cap:
    """A limit.

    Attributes:
        layers: number of layers, in [0, inf].
        reason: kind of the limit.
        text: description for people.
    """

    layers: float
    reason: GrantReason
    text: str


@dataclass(frozen=True)
class Grant:
    """A decision of the governor.

    Attributes:
        requested: requested layers.
        granted: granted layers, at most the requested ones.
        reason: kind of the limit that determines the grant.
        text: description of that limit for people.
        caps: all limits.
        temperature_c: hottest fresh temperature, in degrees Celsius; None without one.
        others_w: estimated power of other loads, in watts; None without power measurements.
        problems: stale measurements, requests that could not be converted, critical temperature.
    """

    requested: int
    granted: int
    reason: GrantReason
    text: str
    caps: tuple[Cap, ...]
    temperature_c: float | None
    others_w: float | None
    problems: tuple[str, ...]

    def budget(self, source: str) -> Budget:
        """Return the grant as a budget of a source."""
        return Budget(self.granted, "layers", source)


class Governor:
    """State of the control law.

    Args:
        config: targets, gains, limits and timeouts.
        costs: cost tables of the model, for requests in other units and for measured energies; None without a model.
    """

    def __init__(self, config: GovernorConfig, costs: ModelCosts | None = None) -> None:
        self._config = config
        self._energy = frame_energy(costs)
        self._costs = costs
        self._equivalent = LayerEquivalent(costs, config.max_layers)
        self._requests = BudgetBook(Budget(config.default_layers, "layers"))
        # Boards report zones that they do not have: beside a working sensor, such a zone is no reason to slow down.
        self._temperatures: Measurements[float] = Measurements("temperature", max, each=False)
        self._batteries: Measurements[Battery] = Measurements("battery", emptier)
        self._watts: Measurements[float] = Measurements("watts", max)
        self._thermal = ThermalController()
        self._hottest = ""
        self._others_w: float | None = None
        self._others_at_s = 0.0
        self._watts_at_s: float | None = None
        self._stepped_at_s: float | None = None
        self._level = float(min(config.safe_layers, self.max_layers))
        self._granted = math.floor(self._level)

    @property
    def max_layers(self) -> int:
        """Number of layers of the model."""
        return self._equivalent.max_layers

    @property
    def power(self) -> PowerModel:
        """Power of the perception by layers: as measured for the model, else as configured."""
        base_j, layer_j = self._energy or (self._config.joules_per_frame, self._config.joules_per_layer)
        return PowerModel.of(base_j, layer_j, self._config.frame_rate_hz)

    def reconfigure(self, config: GovernorConfig) -> None:
        """Replace the configuration; the state is kept."""
        self._config = config
        self._equivalent = LayerEquivalent(self._costs, config.max_layers)
        self._requests.default = Budget(config.default_layers, "layers")
        for kind in (self._temperatures, self._batteries, self._watts):
            kind.forget_where(self.ignores)

    def ignores(self, name: str) -> bool:
        """Return whether a sensor is left out by the configuration."""
        patterns = (pattern.strip() for pattern in self._config.ignored_sensors.split(","))
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    # --- inputs; a value that raises changes nothing ------------------------------------------------

    def request(self, budget: Budget, priority: int, valid_for_s: float, now_s: float) -> None:
        """Take the request of a power manager; see `BudgetBook.submit`.

        The priority only decides which of several equal requests is named in the grant.
        """
        self._requests.submit(budget, priority, valid_for_s, now_s)

    def take(self, request: BudgetRequest, now_s: float, clock_ns: int, key: str | None = None) -> InputError | None:
        """Take or withdraw the request of a power manager; see `BudgetBook.take`."""
        return self._requests.take(request, now_s, clock_ns, key)

    def temperature(self, name: str, celsius: float, now_s: float) -> None:
        """Take a temperature.

        Raises:
            InputError: the value is NaN or outside `TEMPERATURE_RANGE_C`.
        """
        low, high = TEMPERATURE_RANGE_C
        if not low <= celsius <= high:
            raise InputError(f"temperature of {name}", celsius, f"degrees Celsius in [{low:g}, {high:g}]")
        self._temperatures.put(name, celsius, _finite(now_s))

    def temperature_off(self, name: str) -> None:
        """Stop monitoring a temperature sensor that was switched off on purpose."""
        self._temperatures.forget(name)

    def battery(self, name: str, battery: Battery, now_s: float) -> None:
        """Take a battery state.

        Raises:
            InputError: an earlier value of this battery was above 1; see `doubt`.
        """
        self._batteries.put(name, battery, _finite(now_s))

    def battery_off(self, name: str) -> None:
        """Stop monitoring a battery that was taken out."""
        self._batteries.forget(name)

    def watts(self, name: str, watts: float, now_s: float) -> None:
        """Take the power of the whole board, perception included. The highest of several sources is used.

        The power of other loads is estimated as this less the power of the perception at its grant.

        Raises:
            InputError: the value is NaN, infinite or negative.
        """
        if not (math.isfinite(watts) and watts >= 0):
            raise InputError(f"watts of {name}", watts, "watts in [0, inf)")
        self._watts.put(name, watts, _finite(now_s))
        self._watts_at_s = now_s if self._watts_at_s is None else max(now_s, self._watts_at_s)

    def doubt(self, kind: Kind, name: str, error: InputError, lasting: bool = False) -> None:
        """Note that a source gave a value that cannot be; see `Measurements.doubt`."""
        kinds: dict[Kind, Measurements[float] | Measurements[Battery]] = {
            "temperature": self._temperatures, "battery": self._batteries, "watts": self._watts}
        kinds[kind].doubt(name, error, lasting)

    # --- control law --------------------------------------------------------------------------------

    def step(self, now_s: float) -> Grant:
        """Decide on a grant. Call it periodically.

        Args:
            now_s: current time, in seconds of the monotonic clock of the inputs.

        Raises:
            InputError: the time is not finite.
        """
        config = self._config
        last_s = now_s if self._stepped_at_s is None else self._stepped_at_s
        self._stepped_at_s = _finite(now_s)
        dt_s = min(max(0.0, now_s - last_s), MAX_STEP_S)
        self._estimate_others()
        request, problems = self._request_cap(now_s)
        hard = [request, *self._stale_caps(now_s)]
        fixed = [*self._battery_caps(now_s), *self._power_caps()]
        temperatures = self._temperatures.fresh(now_s, config.temperature_timeout_s)
        # A sensor that was switched off or left out by the user cannot end the critical state that it began.
        self._thermal.critical &= self._temperatures.monitored
        soft = fixed + self._thermal_caps(temperatures, dt_s, min(c.layers for c in hard + fixed))
        if self._thermal.critical:
            hard.append(Cap(config.min_layers, GrantReason.CRITICAL,
                            f"{self._hottest}, critical from {config.limit_c:g} C on"))
        self._move(dt_s, math.floor(min(c.layers for c in hard)), min((c.layers for c in soft), default=math.inf))
        requested = math.floor(request.layers)
        binding = self._binding(hard, soft)
        problems += [c.text for c in hard if c.reason in (GrantReason.STALE, GrantReason.CRITICAL)]
        return Grant(requested, self._granted, binding.reason, binding.text, (*hard, *soft),
                     max(temperatures.values(), default=None), self._others_w, tuple(problems))

    def _estimate_others(self) -> None:
        """Update the estimate of other loads from the readings since the last step, whatever their order."""
        if not self._watts.monitored:
            self._others_w = None
        if self._watts_at_s is None:
            return
        at_s, self._watts_at_s = self._watts_at_s, None
        total_w = max(self._watts.fresh(at_s, self._config.power_timeout_s).values(), default=None)
        if total_w is None:  # the source was forgotten meanwhile
            return
        others_w = max(0.0, total_w - self.power.watts(self._granted))
        if self._others_w is None:
            self._others_w = others_w
        else:
            tau_s, dt_s = self._config.power_filter_s, max(0.0, at_s - self._others_at_s)
            weight = 1.0 - math.exp(-dt_s / tau_s) if tau_s > 0 else 1.0
            self._others_w += weight * (others_w - self._others_w)
        self._others_at_s = at_s

    def _request_cap(self, now_s: float) -> tuple[Cap, list[str]]:
        """Return the smallest valid request, and the problems of the requests."""
        requests = self._requests.valid(now_s)
        caps, problems = [], []
        for entry in requests:
            budget = entry.budget
            source = f"{budget.source or 'unnamed'} requests {budget}"
            try:
                layers = self._equivalent.layers(budget, self._config.frame_rate_hz)
            except InputError as error:
                layers = min(self._config.safe_layers, self.max_layers)
                problems.append(f"{source}, counted as {layers} layers: {error}")
            caps.append(Cap(layers, GrantReason.REQUEST, source))
        if all(entry.doubtful for entry in requests):  # a request of unknown age must not raise the grant
            layers = min(self._config.default_layers, self.max_layers)
            caps.append(Cap(layers, GrantReason.DEFAULT, "no valid request of a power manager"))
        return min(caps, key=lambda c: c.layers), problems

    def _stale_caps(self, now_s: float) -> list[Cap]:
        config = self._config
        kinds = ((self._temperatures, config.temperature_timeout_s, config.require_temperature),
                 (self._batteries, config.battery_timeout_s, config.require_battery),
                 (self._watts, config.power_timeout_s, config.require_power))
        missing = [kind.stale(now_s, timeout_s, required) for kind, timeout_s, required in kinds]
        return [Cap(config.safe_layers, GrantReason.STALE, text) for text in missing if text]

    def _battery_caps(self, now_s: float) -> list[Cap]:
        return [Cap(battery_layers(self._config, battery, self.max_layers), GrantReason.BATTERY,
                    f"{name} at {battery.charge:.0%}")
                for name, battery in self._batteries.fresh(now_s, self._config.battery_timeout_s).items()]

    def _power_caps(self) -> list[Cap]:
        limit_w = self._config.power_limit_w
        if limit_w == 0 or self._others_w is None:
            return []
        return [self._soft_cap(limit_w - self._others_w, GrantReason.POWER,
                               f"{limit_w:g} W, of which other loads draw {self._others_w:.1f} W")]

    def _thermal_caps(self, temperatures: Mapping[str, float], dt_s: float, bound_layers: float) -> list[Cap]:
        """Return the limit by the hottest sensor. bound_layers: smallest of the other limits."""
        if not temperatures:
            return []
        name = max(sorted(temperatures), key=lambda n: temperatures[n])
        self._hottest = f"{name} at {temperatures[name]:.1f} C"
        others_w = self._others_w or 0.0
        bound_w = others_w + self.power.watts(min(bound_layers, self.max_layers) + self._config.hysteresis_layers)
        allowed_w = self._thermal.allowed_w(self._config, temperatures[name], dt_s, bound_w)
        return [self._soft_cap(allowed_w - others_w, GrantReason.TEMPERATURE,
                               f"{self._hottest}, target {self._config.target_c:g} C")]

    def _soft_cap(self, watts: float, reason: GrantReason, text: str) -> Cap:
        return Cap(max(self.power.layers(watts), float(self._config.min_layers)), reason, text)

    def _move(self, dt_s: float, hard: int, soft: float) -> None:
        """Follow the hard limit at once and the soft limit with slew rate, in whole layers with hysteresis."""
        config, margin = self._config, self._config.hysteresis_layers
        if soft < self._level:
            self._level = max(soft, self._level - config.fall_layers_per_s * dt_s)
        else:
            self._level = min(soft, self._level + config.rise_layers_per_s * dt_s)
        # The margin above the hard limit lets the grant reach it; the last line keeps it there.
        self._level = min(self._level, hard + margin)
        kept, reached = min(self._granted, math.floor(self._level)), math.floor(self._level - margin)
        self._granted = min(hard, max(kept, reached, 0))

    def _binding(self, hard: list[Cap], soft: list[Cap]) -> Cap:
        """Return the limit that determines the grant: the lowest one, or the rise towards it."""
        lowest = min([*hard, *soft], key=lambda c: c.layers)
        if self._granted + self._config.hysteresis_layers < math.floor(lowest.layers) or \
                (lowest in hard and self._granted < math.floor(lowest.layers)):
            return Cap(self._level, GrantReason.RISING, f"rising to {math.floor(lowest.layers)} ({lowest.text})")
        return lowest


def _finite(now_s: float) -> float:
    if not math.isfinite(now_s):
        raise InputError("now_s", now_s, "a finite time in seconds")
    return now_s
